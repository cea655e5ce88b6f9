"""The Numbers page: its sections, and the figures that they draw."""

import json

import pytest
from pages import fine, links, words

from app.shared.wording import name_of_run
from app.views.numbers.maps import _sentence, stages_figure
from app.views.numbers.parts import seen_from
from pmsi import tasks
from pmsi.config import CalibrateConfig, MapsConfig, RobustnessConfig, UnknownsConfig
from pmsi.runs import Run, list_runs


def test_an_old_link_to_the_numbers_of_the_maps_leads_to_their_section(open_page, make_run):
    run = make_run()
    test = fine(open_page("maps", tool="numbers", run=run.id))
    assert name_of_run(run) in words(test)
    assert "no report of Grad-CAM" in words(test)


def report_of(shift):
    """A report in which every number says what it is: S3's energy is 0.1 + shift, and so on."""
    value = lambda mean: {"mean": mean, "low": mean - 0.02, "high": mean + 0.03}  # noqa: E731
    sources = {"S3": 0.1 + shift, "S5": 0.3, "random S3": 0.05, "random S5": 0.06, "edges": 0.4, "centre": 0.2}
    numbers = {
        f"{source}/{measure}": value(mean) for source, mean in sources.items() for measure in ("energy", "pointing")
    }
    numbers |= {f"S3 - S5/{measure}": value(shift - 0.2) for measure in ("energy", "pointing")} | {"area": value(0.08)}
    return {"images": 7, "numbers": numbers}


def test_the_figure_of_numbers_shows_each_stage_with_its_interval_and_the_baselines():
    figure = stages_figure([("a", "#000000", report_of(0.0)), ("<b>", "#111111", report_of(0.05))], "energy")
    by_name = {trace.name: trace for trace in figure.data}
    assert set(by_name) == {"a", "a, noise", "&lt;b&gt;", "&lt;b&gt;, noise"}
    assert by_name["a"].y == pytest.approx((10, 30))
    assert by_name["&lt;b&gt;"].y == pytest.approx((15, 30))
    assert by_name["a"].error_y.array == pytest.approx((3, 3))
    assert by_name["a"].error_y.arrayminus == pytest.approx((2, 2))
    assert by_name["a, noise"].y == pytest.approx((5, 6))
    assert sorted(line.y0 for line in figure.layout.shapes) == pytest.approx([8, 20, 40])


@pytest.mark.parametrize(("shift", "verdict"), [(0.3, "S3 is ahead"), (0.0, "S5 is ahead"), (0.2, "no difference")])
def test_what_is_said_of_s3_and_s5_goes_by_the_interval(shift, verdict):
    assert verdict in _sentence("a run", report_of(shift)["numbers"], "energy")


def test_what_a_run_uses_and_whether_its_maps_follow_it(open_page, make_run, runs_folder, monkeypatch):
    monkeypatch.setattr("pmsi.explain.measures.parts.THRESHOLDS", (0.1,))
    monkeypatch.setattr("pmsi.data.plumage.BACKGROUNDS", 1)
    first, second = make_run(), make_run(method="baseline")
    assert "not been measured" in words(open_page("numbers", run=first.id, section="parts"))
    chosen = {"of": first.id, "test_per_class": 1, "stages": ("S5",)}
    for config in (
        MapsConfig(protocol="parts", beside=second.id, **chosen), MapsConfig(protocol="sanity", **chosen)
    ):  # fmt: skip
        run = Run.create(runs_folder, config)
        assert tasks.execute(run) == "finished"
    test = fine(open_page("numbers", run=first.id, beside=second.id, section="parts"))
    assert words(test).count("matters most") == 2
    assert "after correction" in words(test) or "p = " in words(test)
    assert "no common unit" not in words(test), "two networks are compared by probabilities"
    rows = test.table[0].value
    assert list(rows["Explained by"])[-3:] == ["Oracle", "Area", "Random"]
    assert rows["S5"].iloc[-3].startswith("1.00")
    alone = fine(open_page("numbers", run=second.id, section="parts"))
    assert alone.table[0].value.equals(test.table[1].value), "a report of two runs serves for either alone"
    report = next(run for run in list_runs(runs_folder) if getattr(run.config, "protocol", "") == "parts").result()
    ends = seen_from(second.id, report)["beside"]["minus"]["importance"]["wing/without"]
    given = report["beside"]["minus"]["importance"]["wing/without"]
    assert (ends["mean"], ends["low"], ends["high"]) == (-given["mean"], -given["high"], -given["low"])
    assert seen_from(first.id, report) == report == seen_from(first.id, seen_from(second.id, report))
    test = fine(open_page("numbers", run=first.id, section="sanity"))
    assert "Eigen-CAM** hardly depends on the heads" in words(test)
    assert "1.00 once they are shuffled" in words(test)


# What a run knows


@pytest.fixture
def measured(make_run, runs_folder, monkeypatch):
    """Two runs that were measured together by both tasks and in a sweep, and the first two results."""
    for room in ("measures", "separation"):
        monkeypatch.setattr(f"pmsi.uncertainty.{room}.RESAMPLES", 30)
    monkeypatch.setattr("pmsi.calibrate.FRESH", 2)
    runs = [make_run(), make_run(seed=1)]
    ids = tuple(run.id for run in runs)
    swept = RobustnessConfig(of=ids, perturbations=("gaussian_noise=10,40",))
    made = [Run.create(runs_folder, of) for of in (CalibrateConfig(of=ids), UnknownsConfig(of=ids, most=20), swept)]
    assert [tasks.execute(run) for run in made] == ["finished"] * 3
    return runs, [run.result() for run in made[:2]]


def table(test):
    return "\n".join(str(element.value.to_dict("records")) for element in test.get("table"))


def test_calibration_and_unknowns_of_two_runs_are_shown_beside_each_other(open_page, measured):
    runs, (calibrated, unknown) = measured
    asked = {"run": runs[0].id, "beside": runs[1].id}
    test = fine(open_page("numbers", section="calibration", **asked))
    for run in runs:
        about = calibrated["runs"][run.id]
        assert f"**{about['heads']['mix']['calibrated']['nll']['value']:.3f}**" in table(test)
        assert f"{name_of_run(run)}: output mix, temperature {about['temperatures']['mix']:.2f}" in words(test)
    apart = calibrated["differences"][0]["calibrated"]["brier"]["value"]
    assert f"{apart:+z.3f}" in words(test)
    charts = [json.loads(chart.proto.spec) for chart in test.get("plotly_chart") if "Severity" in chart.proto.spec]
    (figure,) = charts
    assert [len(trace["x"]) for trace in figure["data"]] == [3] * 4
    raw = fine(open_page("numbers", section="calibration", raw="1", head="S3", **asked))
    assert f"**{calibrated['runs'][runs[0].id]['heads']['S3']['raw']['nll']['value']:.3f}**" in table(raw)

    test = fine(open_page("numbers", section="unknowns", score="energy", **asked))
    found = unknown["runs"][runs[1].id]["unknown"]["noise"]["energy"]
    assert f"**{100 * found['auroc']['value']:.1f} %**" in table(test)
    assert f"{found['passed']:.0%}" in table(test)

    for number, section in enumerate(("calibration", "unknowns")):
        made = [run for run in list_runs(runs[0].folder.parent) if run.config.task == ("calibrate", "unknowns")[number]]
        (link,) = links(fine(open_page("runs", run=made[0].id)), "Its figures")
        assert f"section={section}" in link.query_string


def test_what_was_not_measured_is_offered(open_page, make_run):
    run = make_run()
    for section in ("calibration", "unknowns"):
        test = fine(open_page("numbers", section=section, run=run.id))
        assert [one.label for one in test.button].count("Measure it") == 1
