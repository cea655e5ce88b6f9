"""The reports of the task "maps", by stage and run, with intervals, and the button that starts a missing one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.shared.cached_models import predictor_of
from app.shared.charts import whiskers
from app.shared.errors import guarded, plain
from app.shared.palette import CHART, NEUTRAL, head_color, styled
from app.shared.panels import run_colors, say_differences
from app.shared.session import remember
from app.shared.wording import cam_title, name_of_run, perturbation_title, with_names
from app.views.numbers.reports import interval, offer, reports
from pmsi.config import MapsConfig
from pmsi.explain.methods import CAM_METHODS
from pmsi.predictor import Predictor
from pmsi.runs import Run
from pmsi.runs.record import why_not_comparable

Report = Mapping[str, Any]
Numbers = Mapping[str, Mapping[str, float]]

REGIONS = {
    "telling": "The part that tells it from its sibling",
    "pair": "That part, of the two most confused classes",
    "focus": "That part's share of what is on the bird",
    "object": "The whole object",
    "parts": "All parts of the object that are visible",
    "box": "The box around the object",
}
"""Regions that have a title of their own; any other is the name of a part."""

MEASURES = {"energy": "Energy inside", "pointing": "Pointing game"}
WORDS_OF = {"energy": "the share of a map inside the region", "pointing": "how often a map's peak is inside it"}
TRIALS = {
    "deletion": "Deletion: the score left while the brightest pixels are taken away (less is better)",
    "insertion": "Insertion: the score while they are put in (more is better)",
    "road": "ROAD: how much sooner the score falls than from the other end (more is better)",
}
STAGES = ("S1", "S2", "S3", "S4", "S5")
BASELINES = {"edges": "dash", "centre": "dot"}
"""Baselines that have no stage, and how their lines are dashed."""


@dataclass(frozen=True)
class Question:
    """The settings of a report that must be equal for reports to be compared.

    ``per_class`` limits the test images of each class, None for all; ``images`` counts them.
    """

    stages: tuple[str, ...]
    tolerance: float
    per_class: int | None
    images: int
    rival: str | None = None

    @property
    def title(self) -> str:
        against = f" · against a rival ({self.rival})" if self.rival else ""
        return f"{', '.join(self.stages)} · {self.images} test images · tolerance {self.tolerance:g} px{against}"


def maps(run: Run, beside: Run | None, output: str) -> None:
    """Show the reports of the maps of one or two runs, and offer to make those that are missing.

    All of them answer one question: a method and an output, and the same stages and images.
    """
    runs = [run] if beside is None else [run, beside]
    asking = st.container(horizontal=True, vertical_alignment="center", gap="small")
    asked = asking.container(horizontal=True, vertical_alignment="center", gap="small", width="content")
    more = asking.popover("More", icon=":material/tune:")
    titles = {name: row.title for name, row in CAM_METHODS.items()}
    with more:
        method = str(remember(st.selectbox, "method", "gradcam", "Maps made by", titles, width=360))
    heads = {run.id: _head(predictor_of(run), output) for run in runs}
    found = {run.id: reports_on(run, method, heads[run.id]) for run in runs}
    questions = list(dict.fromkeys(question for each in found.values() for question in each))
    with more:
        question = _chosen(questions)
    shown, colors = [], run_colors(runs)
    for run in runs:
        if reasons := why_not_comparable(runs[0], run, limited=question is not None and question.per_class is not None):
            st.caption(plain(with_names([f"{name_of_run(run)} is left out.", *reasons], runs[0], run)))
        elif question in found[run.id]:
            shown.append((name_of_run(run), colors[run.id], found[run.id][question]))
            say_differences(found[run.id][question], run)
        else:
            _offer(run, method, heads[run.id], question)
    if shown:
        show_reports(shown, asked)


def _head(predictor: Predictor, output: str) -> str:
    return output if output in predictor.heads else predictor.primary


def _chosen(questions: list[Question]) -> Question | None:
    """Let the visitor choose what the numbers are about, where there are reports on several questions."""
    if len(questions) < 2:
        return next(iter(questions), None)
    titles = {question.title: question for question in questions}
    return titles[remember(st.selectbox, "report", next(iter(titles)), "Reports on", list(titles), width=480)]


def reports_on(run: Run, method: str, head: str) -> dict[Question, Report]:
    """Return the finished reports of the maps of a run's model of now, the newest of each question."""
    found: dict[Question, Report] = {}
    for job, result in reports(run, MapsConfig):
        if (result.get("method"), result.get("head")) == (method, head):
            per_class = getattr(job.config, "test_per_class", None)
            about = (tuple(result["stages"]), result["tolerance"], per_class, result["images"])
            of = Question(*about, getattr(job.config, "rival", None))
            found.setdefault(of, result)
    return found


def _offer(run: Run, method: str, head: str, question: Question | None) -> None:
    """Say that a run has no report on what is asked, and start one on request."""
    title = CAM_METHODS[method].title
    like = {} if question is None else {
        "stages": question.stages, "tolerance": question.tolerance, "test_per_class": question.per_class,
        "rival": question.rival,
    }  # fmt: skip
    words = f"{name_of_run(run)} has no report of {title} at output {head} here yet: a few minutes on two cores."
    offer(words, MapsConfig(of=run.id, method=method, head=head, **like), run.id)


@guarded()
def show_reports(reports: Sequence[tuple[str, str, Report]], asking: DeltaGenerator) -> None:
    """Show reports of (run's name, its colour, its report) beside each other; what is asked of them in ``asking``."""
    regions = list(dict.fromkeys(name for _, _, report in reports for name in report["regions"]))
    ordered = [*(name for name in REGIONS if name in regions), *(name for name in regions if name not in REGIONS)]
    if ordered:
        _regions(reports, ordered, asking)
    st.caption(asked_in_words(reports))
    with st.expander("What the maps are worth: deletion, insertion, ROAD, drift", icon=":material/science:"):
        _trials(reports)


def asked_in_words(reports: Sequence[tuple[str, str, Report]]) -> str:
    """Say what reports that answer one question are about: method, output, stages and images."""
    first = reports[0][2]
    heads = dict.fromkeys(report["head"] for _, _, report in reports)
    return plain(
        f"{cam_title(first['method'])} at output {' / '.join(heads)}, stages {', '.join(first['stages'])}, on "
        f"{first['images']} test images, each explained for its true class."
    )


def _regions(reports: Sequence[tuple[str, str, Report]], regions: list[str], asking: DeltaGenerator) -> None:
    hidden: dict[str, Any] = {"label_visibility": "collapsed"}
    with asking:
        region = remember(
            st.selectbox, "region-of", regions[0], "Where", regions, format_func=title_of_region, width=340, **hidden
        )
        measure = remember(st.segmented_control, "measure", "energy", "How much", MEASURES, required=True, **hidden)
    mine = [(name, color, report["regions"][region]) for name, color, report in reports if region in report["regions"]]
    alt = f"{MEASURES[measure]}, {title_of_region(region)}: by stage and run, with 95 % intervals"
    st.plotly_chart(stages_figure(mine, measure), key=f"numbers-{region}-{measure}", alt=alt, **CHART)
    lines = [_sentence(name, about["numbers"], measure) for name, _, about in mine]
    images = mine[0][2]["images"]
    st.markdown("  \n".join(lines))
    st.caption(
        f"{MEASURES[measure]}: {WORDS_OF[measure]}. Means over the {images} images that show the region, "
        "with 95 % bootstrap intervals. Hollow: "
        "noise at the stage's own resolution. Lines: a map of the image's edges, one of its middle, and chance, which "
        "is the region's share of the image."
    )


def title_of_region(name: str) -> str:
    """Return a region's title; a part's is its name."""
    return REGIONS.get(name, name.replace("_", " ").capitalize())


def _sentence(name: str, numbers: Numbers, measure: str) -> str:
    """Say whether the shallowest stage is ahead of the deepest, where both are there."""
    found = numbers.get(f"S3 - S5/{measure}")
    if found is None:
        return plain(name)
    mean, low, high = (100 * found[end] for end in ("mean", "low", "high"))
    verdict = "S3 is ahead" if low > 0 else "S5 is ahead" if high < 0 else "no difference is seen"
    return f"**{plain(name)}**: S3 − S5 is {mean:+z.1f} points ({low:+z.1f} to {high:+z.1f}); {verdict}."


def stages_figure(reports: Sequence[tuple[str, str, Mapping[str, Any]]], measure: str) -> go.Figure:
    """Return the stages' means with intervals by run, in per cent, among those of the baselines."""
    figure = go.Figure()
    stages = [name for name in STAGES if all(f"{name}/{measure}" in found["numbers"] for _, _, found in reports)]
    for number, (name, color, about) in enumerate(reports):
        found: Numbers = about["numbers"]
        x = [i + 0.16 * (number - (len(reports) - 1) / 2) for i in range(len(stages))]
        for kind, prefix in (("", ""), (", noise", "random ")):
            y = [found[f"{prefix}{stage}/{measure}"] for stage in stages]
            _points(figure, x, y, escape(name) + kind, color)
    figure.update_xaxes(
        tickvals=list(range(len(stages))),
        ticktext=[f'<span style="color:{head_color(stage)}">■</span> <b>{stage}</b>' for stage in stages],
        range=[-0.5, len(stages) - 0.5],
    )
    first: Numbers = reports[0][2]["numbers"]
    levels = {name: first.get(f"{name}/{measure}") for name in BASELINES} | {"chance": first.get("area")}
    for name, value in levels.items():
        if value is not None:
            style = {"dash": BASELINES.get(name, "solid"), "color": NEUTRAL, "width": 1}
            figure.add_hline(100 * value["mean"], line=style, annotation={"text": name, "font": {"color": NEUTRAL}})
    styled(figure, height=380)
    figure.update_yaxes(title=f"{MEASURES[measure]} (%)", rangemode="tozero")
    return figure.update_layout(hovermode="closest")


def _points(figure: go.Figure, x: list[float], y: list[Mapping[str, float]], name: str, color: str) -> None:
    """Add means with intervals; those of noise are hollow."""
    hollow = name.endswith(", noise")
    figure.add_scatter(
        x=x,
        y=[100 * value["mean"] for value in y],
        error_y=whiskers(y) | {"color": color, "thickness": 1 if hollow else 2, "width": None},
        name=name,
        mode="markers",
        marker={"color": color, "size": 8 if hollow else 11, "symbol": "circle-open" if hollow else "circle"},
        hovertemplate="%{y:.1f} %<extra>" + name + "</extra>",
    )


def _trials(reports: Sequence[tuple[str, str, Report]]) -> None:
    """Show deletion, insertion, ROAD and drift as tables."""
    rows = [row for name, _, report in reports for row in _removal_rows(name, report)]
    if rows:
        st.table(rows, hide_index=True, border="horizontal")
        st.caption("  \n".join(TRIALS.values()))
    rows = [row for name, _, report in reports for row in _drift_rows(name, report)]
    if rows:
        st.table(rows, hide_index=True, border="horizontal")
        st.caption("Drift: Spearman's correlation of the maps before and after, for a fixed class; 1 is no drift.")


def _removal_rows(name: str, report: Report) -> list[dict[str, str]]:
    if not report.get("removal"):
        return []
    found: Numbers = report["removal"]["numbers"]
    sources = [*report["stages"], "edges"]
    return [
        {"Run": name, "Trial": trial.capitalize().replace("Road", "ROAD")}
        | {source: interval(found[f"{source}/{trial}"], 100) for source in sources}
        for trial in TRIALS
    ]


def _drift_rows(name: str, report: Report) -> list[dict[str, str]]:
    return [
        {"Run": name, "Drift under": perturbation_title(entry)}
        | {source: interval(about["numbers"][f"{source}/spearman"]) for source in [*report["stages"], "edges"]}
        for entry, about in (report.get("drift") or {}).items()
    ]
