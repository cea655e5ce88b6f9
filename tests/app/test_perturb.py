"""The Perturb page: one image before and after, for one run or two."""

import pytest
from pages import fine, kept, sound, words

from app.shared.charts import confidence_bars
from pmsi.perturbations import PERTURBATIONS, draw
from pmsi.predictor import Guess


def captions(test):
    return [image.captions[0] for image in test.image]


def urls(test):
    return [image.value[0] for image in test.image]


def test_what_is_drawn_is_stated_and_a_slider_changes_the_second_picture_only(open_page, make_run):
    make_run()
    test = fine(open_page("perturb", k="0.8", draw="5"))
    key = test.query_params["image"]
    factors = draw("color_jitter", 0.8, (64, 64), seed=5, key=key)
    assert f"brightness × {factors['brightness']:.2f}" in captions(test)[1]
    before = urls(test)
    sound(kept(test, "slider", "sigma").set_value(20).run())
    assert urls(test)[0] == before[0]
    assert urls(test)[1] != before[1]
    assert "noise with σ = 20" in captions(test)[1]
    assert test.query_params["sigma"] == "20"
    assert kept(test, "segmented_control", "noise").value == "gaussian_noise"
    still = fine(open_page("perturb", k="0"))
    assert urls(still)[0] == before[0]
    assert captions(still)[1].startswith("k = "), "an unchanged image is shown once; then comes the strip"


@pytest.mark.parametrize("kind", ["Compression", "Capture"])  # the effect, or the family of links of before
def test_a_link_opens_a_perturbation_by_its_effect(open_page, make_run, kind):
    make_run()
    test = fine(open_page("perturb", **{"kind": kind, "what": "jpeg", "at-jpeg": "95"}))
    assert kept(test, "pills", "kind").value == "Compression"
    assert "JPEG, 100 − q = 95" in captions(test)[1]
    assert urls(test)[0] != urls(test)[1]
    assert captions(test)[2:] == [f"100 − q = {level:g}" for level in (0, *PERTURBATIONS["jpeg"].levels)]


def test_the_maps_of_two_runs_come_on_demand_and_any_output_is_told(open_page, make_run):
    baseline, other = make_run(method="baseline", stage_num=1), make_run()
    test = open_page("perturb", run=other.id, beside=baseline.id, head="S4")
    assert "Probability at output S4" in words(test)
    assert "Probability at output classifier" in words(test)
    assert [list(table.value.columns) for table in test.table] == [["Output", "Before", "After"]] * 2
    pictures = len(test.image)
    fine(kept(test, "toggle", "maps").set_value(True).run())
    assert test.query_params["maps"] == "1"
    assert len(test.image) == pictures + 2 * 3 * 2  # runs, stages, before and after
    noted = [caption for caption in captions(test) if caption.startswith(("**S3**", "**S4**", "**S5**"))]
    assert len(noted) == 12
    assert all("peak" in caption or "no positive evidence" in caption for caption in noted)


def test_the_bars_hold_the_best_of_both_and_escape_names():
    before = (Guess(0, "<b>", 0.6), Guess(1, "b", 0.3), Guess(2, "c", 0.1))
    after = (Guess(2, "c", 0.9), Guess(0, "<b>", 0.06), Guess(1, "b", 0.04))
    html = confidence_bars(before, after, "#000000", top=2, truth="c")
    assert "true class" not in confidence_bars(before, after, "#000000", top=2, truth="unknown")
    for said in ("&lt;b&gt;", "10% → 90%", "true class"):
        assert said in html
    assert "30%" not in html
