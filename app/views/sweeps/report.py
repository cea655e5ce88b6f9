"""The report of a sweep, part by part. The URL names the part, the run and the cell."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.shared.errors import guarded, plain
from app.shared.images import download, grid
from app.shared.palette import CHART, styled
from app.shared.panels import run_colors, say_differences
from app.shared.session import remember, switch
from app.shared.wording import name_of_run, perturbation_title
from app.views.sweeps.cached import results_once
from app.views.sweeps.report_images import confusion_part, flips_part
from pmsi.base.errors import PMSIError
from pmsi.config.command import command
from pmsi.perturbations import PERTURBATIONS
from pmsi.robustness import Cell
from pmsi.robustness.drawing import Figure, class_drops, curves
from pmsi.robustness.export import as_csv, cell_row, images_as_csv
from pmsi.robustness.page import (
    accuracy_text,
    as_html,
    drawn_points,
    drop_text,
    most_dropped,
    p_text,
    points,
    ratio_text,
    survival_points,
    tests_text,
)
from pmsi.robustness.results import SweepResults
from pmsi.runs import Run
from pmsi.runs.record import is_of_earlier_model

OWN = "as predicted"
"""The choice of an output that is, for each run, the one it predicts with; see `pmsi.robustness.page.PREDICTED`."""
MOST = 20
"""Classes whose drops are shown, the largest first."""


@dataclass(frozen=True)
class Seen:
    """A sweep, its runs as far as they are there, and how they are called and coloured here: by id."""

    results: SweepResults
    of: tuple[Run, ...]
    titles: dict[str, str]
    colors: dict[str, str]

    @property
    def named(self) -> dict[str, str]:
        """The colours by title."""
        return {self.titles[id]: self.colors[id] for id in self.results.runs}


def seen(run: Run) -> Seen:
    """Return a sweep as it is shown; raises RunError while no cell is finished."""
    results = results_once(run)
    found = {}
    for id in results.runs:
        with contextlib.suppress(PMSIError):
            found[id] = run.sibling(id)
    titles = {id: name_of_run(found[id]) if id in found else id for id in results.runs}
    colors = run_colors([found.get(id, Run(run.folder.parent / id)) for id in results.runs])
    return Seen(results, tuple(found.values()), titles, colors)


@st.fragment
@guarded()
def report(run: Run) -> None:
    """Show the chosen part of a sweep's report, and the buttons that download it."""
    shown = seen(run)
    _say_what_differs(run, shown)
    row = st.container(horizontal=True, vertical_alignment="center")
    titles = {name: title for name, (title, _) in PARTS.items()}
    part = switch("part", "curves", "Part of the report", titles, row, wrap=True)
    PARTS[part][1](shown, row)
    _downloads(shown)


def _say_what_differs(run: Run, shown: Seen) -> None:
    """Say where the runs' data are not those of the sweep, and which of them have been trained further since."""
    say_differences(run.result() or {}, *shown.of)
    for other in shown.of:
        if is_of_earlier_model(run, other):
            st.warning(f"{plain(name_of_run(other))} has been trained further since.", icon=":material/warning:")


def _choice(row: DeltaGenerator, name: str, default: str, label: str, titles: Mapping[str, str], width: int) -> str:
    """Let the visitor choose what a part of the report is about, beside the choice of the part."""
    return str(remember(row.selectbox, name, default, label, titles, label_visibility="collapsed", width=width))


def chosen_perturbation(results: SweepResults, row: DeltaGenerator) -> str:
    """Let the visitor choose one of the sweep's perturbations."""
    titles = {name: perturbation_title(name) for name in results.perturbations}
    return _choice(row, "by", next(iter(titles)), "Perturbation", titles, 240)


def chosen_output(results: SweepResults, row: DeltaGenerator) -> str:
    """Let the visitor choose an output; `OWN` is, for each run, the one with which it predicts."""
    heads = [OWN, *dict.fromkeys(head for id in results.runs for head in results.heads(id))]
    return _choice(row, "output", OWN, "Output", {head: f"Output {head}" for head in heads}, 200)


def chosen_cell(results: SweepResults, row: DeltaGenerator) -> Cell:
    """Let the visitor choose a perturbation at a severity, at first the one whose mistakes say most."""
    cells = {cell.title: cell for cell in results.cells}
    default = results.telling(results.runs[-1]).title
    return cells[_choice(row, "cell", default, "Images", {title: title for title in cells}, 260)]


def output_of(results: SweepResults, run: str, head: str) -> str:
    """Return the chosen output where a run has it, else the one with which it predicts."""
    return head if head in results.heads(run) else str(results.report["primary"][run])


def _draw(figure: Figure, key: str, alt: str) -> None:
    layout = figure["layout"]
    chart = styled(go.Figure(figure), height=layout["height"]).update_layout(hovermode=layout["hovermode"])
    st.plotly_chart(chart, key=key, alt=alt, **CHART)


def _curves(shown: Seen, row: DeltaGenerator) -> None:
    results, head = shown.results, chosen_output(shown.results, row)
    places = grid(len(results.perturbations), 2, "medium")
    for column, name in zip(places, results.perturbations, strict=False):
        about = PERTURBATIONS[name]
        with column:
            st.markdown(f"**{about.title}** :gray[· {about.effect}]")
            lines = {shown.titles[id]: points(results, name, id, output_of(results, id, head)) for id in results.runs}
            figure = curves(lines, shown.named, f"{about.symbol} ({about.unit})", "Accuracy (%)")
            alt = f"Accuracy of each run against the severity of: {about.title}"
            _draw(figure, f"sweep-{results.run.id}-{name}", alt)
    st.caption(
        f"Measured on {results.images} test images; a run without the chosen output shows the one it predicts with. "
        "The band is where the accuracy on many more images would probably be (95 % Wilson interval)."
    )


def _table(shown: Seen, row: DeltaGenerator) -> None:
    results, head = shown.results, chosen_output(shown.results, row)
    rows = [_row(shown, cell, run, head) for cell in results.cells for run in results.runs]
    st.dataframe(rows, hide_index=True, height=min(38 + 35 * len(rows), 640), column_config=WIDTHS)
    if len(results.runs) > 1:
        st.caption(f"The first run is {plain(shown.titles[results.runs[0]])}. {tests_text(results)}")
    if head == OWN:
        st.caption("Errors: of all severities of a perturbation together, over those of the first run.")
    st.caption("Intervals are of 95 %: Wilson's, and for drops a paired bootstrap's over images.")


WIDTHS = {"Images": {"pinned": True, "width": 150}}


def _row(shown: Seen, cell: Cell, run: str, head: str) -> dict[str, str]:
    """Return a line of the table: an output of a run in a cell, in words."""
    row = cell_row(shown.results, cell, run, output_of(shown.results, run, head))
    clean = cell.perturbation is None
    line = {
        "Images": "Clean" if clean else f"{perturbation_title(cell.perturbation)} {cell.severity:g}",
        "Accuracy (95 %)": accuracy_text(row),
        "Run": shown.titles[run],
        "Output": row["output"],
        "Drop in points (95 %)": "–" if clean else drop_text(row),
        "p": "–" if row["p"] is None else p_text(row["p"]),
        "Holm": "–" if row["holm"] is None else p_text(row["holm"]),
    }
    return line | ({"Errors / first run's": ratio_text(row["errors_over_first"])} if head == OWN else {})


def _survival(shown: Seen, row: DeltaGenerator) -> None:
    name = chosen_perturbation(shown.results, row)
    about = PERTURBATIONS[name]
    lines = {shown.titles[id]: survival_points(shown.results, name, id) for id in shown.results.runs}
    figure = curves(lines, shown.named, f"{about.symbol} ({about.unit})", "Answers unchanged (%)")
    _draw(figure, "survival", f"Share of clean hits that still stand, {about.title}")
    st.caption("Of the images that a run recognises clean: the share whose answer no severity up to there has changed.")


def _factors(shown: Seen, row: DeltaGenerator) -> None:
    found = {(Cell.of(each), each["factor"]): each for each in shown.results.report["factors"]}
    if not found:
        st.caption("None of these perturbations draws a quantity for each image.")
        return
    names = {f"{cell.title} · {factor.replace('_', ' ')}": each for (cell, factor), each in found.items()}
    chosen = _choice(row, "factor", next(iter(names)), "What was drawn", {name: name for name in names}, 320)
    each = names[chosen]
    lines = {shown.titles[id]: drawn_points(each, id) for id in shown.results.runs}
    title = f"{each['factor'].replace('_', ' ')}, as drawn for each image"
    _draw(curves(lines, shown.named, title, "Accuracy (%)"), "factors", f"Accuracy against {chosen}")
    st.caption("Images in bins of what was drawn for them; with few images in a bin the band is wide.")


def _classes(shown: Seen, row: DeltaGenerator) -> None:
    cells = {Cell.of(each): each for each in shown.results.report["class_drops"]}
    chosen = chosen_cell(shown.results, row)
    if chosen not in cells:
        st.caption("The clean images are what the others are compared with.")
        return
    drops, classes = cells[chosen]["runs"], shown.results.report["classes"]
    order = most_dropped(drops, MOST)
    bars = {shown.titles[id]: [drops[id][i] for i in order] for id in drops}
    figure = class_drops(bars, [classes[i] for i in order], shown.named)
    _draw(figure, "class-drops", f"Accuracy lost by class, {chosen.title}")
    each = shown.results.images / len(classes)
    st.caption(
        f"The {len(order)} classes that lose most of {len(classes)}. A class has {each:.0f} test images on average, of "
        f"which one is {100 / each:.1f} points."
    )


def _flips(shown: Seen, row: DeltaGenerator) -> None:
    name = chosen_perturbation(shown.results, row)
    titles = {id: shown.titles[id] for id in shown.results.runs}
    flips_part(shown.results, name, _choice(row, "answers", shown.results.runs[-1], "Run", titles, 260))


def _downloads(shown: Seen) -> None:
    results = shown.results
    with st.container(horizontal=True):
        page = partial(as_html, results, command=command(results.config), titles=shown.titles, colors=shown.colors)
        download("Report (HTML)", page, f"{results.run.id}.html", "description")
        for label, name, write in (("Cells (CSV)", "cells", as_csv), ("Images (CSV)", "images", images_as_csv)):
            download(label, partial(write, results), f"{results.run.id}-{name}.csv")
    st.caption(f"The same as a command: `pmsi report {results.run.id} --out sweep.html`")


PARTS: dict[str, tuple[str, Callable[[Seen, DeltaGenerator], None]]] = {
    "curves": ("Curves", _curves),
    "table": ("Table", _table),
    "survival": ("Survival", _survival),
    "factors": ("Against the draw", _factors),
    "classes": ("Classes", _classes),
    "confusion": (
        "Confusions",
        lambda shown, row: confusion_part(shown.results, shown.titles, shown.colors, chosen_cell(shown.results, row)),
    ),
    "flips": ("First to flip", _flips),
}
"""The parts of a report: a title, and what draws it, with its own choice in the row of that of the part."""
