"""The robustness page: one image before and after, for one run or two; sweeps as jobs, and their reports."""

import pytest

from app.charts import confidence_bars, sweep_curves
from app.robustcharts import confusion_figure
from app.sweeps import PRESETS, _of, config_of, families
from pmsi import jobs
from pmsi.config import RobustnessConfig
from pmsi.errors import ConfigError
from pmsi.perturbations import PERTURBATIONS, draw
from pmsi.predictor import Guess
from pmsi.runs import Run, list_runs


def value_of(test, kind, name):
    return getattr(test, kind)(key=f"kept-{name}").value


def captions(test):
    return [image.captions[0] for image in test.image]


def urls(test):
    return [image.value[0] for image in test.image]


def start(test):
    return next(button for button in test.button if button.label == "Start the sweep")


@pytest.fixture
def submitted(monkeypatch):
    ids = []
    monkeypatch.setattr(jobs, "submit", lambda run: ids.append(run.id))
    return ids


@pytest.fixture
def swept(make_run, runs_folder):
    """A finished sweep over two runs that were never trained."""
    ids = tuple(make_run(seed=seed).id for seed in (0, 1))
    sweep = Run.create(runs_folder, RobustnessConfig(of=ids, perturbations=("color_jitter=1", "gaussian_noise=100")))
    assert jobs.execute(sweep).name == "FINISHED"
    return sweep


# The bench


def test_without_a_run_there_is_one_button_that_leads_to_training(open_page):
    test = open_page("robustness")
    assert not test.exception
    assert [button.label for button in test.button] == ["Train a model"]


def test_the_drawn_factors_are_stated(open_page, make_run):
    make_run()
    test = open_page("robustness", k="0.8", draw="5")
    assert not test.exception
    assert not test.error
    key = test.selectbox(key="picker-image").value
    factors = draw("color_jitter", 0.8, (64, 64), seed=5, key=key)
    assert f"brightness × {factors['brightness']:.2f}" in captions(test)[1]


def test_no_perturbation_leaves_the_image_as_it_is(open_page, make_run):
    make_run()
    test = open_page("robustness", k="0")
    assert urls(test)[0] == urls(test)[1]
    assert captions(test)[1].endswith("unchanged")
    assert "Still" in " ".join(element.value for element in test.markdown)


def test_a_slider_changes_the_second_picture_only(open_page, make_run):
    make_run()
    test = open_page("robustness")
    before = urls(test)
    test.slider(key="kept-sigma").set_value(20).run()
    assert not test.exception
    assert urls(test)[0] == before[0]
    assert urls(test)[1] != before[1]
    assert "noise with σ = 20" in captions(test)[1]
    assert test.query_params["sigma"] == "20"
    assert value_of(test, "segmented_control", "noise") == "gaussian_noise"


def test_every_family_is_offered_and_a_link_opens_one_of_its_rows(open_page, make_run):
    make_run()
    assert [name for rows in families().values() for name in rows] == list(PERTURBATIONS)
    test = open_page("robustness", **{"kind": "Capture", "what": "jpeg", "at-jpeg": "95"})
    assert not test.exception
    assert not test.error
    assert "JPEG, 100 − q = 95" in captions(test)[1]
    assert urls(test)[0] != urls(test)[1]
    assert captions(test)[2:] == [f"100 − q = {level:g}" for level in (0, *PERTURBATIONS["jpeg"].levels)]


def test_the_baseline_is_one_click_away_and_its_maps_come_on_demand(open_page, make_run):
    make_run()
    baseline = make_run(method="baseline", stage_num=1)
    other = make_run()
    test = open_page("robustness", run=other.id)
    pictures = len(test.image)
    next(button for button in test.button if button.label == "Beside the baseline").click().run()
    assert test.query_params["beside"] == baseline.id
    test.toggle(key="kept-maps").set_value(True).run()
    assert not test.exception
    assert not test.error
    assert test.query_params["maps"] == "1"
    assert len(test.image) == pictures + 2 * 3 * 2  # runs, stages, before and after


# Sweeps


def test_a_sweep_is_submitted_as_it_was_filled_in(open_page, make_run, submitted, runs_folder):
    run = make_run()
    test = open_page("robustness", run=run.id)
    test.text_input(key="sweep-levels").set_value("color_jitter=0.5,1").run()
    start(test).click().run()
    assert not test.exception
    (sweep,) = [run for run in list_runs(runs_folder) if run.id in submitted]
    assert sweep.config == RobustnessConfig(of=(run.id,), perturbations=("color_jitter=0.5,1", "gaussian_noise"))
    assert test.query_params["sweep"] == sweep.id


@pytest.mark.parametrize(
    ("levels", "reason"),
    [("jpeg=a", "expected a name, or a name"), ("color_jitter=7", "expected a number from 0 to 1")],
)
def test_a_wrong_severity_is_explained_and_nothing_started(open_page, make_run, submitted, levels, reason):
    make_run()
    test = open_page("robustness")
    test.text_input(key="sweep-levels").set_value(levels).run()
    assert not test.exception
    assert reason in " ".join(element.value for element in test.error)
    assert start(test).disabled
    assert not submitted


def test_who_may_only_look_starts_nothing(open_page, make_run, monkeypatch):
    make_run()
    monkeypatch.setenv("PMSI_READ_ONLY", "1")
    assert start(open_page("robustness")).disabled


def test_a_preset_is_a_part_of_the_table():
    fifteen = _of(PRESETS["ImageNet-C (15)"])
    assert len(fifteen) == 15
    assert _of(PRESETS["All"]) == list(PERTURBATIONS)
    assert _of(PRESETS["Table VII of the paper"]) == ["color_jitter", "gaussian_noise"]
    assert config_of(["a"], ["rotation"], "rotation=5 jpeg=50", 5).perturbations == ("rotation=5", "jpeg=50")
    with pytest.raises(ConfigError, match="Did you mean"):
        config_of(["a"], ["rotation"], "rotatoin=5", None)


# A report


@pytest.mark.parametrize("part", ["curves", "table", "survival", "factors", "classes", "confusion", "flips"])
def test_each_part_of_a_report_opens_from_its_link(open_page, swept, part):
    test = open_page("robustness", sweep=swept.id, part=part)
    assert not test.exception
    assert not test.error
    assert value_of(test, "segmented_control", "part") == part


def test_curves_show_the_output_that_is_chosen(open_page, swept):
    test = open_page("robustness", sweep=swept.id, output="S3")
    assert not test.error
    assert value_of(test, "segmented_control", "output") == "S3"
    assert len(test.get("plotly_chart")) == 2


def test_a_curve_is_in_per_cent_with_its_band():
    point = {"severity": 1.0, "accuracy": 0.5, "low": 0.4, "high": 0.6}
    band, curve = sweep_curves({"a": [point]}, "k").data
    assert list(curve.y) == [50.0]
    assert sorted(band.y) == [40.0, 60.0]


def test_a_place_of_the_matrix_knows_its_row_and_column():
    import numpy as np

    matrix = np.array([[5, 0, 2], [0, 4, 0], [0, 1, 3]])
    heat, places = confusion_figure(matrix, [0, 2], ["a", "b", "c"], ("True", "Answer"), "#0f7fc2").data
    assert [list(place[:2]) for place in places.customdata] == [[0, 0], [0, 2], [2, 2]]
    assert list(places.text) == ["5", "2", "3"]
    assert np.isnan(heat.z[0][0])


def test_the_bars_hold_the_best_of_both_and_escape_names():
    before = (Guess(0, "<b>", 0.6), Guess(1, "b", 0.3), Guess(2, "c", 0.1))
    after = (Guess(2, "c", 0.9), Guess(0, "<b>", 0.06), Guess(1, "b", 0.04))
    html = confidence_bars(before, after, "#000000", top=2, truth="c")
    assert "true class" not in confidence_bars(before, after, "#000000", top=2, truth="unknown")
    assert "&lt;b&gt;" in html
    assert "10% → 90%" in html
    assert "true class" in html
    assert "30%" not in html
