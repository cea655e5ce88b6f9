"""How far probabilities can be believed: reliability, risk against coverage, the measures, and severities."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app.shared.cached_models import raw_wanted
from app.shared.charts import whiskers
from app.shared.errors import plain
from app.shared.memory import once
from app.shared.palette import CHART, NEUTRAL, styled
from app.shared.panels import run_colors, say_differences
from app.shared.session import remember, switch
from app.shared.wording import name_of_run, perturbation_title
from app.views.numbers.reports import kept, measured, report_on
from app.views.sweeps.cached import results_once
from pmsi.base.files import stamp
from pmsi.calibrate import ANSWERS, compared
from pmsi.config import CalibrateConfig, RobustnessConfig
from pmsi.robustness import CLEAN
from pmsi.robustness.drawing import faded
from pmsi.robustness.results import SweepResults
from pmsi.runs import Run
from pmsi.runs.calibration import IMAGES
from pmsi.uncertainty.measures import MEASURES, Answers, numbers, reliability, restored, risk_coverage

KINDS = {"raw": "As the network gives them", "calibrated": "Calibrated"}


@dataclass(frozen=True)
class Shown:
    """A run as the section shows it: its name, colour, output, calibration, and answers by kind."""

    name: str
    color: str
    head: str
    about: dict[str, Any]
    answers: dict[str, Answers]


def calibration(run: Run, beside: Run | None, output: str) -> None:
    """Show how far the probabilities of one or two runs can be believed, and offer to measure that."""
    found = measured(run, beside, CalibrateConfig, "a minute or two")
    if found is None:
        return
    runs, job, result = found
    colors, kind = run_colors(runs), "raw" if raw_wanted() else "calibrated"
    shown = [_shown(job, result, each, output, colors[each.id]) for each in runs]
    left, right = st.columns(2, gap="medium")
    alt = "Reliability: accuracy against probability, in 15 bins of equally many images, by run"
    left.plotly_chart(reliability_figure(shown, kind), key="reliability", alt=alt, **CHART)
    alt = "Risk against coverage: errors among the surest images, by run"
    right.plotly_chart(risk_figure(shown, kind), key="risk", alt=alt, **CHART)
    st.table([_row(each, kind) for each in shown], hide_index=True, border="horizontal")
    if len(shown) > 1:
        st.markdown(_differences(job, result, shown, kind))
    say_differences(result, *runs)
    severities(runs, output, kind, colors)
    for each in shown:
        fitted = f"{each.about['images']:,} images: {IMAGES.get(each.about['on'], each.about['on'])}"
        heat = each.about["temperatures"][each.head]
        st.caption(plain(f"{each.name}: output {each.head}, temperature {heat:.2f}, fitted on {fitted}."))
    st.caption(
        f"On {result['images']:,} test images, with 95 % bootstrap intervals; less is better. "
        + " ".join(f"{row.title}: {row.help}" for row in MEASURES.values())
    )


def _shown(job: Run, result: dict[str, Any], run: Run, output: str, color: str) -> Shown:
    about = result["runs"][run.id]
    said = kept(job, ANSWERS, lambda said: {kind: restored(each) for kind, each in said.items()})[run.id]
    head = output if output in about["heads"] else about["primary"]
    return Shown(name_of_run(run), color, head, about, {kind: said[kind][head] for kind in KINDS})


def _row(shown: Shown, kind: str) -> dict[str, str]:
    found = shown.about["heads"][shown.head]
    return {"Run": plain(shown.name)} | {row.title: _values(found, name, kind) for name, row in MEASURES.items()}


def _values(found: dict[str, Any], name: str, kind: str) -> str:
    """Return a measure with its interval, and what it is without or with the temperature."""
    value, other = found[kind][name], found["raw" if kind == "calibrated" else "calibrated"][name]
    scale, digits = (100, 2) if name in ("ece", "aurc") else (1, 3)
    texts = [f"{scale * value[end]:.{digits}f}" for end in ("value", "low", "high")]
    unit = " %" if scale == 100 else ""
    word = "raw" if kind == "calibrated" else "calibrated"
    return f"**{texts[0]}{unit}** ({texts[1]} to {texts[2]}), {word} {scale * other['value']:.{digits}f}"


def _differences(job: Run, result: dict[str, Any], shown: Sequence[Shown], kind: str) -> str:
    """Say of each measure whether the second run is better than the first, by the paired interval."""
    pair = {str(number): {kind: {"": each.answers[kind]}} for number, each in enumerate(shown)}
    key = ("apart", str(job.folder), kind, *(each.name + each.head for each in shown))
    (found,) = once(key, lambda: compared(pair, dict.fromkeys(pair, ""), 0))
    lines = []
    for name, row in MEASURES.items():
        about, scale = found[kind][name], 100 if name in ("ece", "aurc") else 1
        value, low, high = (scale * about[end] for end in ("value", "low", "high"))
        better = "is better" if high < 0 else "is worse" if low > 0 else "does not differ"
        digits = 2 if scale == 100 else 3
        lines.append(
            f"{row.title}: **{plain(shown[1].name)} {better}**, {value:+z.{digits}f} ({low:+z.{digits}f} to "
            f"{high:+z.{digits}f}), p = {about['p']:.2g}."
        )
    return "  \n".join(lines)


def reliability_figure(shown: Sequence[Shown], kind: str) -> go.Figure:
    """Return accuracy against probability in bins of equally many images, with Wilson's intervals.

    A thin line is the other kind: without temperatures, or with them.
    """
    figure = go.Figure()
    just = {"color": NEUTRAL, "dash": "dot", "width": 1}
    figure.add_scatter(x=[0, 100], y=[0, 100], mode="lines", line=just, name="Just right", hoverinfo="skip")
    for each in shown:
        other = reliability(each.answers["raw" if kind == "calibrated" else "calibrated"])
        figure.add_scatter(**_curve(other), mode="lines", line={"color": faded(each.color, 0.45), "width": 1},
                           showlegend=False, hoverinfo="skip")  # fmt: skip
        bins = reliability(each.answers[kind])
        figure.add_scatter(
            **_curve(bins),
            error_y=whiskers(bins, "accuracy"),
            mode="lines+markers",
            line={"color": each.color, "width": 2},
            name=escape(each.name),
            hovertemplate="says %{x:.1f} %, right %{y:.1f} %<extra>" + escape(each.name) + "</extra>",
        )
    styled(figure, height=360)
    figure.update_xaxes(title="Probability (%)", range=[0, 102])
    figure.update_yaxes(title="Accuracy (%)", range=[0, 102])
    return figure.update_layout(hovermode="closest")


def _curve(bins: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    return {"x": [100 * one["confidence"] for one in bins], "y": [100 * one["accuracy"] for one in bins]}


def risk_figure(shown: Sequence[Shown], kind: str) -> go.Figure:
    """Return the errors among the surest images against their share."""
    figure = go.Figure()
    for each in shown:
        coverage, risk = risk_coverage(each.answers[kind])
        figure.add_scatter(
            x=100 * coverage, y=100 * risk, mode="lines", line={"color": each.color, "width": 2},
            name=escape(each.name), hovertemplate="of the surest %{x:.0f} %: %{y:.1f} % wrong<extra></extra>",
        )  # fmt: skip
    styled(figure, height=360)
    figure.update_xaxes(title="Coverage: the surest images (%)", range=[0, 100])
    figure.update_yaxes(title="Risk: errors among them (%)", rangemode="tozero")
    return figure.update_layout(hovermode="closest")


# At every severity of a sweep

Curve = list[tuple[float, dict[str, float]]]
"""A measure with its interval by severity; the clean images are severity 0."""


def severities(runs: Sequence[Run], output: str, kind: str, colors: dict[str, str]) -> None:
    """Show a measure of the probabilities of some runs over the severities of their newest sweep."""
    found = report_on(runs, RobustnessConfig)
    if found is None:
        st.caption("Under perturbations: there is no sweep of these runs yet (Results → Sweeps).")
        return
    results = results_once(found[0])
    if not results.answers(CLEAN, runs[0].id):
        st.caption("Under perturbations: the newest sweep of these runs is older than this measure. Make another.")
        return
    with st.container(horizontal=True):
        names = {name: perturbation_title(name) for name in results.perturbations}
        name = remember(st.selectbox, "under", next(iter(names)), "Under", names, width=260)
        titles = {key: row.title for key, row in MEASURES.items()}
        measure = switch("how-sure", "ece", "Measure", titles, label_visibility="visible")
    curves = {
        run.id: {which: curve(results, run.id, output, which, name, measure) for which in (kind, "raw")} for run in runs
    }
    figure = severity_figure([(name_of_run(run), colors[run.id], curves[run.id], kind) for run in runs], measure)
    alt = f"{titles[measure]} over the severities of {names[name]}, by run"
    st.plotly_chart(figure, key=f"severities-{name}-{measure}", alt=alt, **CHART)
    st.caption(plain(f"{results.images} test images of the sweep {found[0].id}. Thin: without temperatures."))


def curve(results: SweepResults, run: str, output: str, kind: str, perturbation: str, measure: str) -> Curve:
    """Return a measure of an output of a run by severity, computed once for all visitors."""
    head = output if output in results.heads(run) else results.report["primary"][run]

    def made() -> Curve:
        cells = [CLEAN, *results.of(perturbation)]
        said = [results.answers(cell, run) for cell in cells]
        return [
            (cell.severity, numbers(each.get(kind, each["raw"])[head], 0, [measure])[measure])
            for cell, each in zip(cells, said, strict=True)
        ]

    files = stamp(results.run.folder / "metrics.jsonl")
    return once(("severities", str(results.run.folder), files, run, head, kind, perturbation, measure), made)


def severity_figure(runs: Sequence[tuple[str, str, dict[str, Curve], str]], measure: str) -> go.Figure:
    """Return the curves of (a run's name, its colour, its curves by kind, the kind that is shown with intervals)."""
    figure, scale = go.Figure(), 100 if measure in ("ece", "aurc") else 1
    for name, color, curves, kind in runs:
        for which in dict.fromkeys(("raw", kind)):
            shown = which == kind
            severities, values = zip(*curves[which], strict=True)
            figure.add_scatter(
                x=severities,
                y=[scale * found["value"] for found in values],
                error_y=whiskers(values, "value", scale) if shown else None,
                mode="lines+markers" if shown else "lines",
                line={"color": color if shown else faded(color, 0.45), "width": 2 if shown else 1},
                name=escape(name),
                showlegend=shown,
            )
    styled(figure, height=320)
    figure.update_xaxes(title="Severity")
    figure.update_yaxes(title=MEASURES[measure].title + (" (%)" if scale == 100 else ""), rangemode="tozero")
    return figure
