"""A grid on the Train page: one or two settings, their values, and the button that queues the runs."""

import shlex
from typing import Any

import streamlit as st

from app.shared.access import check_places, read_only
from app.shared.errors import changing, guarded, plain, worded
from app.shared.fields import Entry, entries
from app.shared.measuring import measure, measured
from app.shared.session import page_of
from app.views.train.address import VARIED
from pmsi.base.errors import PMSIError
from pmsi.base.text import duration, plural
from pmsi.config import TrainConfig
from pmsi.config.text import from_text, split, to_text
from pmsi.runs import default_root
from pmsi.tables import grid as grids
from pmsi.tables.estimate import Estimator

SHOWN = 12
"""Runs that are listed one by one."""


def varied_axes() -> list[str]:
    """Return what the panel's widgets vary now, as the address and the command say it."""
    names = st.session_state.get(VARIED, [])
    return [f"{name}={values}" for name in names if (values := st.session_state.get(f"{VARIED}-{name}", ""))]


def sweep_panel(config: TrainConfig, launcher: str) -> None:
    """Draw the choice of settings and values, what they make, and the buttons."""
    known = entries(TrainConfig)
    st.caption(
        "Several runs that differ in one or two settings, a run for each combination; all other settings are those "
        "above. Each device works on one at a time."
    )
    names = st.multiselect(
        "Vary",
        grids.varied(),
        format_func=lambda name: known[name].label,
        max_selections=grids.MOST_FIELDS,
        key=VARIED,
        persist_state="session",
        placeholder="One or two settings",
    )
    if not names:
        return
    columns = st.columns(len(names))
    texts = {}
    for column, name in zip(columns, names, strict=True):
        with column:
            texts[name] = _values(known[name], getattr(config, name))
    try:
        axes = [grids.axis_of(name, _read(name, text)) for name, text in texts.items() if text]
        if len(axes) < len(names):
            return
        grid = grids.make_grid(config, axes)
        for one in grid.configs:
            check_places(one)
        grids.check(grid, default_root())
    except PMSIError as error:
        st.error(plain(worded(str(error))), icon=":material/error:")
        return
    _start(grid, launcher)


def _values(entry: Entry, now: Any) -> str:
    """Draw the values of one setting, with commas between; below it, what they can be."""
    text = st.text_input(
        f"Values of {entry.label}",
        key=f"{VARIED}-{entry.name}",
        placeholder=f"{to_text(now)}, …",
        persist_state="session",
    ).strip()
    words = "on, off" if entry.kind is bool else ", ".join(entry.options or ())
    st.caption(f"With commas between. {f'Of: {plain(words)}. ' if words else ''}{entry.explained(entry.paper)}")
    return text


def _read(name: str, text: str) -> list[Any]:
    return [from_text(TrainConfig, name, value) for value in split(text)]


@st.fragment
@guarded()
def _start(grid: grids.Grid, launcher: str) -> None:
    """Say how many runs there are to be and how long they take, and offer to queue them."""
    root = default_root()
    todo, count = grids.missing(grid, root), len(grid.configs)
    there = f", of which {count - len(todo)} are there already" if len(todo) < count else ""
    size = f"**{plural(count, 'run')}**{there}."
    said = st.empty()
    said.markdown(f"{size} {_foreseen(grid, todo)}")
    notes = ["" if config in todo else " · there already" for config in grid.configs]
    lines = [plain(grids.changes(grid, config)) + note for config, note in zip(grid.configs, notes, strict=True)]
    st.caption("  \n".join(lines[:SHOWN]) + (f"  \n… and {count - SHOWN} more" if count > SHOWN else ""))
    words = f"Queue {plural(len(todo), 'run')}" if todo else "Nothing to queue"
    with st.container(horizontal=True, vertical_alignment="center"):
        blocked = not todo or read_only()
        if st.button(words, type="primary", icon=":material/playlist_add:", disabled=blocked):
            _queue(grid, launcher)
        asked = st.button("Measure the time", icon=":material/timer:", disabled=blocked)
    if asked and measure(_words(grid), "Trying a few steps of each …"):
        said.markdown(f"{size} {_foreseen(grid, todo)}")
    st.code(grids.command_of(grid), language="bash", wrap_lines=True)


def _words(grid: grids.Grid) -> list[str]:
    """Return the words of the command that makes the runs, without ``python -m pmsi``."""
    return [*shlex.split(grids.command_of(grid))[3:], "--runs", str(default_root().absolute())]


def _foreseen(grid: grids.Grid, todo: list[TrainConfig]) -> str:
    """Return about how long the runs take one after another, by equal runs or a trial; "" if not known."""
    if not todo:
        return ""
    if (seconds := measured(_words(grid))) is not None:
        return f"About {duration(seconds)} on this machine, one after another, by a trial."
    estimator = Estimator(default_root())
    known = [seconds for config in todo if (seconds := estimator.known(config)) is not None]
    return f"About {duration(sum(known))} on this machine, as equal runs took." if len(known) == len(todo) else ""


def _queue(grid: grids.Grid, launcher: str) -> None:
    with changing():
        runs = grids.start(grid, default_root(), launcher)
        st.switch_page(page_of("runs"), query_params={"tag": grids.tag_of(runs)} if runs else {})
