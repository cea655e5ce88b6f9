"""The Maps page: where the last three stages of some models look, for any output and any class."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from app.shared.bar import bar
from app.shared.cached_data import data_of_run
from app.shared.errors import guarded, plain
from app.shared.images import download
from app.shared.panels import Picked, no_runs_yet, unknown_class
from app.shared.session import choice, keep, key_of, moved, page_of
from app.shared.wording import name_of_run, with_names
from app.views.maps.ask import ask
from app.views.maps.disagreements import disagreements
from app.views.maps.explained import Rows, Wanted, figure_of, more_images, pixels_of, seen
from app.views.maps.form import legend, rows_form, settings
from app.views.maps.grid import show_grid
from app.views.maps.severity import motion
from app.views.maps.zoom import ZOOM, enlarge
from pmsi.pictures.figure import to_pdf, to_png, to_svg
from pmsi.runs import Run

INTRO = (
    "A network has five stages, one after the other. A class activation map shows which places of a stage's map speak "
    "for a class: bright is strong evidence. S3 has a fine map, each place of which sees a small part of the image; S5 "
    "has a coarse one, each place of which sees nearly all of it."
)


def printed(rows: Rows, wanted: Wanted) -> None:
    """Show the grid of maps as a figure for print, laid out like the paper's Fig. 4, and offer it for download."""
    figure = figure_of(rows, wanted)
    shown = to_png(figure, dpi=150)
    st.image(shown, width=min(900, 225 * (1 + len(figure.models) * len(figure.stages))), output_format="PNG",
             alt="The figure: a row for each image, columns for the stages of each run")  # fmt: skip
    with st.container(horizontal=True):
        for name, write in {"PNG, 300 dpi": to_png, "SVG": to_svg, "PDF": to_pdf}.items():
            download(f"Download {name}", partial(write, figure), f"maps.{name[:3].lower()}")
    st.caption("At most two columns of a paper wide (181 mm). `pmsi explain RUN IMAGE… --figure FILE` draws the same.")


TOOLS: dict[str, tuple[str, Callable[[Rows, Wanted], None]]] = {
    "ask": ("Ask it yourself", ask),
    "severity": ("Increasing severity", motion),
    "disagree": ("Where two runs disagree", disagreements),
    "figure": ("Figure for print", printed),
}
"""What can be opened below the grid: a title, and what draws it."""


def page() -> None:
    """Draw the page."""
    if choice("tool") == "numbers":  # a link from when they were shown here
        keep("tool", "")
        st.switch_page(page_of("numbers"), query_params={**st.query_params, "section": "maps"})
    st.title("Where the stages look", anchor=False, help=INTRO)
    chosen = bar(here="maps")
    if chosen.run is None:
        no_runs_yet("Maps need a model to explain.")
    elif chosen.picked is None:
        st.info("Choose an image to see the maps.", icon=":material/image:")
    else:
        _maps(chosen.picked, chosen.runs, chosen.output)


@st.fragment
@guarded()
def _maps(picked: Picked, runs: list[Run], output: str) -> None:
    """Draw what an output of some runs looks at in an image: the grid first, and below it what else there is."""
    wanted, third = settings(runs, picked, output)
    runs = [*runs, *third]
    place = st.container()
    wanted = legend(wanted)
    kind, count, kept = rows_form(picked)
    with guarded():
        kept += more_images(runs[0], picked, kind, count)
        if kind and (reasons := data_of_run(runs[0]).reasons):
            st.caption(plain(with_names(reasons, runs[0])))
    with place:
        rows = _explained(runs, picked, kept, wanted)
        for one in rows[0][1]:
            if words := unknown_class(one.run, picked.label, one.explanation.prediction.best.name):
                whose = f"{name_of_run(one.run)}: " if len(runs) > 1 else ""
                st.caption(f":material/info: {plain(whose + words)}")
        if opened := show_grid(rows, wanted):
            keep(ZOOM, opened)
    if choice(ZOOM):
        enlarge(rows, choice(ZOOM), wanted)
    _tools(rows, wanted)


def _explained(runs: list[Run], picked: Picked, others: list[Picked], wanted: Wanted) -> Rows:
    images = {pixels_of(picked): picked}
    for other in others:
        images.setdefault(pixels_of(other), other)
    with st.spinner("Explaining…"):
        return [(image, [seen(run, image, wanted) for run in runs]) for image in images.values()]


def _tools(rows: Rows, wanted: Wanted) -> None:
    """Let the visitor open one of TOOLS; none is open at first."""
    key, asked = key_of("tool"), choice("tool")
    if key not in st.session_state or moved("tool"):
        st.session_state[key] = asked if asked in TOOLS else None
    titles = {name: row[0] for name, row in TOOLS.items()}
    tool = st.pills("More of these images and runs", list(TOOLS), format_func=titles.get, key=key)
    keep("tool", tool or "")
    if tool:
        TOOLS[tool][1](rows, wanted)
