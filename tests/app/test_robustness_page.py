"""The robustness page: one image before and after, for one run or two; sweeps as jobs, and their reports."""

import collections
import json
import shutil

import pytest
from pages import button, click, fine, kept, sound, words
from untrained import untrained

from app.shared.charts import confidence_bars
from app.shared.errors import plain
from app.views.robustness.form import _of, config_of
from app.views.robustness.report_images import LISTED
from pmsi import tasks
from pmsi.base.errors import ConfigError
from pmsi.base.text import duration
from pmsi.config import RobustnessConfig
from pmsi.perturbations import PERTURBATIONS, draw
from pmsi.predictor import Guess
from pmsi.robustness import cells_of
from pmsi.robustness.page import p_text
from pmsi.robustness.results import read_results
from pmsi.runs import Run, jobs, list_runs


def captions(test):
    return [image.captions[0] for image in test.image]


def urls(test):
    return [image.value[0] for image in test.image]


def start(test):
    return button(test, "Start the sweep")


@pytest.fixture
def submitted(monkeypatch):
    ids = []
    monkeypatch.setattr(jobs, "submit", lambda run, launcher: ids.append(run.id))
    return ids


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


# The bench


def test_what_is_drawn_is_stated_and_a_slider_changes_the_second_picture_only(open_page, make_run):
    make_run()
    test = fine(open_page("robustness", k="0.8", draw="5"))
    key = test.selectbox(key="picker-image").value
    factors = draw("color_jitter", 0.8, (64, 64), seed=5, key=key)
    assert f"brightness × {factors['brightness']:.2f}" in captions(test)[1]
    before = urls(test)
    sound(kept(test, "slider", "sigma").set_value(20).run())
    assert urls(test)[0] == before[0]
    assert urls(test)[1] != before[1]
    assert "noise with σ = 20" in captions(test)[1]
    assert test.query_params["sigma"] == "20"
    assert kept(test, "segmented_control", "noise").value == "gaussian_noise"
    still = open_page("robustness", k="0")
    assert urls(still)[0] == urls(still)[1]
    assert captions(still)[1].endswith("unchanged")
    assert "Still" in words(still)


@pytest.mark.parametrize("kind", ["Compression", "Capture"])  # the effect, or the family of links of before
def test_a_link_opens_a_perturbation_by_its_effect(open_page, make_run, kind):
    make_run()
    test = fine(open_page("robustness", **{"kind": kind, "what": "jpeg", "at-jpeg": "95"}))
    assert kept(test, "segmented_control", "kind").value == "Compression"
    assert "JPEG, 100 − q = 95" in captions(test)[1]
    assert urls(test)[0] != urls(test)[1]
    assert captions(test)[2:] == [f"100 − q = {level:g}" for level in (0, *PERTURBATIONS["jpeg"].levels)]


def test_the_baseline_is_one_click_away_and_its_maps_come_on_demand(open_page, make_run):
    make_run()
    baseline, other = make_run(method="baseline", stage_num=1), make_run()
    test = open_page("robustness", run=other.id)
    pictures = len(test.image)
    click(test, "Beside the baseline")
    assert test.query_params["beside"] == baseline.id
    fine(kept(test, "toggle", "maps").set_value(True).run())
    assert test.query_params["maps"] == "1"
    assert len(test.image) == pictures + 2 * 3 * 2  # runs, stages, before and after


# Sweeps


def test_the_form_stands_in_the_address_and_a_link_fills_it(open_page, make_run, submitted, runs_folder):
    first, second = make_run(), make_run()
    test = open_page("robustness", view="sweep", run=first.id)
    assert not [name for name in test.query_params if name.startswith("sweep-")], "defaults are not in the address"
    kept(test, "multiselect", "sweep-of").set_value([second.id, first.id]).run()
    kept(test, "selectbox", "sweep-images").set_value(10).run()
    kept(test, "segmented_control", "sweep-preset").set_value("own").run()
    test.pills(key="kept-sweep-ticked-Compression").set_value(["jpeg"]).run()
    sound(kept(test, "text_input", "sweep-levels").set_value("jpeg=50,80 rotation=20").run())
    address = {name: test.query_params[name] for name in test.query_params if name.startswith("sweep-")}
    test = click(open_page("robustness", **address), "Start the sweep")
    (sweep,) = [run for run in list_runs(runs_folder) if run.id in submitted]
    levels = ("jpeg=50,80", "rotation=20")
    assert sweep.config == RobustnessConfig(of=(second.id, first.id), perturbations=levels, test_per_class=10)
    assert test.query_params["sweep"] == sweep.id


def test_no_run_at_all_stands_in_the_address_and_one_that_is_gone_is_passed_over(open_page, make_run):
    run = make_run()
    test = open_page("robustness", view="sweep", run=run.id)
    kept(test, "multiselect", "sweep-of").set_value([]).run()
    assert start(test).disabled
    again = open_page("robustness", **{"run": run.id, "sweep-of": test.query_params["sweep-of"]})
    assert kept(again, "multiselect", "sweep-of").value == []
    some = open_page("robustness", **{"sweep-of": f"gone,{run.id}"})
    assert kept(some, "multiselect", "sweep-of").value == [run.id]


def test_a_wrong_severity_is_explained_and_nothing_started(open_page, make_run, submitted, monkeypatch):
    make_run()
    test = open_page("robustness", view="sweep")
    for levels in ("jpeg=a", "color_jitter=7"):
        sound(kept(test, "text_input", "sweep-levels").set_value(levels).run())
        assert levels.partition("=")[2] in " ".join(element.value for element in test.error)
        assert start(test).disabled
    monkeypatch.setenv("PMSI_READ_ONLY", "1")
    assert start(open_page("robustness", view="sweep")).disabled, "who may only look starts nothing"
    assert not submitted


def test_a_preset_is_a_part_of_the_table():
    assert len(_of("imagenet-c")) == 15
    assert _of("all") == list(PERTURBATIONS)
    assert _of("table7") == ["color_jitter", "gaussian_noise"]
    assert config_of(["a"], ["rotation"], "rotation=5 jpeg=50", 5).perturbations == ("rotation=5", "jpeg=50")
    with pytest.raises(ConfigError, match="Did you mean"):
        config_of(["a"], ["rotation"], "rotatoin=5", None)


def test_the_time_is_that_of_an_earlier_sweep_or_of_a_trial(open_page, swept, monkeypatch):
    first, second = swept.config.of
    asked = []
    monkeypatch.setattr("app.shared.measuring._seconds", lambda words: asked.append(words) or 42.0)
    beat = json.loads((swept.folder / "progress.json").read_text())
    (swept.folder / "progress.json").write_text(json.dumps(beat | {"rate": beat["total"] / 90.0}))
    test = open_page("robustness", **{"sweep-of": f"{first},{second}"})
    cells = len(cells_of(RobustnessConfig()))
    assert f"About {duration(90 / 3 * cells)} on this machine, as an earlier sweep" in words(test)
    test = open_page("robustness", **{"sweep-of": first})
    assert "About" not in words(test)
    assert "About 42 s on this machine, by a trial" in words(click(test, "Measure the time"))
    assert asked[0][:2] == ["robustness", first]


def test_a_link_opens_what_it_is_about_and_a_choice_is_kept_on_the_way_to_an_image_and_back(open_page, swept):
    first, _ = swept.config.of
    for query, view in (
        ({"run": first}, "image"),
        ({"sweep-images": "5"}, "sweep"),
        ({"sweep": swept.id, "run": first}, "sweep"),
        ({"sweep": swept.id, "view": "image"}, "image"),
        ({"view": "sweep"}, "sweep"),
    ):
        test = open_page("robustness", **query)
        assert kept(test, "segmented_control", "view").value == view, query
        assert any(button.label == "Start the sweep" for button in test.button) == (view == "sweep")
    test = open_page("robustness", **{"sweep": swept.id, "part": "table", "sweep-images": "10"})
    kept(test, "segmented_control", "view").set_value("image").run()
    assert not {"sweep", "sweep-images", "view"} & {*test.query_params}, "with them, a reload would show the sweep"
    sound(kept(test, "segmented_control", "view").set_value("sweep").run())
    assert (test.query_params["sweep"], test.query_params["sweep-images"]) == (swept.id, "10")
    assert kept(test, "selectbox", "sweep-images").value == 10


# A report


@pytest.mark.parametrize("part", ["curves", "survival", "factors", "classes", "flips"])
def test_each_part_of_a_report_opens_from_its_link(open_page, swept, part):
    test = fine(open_page("robustness", sweep=swept.id, part=part, output="S3"))
    assert kept(test, "segmented_control", "part").value == part
    if part == "curves":
        assert kept(test, "segmented_control", "output").value == "S3"
        assert len(test.get("plotly_chart")) == 2


def test_the_table_tests_the_output_that_is_chosen(open_page, swept):
    results = read_results(swept)
    first, second = results.runs
    for output in ("S3", "mix"):
        (table,) = fine(open_page("robustness", sweep=swept.id, part="table", output=output)).dataframe
        rows = table.value.to_dict("records")
        assert {row["Output"] for row in rows} == {output}
        assert len(rows) == len(results.cells) * 2
        for cell, row in zip(results.cells, rows[1::2], strict=True):  # the second run's
            found = results.test(cell, (first, output), (second, output))
            assert (row["p"], row["Holm"]) == (p_text(found["p"]), p_text(found["holm"]))


def test_two_runs_are_confused_with_each_other_and_tested(open_page, swept):
    first, second = swept.config.of
    test = fine(open_page("robustness", sweep=swept.id, part="confusion", answers=second, than=first))
    results = read_results(swept)
    cell, labels = results.cells[-1], results.report["labels"]
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
    answers, labels = results.predictions(results.cells[-1], results.runs[-1], "mix").tolist(), results.report["labels"]
    place = f"{labels[-1]}-{answers[-1]}"
    for asked in (place, "0-99", "1", "a-b", "1-2-3"):
        test = fine(open_page("robustness", sweep=swept.id, part="confusion", place=asked))
        assert (kept(test, "radio", "place").value == asked) == (asked == place)


def test_the_bars_hold_the_best_of_both_and_escape_names():
    before = (Guess(0, "<b>", 0.6), Guess(1, "b", 0.3), Guess(2, "c", 0.1))
    after = (Guess(2, "c", 0.9), Guess(0, "<b>", 0.06), Guess(1, "b", 0.04))
    html = confidence_bars(before, after, "#000000", top=2, truth="c")
    assert "true class" not in confidence_bars(before, after, "#000000", top=2, truth="unknown")
    for said in ("&lt;b&gt;", "10% → 90%", "true class"):
        assert said in html
    assert "30%" not in html
