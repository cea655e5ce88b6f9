"""Figures and tables of a run's records."""

from app.shared.palette import head_color
from app.views.runs.curves import accuracy_figure, accuracy_rows, loss_figure, runs_figure, series, thinned
from pmsi.runs.comparison import summary

RECORDS = [
    {"kind": "loss", "epoch": 0.5, "step": 4, "losses": {"S5": 2.0, "concat": 1.5}},
    {"kind": "loss", "epoch": 1.0, "step": 8, "losses": {"S5": None, "concat": 1.0}},
    {"kind": "epoch", "epoch": 1, "step": 8, "accuracy": {"S5": 0.5, "concat": 0.6, "mix": 0.7}, "loss": {}},
    {"kind": "epoch", "epoch": 2, "step": 16, "accuracy": {"S5": 0.8, "concat": 0.5, "mix": 0.6}, "loss": {}},
    {"kind": "something else", "step": 17},
]


def test_each_head_has_its_own_line_and_colour_without_what_is_null():
    assert series(RECORDS, "loss", "losses") == {"S5": ([0.5], [2.0]), "concat": ([0.5, 1.0], [1.5, 1.0])}
    lines = {line.name: line for line in loss_figure(RECORDS).data}
    assert {name: line.line.color for name, line in lines.items()} == {h: head_color(h) for h in ("S5", "concat")}
    lines = {line.name: line for line in accuracy_figure(RECORDS, "mix").data}
    assert list(lines["mix"].y) == [70.0, 60.0]
    assert lines["mix"].line.width > lines["S5"].line.width, "the deciding head is drawn wider"
    assert [len(figure([]).data) for figure in (loss_figure, accuracy_figure)] == [0, 0]


def test_long_lines_are_thinned_to_means_that_end_where_the_line_ends():
    for count in (1, 400, 401, 1999):
        epochs, values = thinned(([float(i) for i in range(count)], [3.0] * count))
        assert len(epochs) == len(values) <= 400
        assert epochs[-1] == count - 1
        assert set(values) == {3.0}
    assert thinned(([1, 2, 3, 4, 5], [1.0, 3.0, 5.0, 7.0, 9.0]), most=3) == ([2, 4, 5], [2.0, 6.0, 9.0])


def test_the_best_epoch_is_the_deciding_heads_for_all_heads():
    found = summary(RECORDS)
    assert found["last"] == {"epoch": 2, "accuracy": RECORDS[3]["accuracy"]}
    assert found["best"] == {"epoch": 1, "accuracy": RECORDS[2]["accuracy"], "by": "mix", "on": "test"}
    assert accuracy_rows(found)[-1] == {"Output": "mix", "Last epoch": "60.0 %", "Best epoch": "70.0 %"}
    assert summary(RECORDS[:2]) is None


def test_runs_beside_each_other_keep_their_colours_and_stay_apart_when_colours_repeat():
    lines = {id: ([1, 2], [0.25, 0.5]) for id in "abc"}
    colors = {"a": "#111111", "b": "#222222", "c": "#111111"}
    names = {"a": "<b>a</b>", "b": "b", "c": "c"}
    drawn = runs_figure(lines, colors, names, "accuracy").data
    assert [line.name for line in drawn] == ["&lt;b&gt;a&lt;/b&gt;", "b", "c"]
    assert [line.line.color for line in drawn] == [*colors.values()]
    dashes = [line.line.dash for line in drawn]
    assert dashes[0] == dashes[1] != dashes[2]
    assert list(drawn[0].y) == [25.0, 50.0]
    assert list(runs_figure(lines, colors, names, "loss").data[0].y) == [0.25, 0.5]
