"""The Maps page: where the last three stages of some models look, for any output and any class."""

from collections.abc import Callable

import streamlit as st

from app.shared.errors import guarded, plain
from app.shared.image_links import image_actions
from app.shared.panels import (
    Picked,
    beside_picker,
    default_run,
    image_picker,
    linked_label,
    no_runs_yet,
    run_picker,
    trained_runs,
    unknown_class,
)
from app.shared.session import choice, keep, key_of, moved, page_of
from app.shared.wording import name_of_run
from app.views.maps.disagreements import disagreements
from app.views.maps.explained import Rows, Wanted, more_images, pixels_of, seen
from app.views.maps.form import legend, rows_form, settings
from app.views.maps.grid import show_grid
from app.views.maps.printed import printed
from app.views.maps.severity import motion
from app.views.maps.zoom import ZOOM, enlarge
from pmsi.runs import Run

INTRO = (
    "A network has five stages, one after the other. A class activation map shows which places of a stage's map speak "
    "for a class: bright is strong evidence. S3 has a fine map, each place of which sees a small part of the image; S5 "
    "has a coarse one, each place of which sees nearly all of it."
)
TOOLS: dict[str, tuple[str, Callable[[Rows, Wanted], None]]] = {
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
    runs = trained_runs()
    if runs:
        _bench(runs)
    else:
        no_runs_yet("Maps need a model to explain.")


@st.fragment
@guarded()
def _bench(runs: list[Run]) -> None:
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        chosen = _runs(runs)
    with right, st.container(border=True, height="stretch"):
        picked = image_picker(chosen[0])
        if picked is not None:
            image_actions(picked, here="maps", run=chosen[0].id)
    if picked is None:
        st.info("Choose an image to see the maps.", icon=":material/image:")
        return
    maps_of(picked, chosen, "")


def maps_of(picked: Picked, runs: list[Run], output: str) -> None:
    """Draw what an output of some runs looks at in an image: the grid first, and below it what else there is."""
    wanted = settings(runs[0], picked, output)
    place = st.container()
    wanted = legend(wanted)
    kind, count, kept = rows_form(picked)
    with guarded():
        kept += more_images(runs[0], picked, kind, count)
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


def _runs(runs: list[Run]) -> list[Run]:
    """Let the visitor choose up to three runs, and return those that differ."""
    first = default_run(runs, linked_label())
    run = run_picker(runs, default=first.id if first else "")
    assert run is not None
    others = [beside_picker(run, runs)]
    if others[0] is not None and len(runs) > 2:
        others.append(beside_picker(run, runs, "And a third", "third"))
    by_id = {one.id: one for one in (run, *others) if one is not None}
    return list(by_id.values())


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
