"""How far probabilities can be believed at every severity of a sweep."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go
import streamlit as st

from app.shared.errors import plain
from app.shared.memory import once
from app.shared.palette import CHART, styled
from app.shared.session import remember
from app.shared.wording import name_of_run, perturbation_title
from app.views.numbers.reports import report_on
from app.views.sweeps.cached import results_once
from pmsi.base.files import stamp
from pmsi.config import RobustnessConfig
from pmsi.robustness import CLEAN
from pmsi.robustness.drawing import faded
from pmsi.robustness.results import SweepResults
from pmsi.runs import Run
from pmsi.uncertainty.measures import MEASURES, numbers

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
        measure = remember(st.segmented_control, "how-sure", "ece", "Measure", titles, required=True)
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
            y = [scale * found["value"] for _, found in curves[which]]
            ends = [[scale * abs(found[end] - found["value"]) for _, found in curves[which]] for end in ("high", "low")]
            figure.add_scatter(
                x=[severity for severity, _ in curves[which]],
                y=y,
                error_y={"array": ends[0], "arrayminus": ends[1], "thickness": 1, "width": 0} if shown else None,
                mode="lines+markers" if shown else "lines",
                line={"color": color if shown else faded(color, 0.45), "width": 2 if shown else 1},
                name=escape(name),
                showlegend=shown,
            )
    styled(figure, height=320)
    figure.update_xaxes(title="Severity")
    figure.update_yaxes(title=MEASURES[measure].title + (" (%)" if scale == 100 else ""), rangemode="tozero")
    return figure
