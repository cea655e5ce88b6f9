"""The Sweeps page: accuracy on all test images under perturbations. A form of a new sweep, progress, and reports."""

import streamlit as st

from app.shared.access import read_only
from app.shared.errors import changing, guarded, plain, worded
from app.shared.glossary import meaning
from app.shared.panels import no_runs_yet, run_picker, runs_of, trained_runs
from app.views.sweeps.form import FIELDS, form
from app.views.sweeps.report import report
from pmsi.config import RobustnessConfig
from pmsi.runs import Run, jobs

EVERY_S = 1.5
OPEN = "kept-sweep-open"
"""Key: whether the form stands on the page, as there is no report yet, or the link is about it."""

INTRO = (
    "One image proves little. A sweep measures the accuracy on the test images, under weak changes (left in the "
    "curve) and strong ones (right). All runs of a sweep that see images of one size are shown the same pixels."
)


def page() -> None:
    """Draw the page."""
    st.title("Robustness sweeps", anchor=False, help=f"{INTRO}\n\n{meaning('severity', 'k', 'σ')}")
    runs = trained_runs()
    if not runs:
        no_runs_yet("Robustness is measured on a trained model.")
        return
    found = [*runs_of(RobustnessConfig)]
    linked = any(name in st.query_params for name in FIELDS)
    is_open = st.session_state.setdefault(OPEN, not found or linked)
    with st.container(horizontal=True, vertical_alignment="center"):
        run = run_picker(found, "Report of", name="sweep", label_visibility="collapsed") if found else None
        drawer = None if is_open else st.popover("New sweep", icon=":material/add:")
    with drawer or st.container(border=True):
        form(runs)
    if run is not None:
        _result(run)


@guarded()
def _result(run: Run) -> None:
    if run.state.is_live:
        st.fragment(_watch, run_every=EVERY_S)(run, _cells(run))
    else:
        _status(run)
    if _cells(run):
        report(run)


def _cells(run: Run) -> int:
    return sum(record.get("kind") == "cell" for record in run.metrics())


@guarded()
def _watch(run: Run, cells: int) -> None:
    """Show how far the sweep is; draw the page again when a cell more is finished, or nothing is worked on any more."""
    _status(run)
    if not run.state.is_live or _cells(run) != cells:
        st.rerun()


def _status(run: Run) -> None:
    """Show how far the sweep is, or how it ended where it did not end well."""
    status = run.status()
    if status.error is not None:
        st.error(plain(worded(f"{status.error.message} {status.error.remedy}")), icon=":material/info:")
    elif run.state.is_live:
        left = f" · {status.seconds_left:.0f} s left" if status.seconds_left is not None else ""
        st.progress(status.share, f"{status.state.capitalize()} · {plain(status.text) or 'waiting'}{left}")
        if st.button("Stop", key=f"stop-{run.id}", icon=":material/stop:", disabled=read_only()):
            with changing():
                jobs.stop(run)
    elif run.state.can_resume:
        st.caption(f"This sweep was {run.state}. What it had finished is shown.")
        if st.button("Resume", key=f"resume-{run.id}", icon=":material/play_arrow:", disabled=read_only()):
            with changing():
                jobs.resume(run)
                st.rerun()
