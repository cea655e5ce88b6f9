"""The robustness page: one image before and after, and sweeps as jobs."""

import pytest

from app.charts import confidence_bars, sweep_curves
from app.sweeps import points_of
from pmsi import jobs
from pmsi.config import RobustnessConfig
from pmsi.perturbations import draw
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


def test_a_sweep_is_submitted_as_it_was_filled_in(open_page, make_run, submitted, runs_folder):
    run = make_run()
    test = open_page("robustness", run=run.id)
    test.text_input[0].set_value("0.5 1")
    test.multiselect[1].set_value(["color_jitter"])
    start(test).click().run()
    assert not test.exception
    (sweep,) = [run for run in list_runs(runs_folder) if run.id in submitted]
    assert sweep.config == RobustnessConfig(of=(run.id,), perturbations=("color_jitter",), severities=(0.5, 1.0))
    assert test.query_params["sweep"] == sweep.id


@pytest.mark.parametrize(("levels", "reason"), [("a lot", "numbers"), ("7", "expected a number from 0 to 1")])
def test_a_wrong_severity_is_explained_and_nothing_started(open_page, make_run, submitted, levels, reason):
    make_run()
    test = open_page("robustness")
    test.text_input[0].set_value(levels)
    start(test).click().run()
    assert not test.exception
    assert reason in " ".join(element.value for element in [*test.warning, *test.error])
    assert not submitted


def test_a_real_sweep_becomes_curves(open_page, make_run, runs_folder):
    run = make_run()
    config = RobustnessConfig(of=(run.id,), perturbations=("color_jitter",), severities=(1.0,))
    sweep = Run.create(runs_folder, config)
    assert jobs.execute(sweep).name == "FINISHED"
    (points,) = points_of(sweep.metrics(), {run.id: "mine"}).values()
    assert [point["severity"] for point in points["mine"]] == [0.0, 1.0]
    assert all(0 <= point["low"] <= point["accuracy"] <= point["high"] <= 1 for point in points["mine"])
    test = open_page("robustness", sweep=sweep.id)
    assert not test.exception
    assert len(test.get("plotly_chart")) == 1


def test_a_curve_is_in_per_cent_with_its_band():
    point = {"severity": 1.0, "accuracy": 0.5, "low": 0.4, "high": 0.6}
    band, curve = sweep_curves({"a": [point]}, "k").data
    assert list(curve.y) == [50.0]
    assert sorted(band.y) == [40.0, 60.0]


def test_the_bars_hold_the_best_of_both_and_escape_names():
    before = (Guess(0, "<b>", 0.6), Guess(1, "b", 0.3), Guess(2, "c", 0.1))
    after = (Guess(2, "c", 0.9), Guess(0, "<b>", 0.06), Guess(1, "b", 0.04))
    html = confidence_bars(before, after, "#000000", top=2, truth="c")
    assert "true class" not in confidence_bars(before, after, "#000000", top=2, truth="unknown")
    assert "&lt;b&gt;" in html
    assert "10% → 90%" in html
    assert "true class" in html
    assert "30%" not in html
