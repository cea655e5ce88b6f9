"""The Sweeps page: the form of a sweep, and the report."""

import collections
import json
import shutil

import pytest
from pages import button, click, fine, kept, sound, words
from untrained import untrained

from app.shared.errors import plain
from app.views.sweeps.report_images import LISTED
from pmsi import tasks
from pmsi.base.text import duration
from pmsi.config import RobustnessConfig
from pmsi.robustness import cells_of
from pmsi.robustness.page import p_text
from pmsi.robustness.results import read_results
from pmsi.runs import Run, list_runs


def start(test):
    return button(test, "Start the sweep")


@pytest.fixture(scope="module")
def finished_sweep(tmp_path_factory, tiny_config):
    """A finished sweep over two runs that were never trained."""
    root = tmp_path_factory.mktemp("swept")
    ids = tuple(untrained(root, tiny_config.with_(seed=seed)).id for seed in (0, 1))
    sweep = Run.create(root, RobustnessConfig(of=ids, perturbations=("color_jitter=1", "gaussian_noise=100")))
    assert tasks.execute(sweep).name == "FINISHED"
    return sweep


@pytest.fixture
def swept(finished_sweep, runs_folder):
    """A copy of it with its runs."""
    shutil.copytree(finished_sweep.folder.parent, runs_folder)
    return Run(runs_folder / finished_sweep.id)


def test_the_form_stands_in_the_address_and_a_link_fills_it(open_page, make_run, submitted, runs_folder):
    first, second = make_run(), make_run()
    test = open_page("sweeps", run=first.id)
    assert not [name for name in test.query_params if name.startswith("sweep-")], "defaults are not in the address"
    kept(test, "multiselect", "sweep-of").set_value([second.id, first.id]).run()
    kept(test, "selectbox", "sweep-images").set_value(10).run()
    kept(test, "pills", "sweep-preset").set_value("own").run()
    test.pills(key="kept-sweep-ticked-Compression").set_value(["jpeg"]).run()
    sound(kept(test, "text_input", "sweep-levels").set_value("jpeg=50,80 rotation=20").run())
    address = {name: test.query_params[name] for name in test.query_params if name.startswith("sweep-")}
    test = click(open_page("sweeps", **address), "Start the sweep")
    (sweep,) = [run for run in list_runs(runs_folder) if run.id in submitted]
    levels = ("jpeg=50,80", "rotation=20")
    assert sweep.config == RobustnessConfig(of=(second.id, first.id), perturbations=levels, test_per_class=10)
    assert test.query_params["sweep"] == sweep.id


def test_no_run_at_all_stands_in_the_address_and_one_that_is_gone_is_passed_over(open_page, make_run):
    run = make_run()
    test = open_page("sweeps", run=run.id)
    kept(test, "multiselect", "sweep-of").set_value([]).run()
    assert start(test).disabled
    again = open_page("sweeps", **{"run": run.id, "sweep-of": test.query_params["sweep-of"]})
    assert kept(again, "multiselect", "sweep-of").value == []
    some = open_page("sweeps", **{"sweep-of": f"gone,{run.id}"})
    assert kept(some, "multiselect", "sweep-of").value == [run.id]


def test_a_wrong_severity_is_explained_and_nothing_started(open_page, make_run, submitted, monkeypatch):
    make_run()
    test = open_page("sweeps")
    for levels in ("jpeg=a", "color_jitter=7"):
        sound(kept(test, "text_input", "sweep-levels").set_value(levels).run())
        assert levels.partition("=")[2] in " ".join(element.value for element in test.error)
        assert start(test).disabled
    monkeypatch.setenv("PMSI_READ_ONLY", "1")
    assert start(open_page("sweeps")).disabled, "who may only look starts nothing"
    assert not submitted


def test_the_time_is_that_of_an_earlier_sweep_or_of_a_trial(open_page, swept, monkeypatch):
    first, second = swept.config.of
    asked = []
    monkeypatch.setattr("app.shared.measuring._seconds", lambda words, images=None: asked.append(words) or 42.0)
    beat = json.loads((swept.folder / "progress.json").read_text())
    (swept.folder / "progress.json").write_text(json.dumps(beat | {"rate": beat["total"] / 90.0}))
    test = open_page("sweeps", **{"sweep-of": f"{first},{second}"})
    cells = len(cells_of(RobustnessConfig()))
    assert f"About {duration(90 / 3 * cells)} on this machine, as an earlier sweep" in words(test)
    test = open_page("sweeps", **{"sweep-of": first})
    assert "About" not in words(test)
    assert "About 42 s on this machine, by a trial" in words(click(test, "Measure the time"))
    assert asked[0][:2] == ["robustness", first]


# A report


@pytest.mark.parametrize("part", ["curves", "survival", "factors", "classes", "flips"])
def test_each_part_of_a_report_opens_from_its_link(open_page, swept, part):
    test = fine(open_page("sweeps", sweep=swept.id, part=part, output="S3"))
    assert kept(test, "segmented_control", "part").value == part
    if part == "curves":
        assert kept(test, "selectbox", "output").value == "S3"
        assert len(test.get("plotly_chart")) == 2


def test_the_table_tests_the_output_that_is_chosen(open_page, swept):
    results = read_results(swept)
    first, second = results.runs
    for output in ("S3", "mix"):
        (table,) = fine(open_page("sweeps", sweep=swept.id, part="table", output=output)).dataframe
        rows = table.value.to_dict("records")
        assert {row["Output"] for row in rows} == {output}
        assert len(rows) == len(results.cells) * 2
        for cell, row in zip(results.cells, rows[1::2], strict=True):  # the second run's
            found = results.test(cell, (first, output), (second, output))
            assert (row["p"], row["Holm"]) == (p_text(found["p"]), p_text(found["holm"]))


def test_two_runs_are_confused_with_each_other_and_tested(open_page, swept):
    first, second = swept.config.of
    test = fine(open_page("sweeps", sweep=swept.id, part="confusion", answers=second, than=first))
    results = read_results(swept)
    cell, labels = results.telling(second), results.report["labels"]

    def confused(cell):
        answers = results.predictions(cell, second, results.report["primary"][second])
        return {(truth, answer) for truth, answer in zip(labels, answers, strict=True) if truth != answer}

    assert len(confused(cell)) == max(len(confused(each)) for each in results.cells[1:])
    a, b = (results.predictions(cell, run, results.report["primary"][run]) for run in (first, second))
    places = collections.Counter(zip(a.tolist(), b.tolist(), strict=True))
    listed, classes = kept(test, "radio", "place").options, results.report["classes"]
    for (row, column), count in places.items():
        line = plain(f"{classes[row]} → {classes[column]}") + f" · {count}"
        assert (line in listed) == (row != column) or len(listed) == LISTED
    only = [int(((x == labels) & (y != labels)).sum()) for x, y in ((a, b), (b, a))]
    assert f"alone recognises {only[0]} of the {results.images} images" in words(test)
    assert f"alone {only[1]}:" in words(test)


def test_a_link_opens_any_place_of_the_matrix_and_what_is_none_is_passed_over(open_page, swept):
    results = read_results(swept)
    run, labels = results.runs[-1], results.report["labels"]
    answers = results.predictions(results.telling(run), run, "mix").tolist()
    place = f"{labels[-1]}-{answers[-1]}"
    for asked in (place, "0-99", "1", "a-b", "1-2-3"):
        test = fine(open_page("sweeps", sweep=swept.id, part="confusion", place=asked))
        assert (kept(test, "radio", "place").value == asked) == (asked == place)
