"""The Numbers page: a run, and another beside it, in figures on all their test images; a section for each subject."""

from collections.abc import Callable

import streamlit as st

from app.shared.errors import guarded
from app.shared.panels import beside_picker, default_run, no_runs_yet, run_picker, trained_runs
from app.shared.session import choice, remember
from app.views.numbers.maps import maps
from pmsi.runs import Run

Section = Callable[[Run, Run | None, str], None]
"""Draws a subject for (run, run beside it, output); output "" is each run's primary one."""

SECTIONS: dict[str, tuple[str, Section]] = {
    "maps": ("Where it looks", maps),
}
"""The title of each subject, and what draws it, by its name in links."""


def page() -> None:
    """Draw the page."""
    st.title("In numbers", anchor=False)
    if runs := trained_runs():
        _bench(runs)
    else:
        no_runs_yet("Numbers are about a model.")


@st.fragment
@guarded()
def _bench(runs: list[Run]) -> None:
    left, right = st.columns(2, gap="medium")
    first = default_run(runs, None)
    with left:
        run = run_picker(runs, default=first.id if first else "")
    assert run is not None
    with right:
        beside = beside_picker(run, runs)
    titles = {name: title for name, (title, _) in SECTIONS.items()}
    chosen = remember(st.segmented_control, "section", next(iter(titles)), "Numbers on", titles, required=True)
    SECTIONS[chosen][1](run, beside, choice("head"))
