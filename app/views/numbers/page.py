"""The Numbers page: a run, and another beside it, in figures on all their test images; a section for each subject."""

from collections.abc import Callable

import streamlit as st

from app.shared.bar import Chosen, bar
from app.shared.errors import guarded
from app.shared.glossary import meaning
from app.shared.panels import no_runs_yet
from app.shared.session import switch
from app.views.numbers.calibration import calibration
from app.views.numbers.latency import latency
from app.views.numbers.maps import maps
from app.views.numbers.parts import parts, sanity
from app.views.numbers.unknowns import unknowns
from pmsi.runs import Run

Section = Callable[[Run, Run | None, str], None]
"""Draws a subject for (run, run beside it, output); output "" is each run's primary one."""

SECTIONS: dict[str, tuple[str, Section]] = {
    "maps": ("Where it looks", maps),
    "parts": ("What it uses", parts),
    "sanity": ("Sanity of maps", sanity),
    "calibration": ("Calibration", calibration),
    "unknowns": ("Unknowns", unknowns),
    "latency": ("Latency", latency),
}
"""The title of each subject, and what draws it, by its name in links."""


def page() -> None:
    """Draw the page."""
    st.title("In numbers", anchor=False, help=meaning("stage", "head", "map"))
    chosen = bar(here="numbers", image=False)
    if chosen.run is None:
        no_runs_yet("Numbers are about a model.")
    else:
        _section(chosen, chosen.run)


@st.fragment
@guarded()
def _section(chosen: Chosen, run: Run) -> None:
    titles = {name: title for name, (title, _) in SECTIONS.items()}
    section = switch("section", next(iter(titles)), "Numbers on", titles)
    SECTIONS[section][1](run, chosen.beside, chosen.output)
