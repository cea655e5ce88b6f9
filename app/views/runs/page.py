"""The Runs page: the list of runs, several runs side by side, or one run."""

import streamlit as st

from app.shared.session import page_of, rewrite
from app.views.runs.compare import compare
from app.views.runs.detail import detail
from app.views.runs.labels import missing
from app.views.runs.list import PARAMETERS, overview
from pmsi.base.errors import RunError
from pmsi.runs import Run, default_root

COMPARED = ("runs", "head", "phase")
"""What the URL says of runs beside each other."""


def page() -> None:
    """Draw the page."""
    wanted = "run" if "run" in st.query_params else "runs" if "runs" in st.query_params else ""
    known = {"run": ("run",), "runs": COMPARED, "": PARAMETERS}[wanted]
    rewrite({name: value for name, value in st.query_params.items() if name in known})
    if wanted == "runs":
        compare()
    elif wanted == "run":
        _one(st.query_params["run"])
    else:
        overview()


def _one(id: str) -> None:
    try:
        run = Run.open(default_root(), id)
    except RunError:
        st.title("Runs", anchor=False)
        missing(id)
        st.page_link(page_of("runs"), label="All runs", icon=":material/arrow_back:")
        return
    detail(run)
