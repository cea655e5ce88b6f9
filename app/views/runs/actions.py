"""What to do next with a training run: maps, robustness, evaluation, a baseline, export, further training."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from app import phone
from app.shared.access import read_only
from app.shared.cached_models import has_model
from app.shared.errors import changing
from app.shared.images import download
from app.shared.session import page_of
from app.shared.work import Line
from app.views.data.sources import set_of
from pmsi import tasks
from pmsi.base.errors import ExportError
from pmsi.config import EvaluateConfig
from pmsi.export.formats import EXPORTS
from pmsi.runs import Run, default_root, known_runs
from pmsi.runs.comparison import baseline_for, scores_of
from pmsi.runs.mistakes import has_predictions

NEXT = {
    "maps": ("**Maps**: where it looks", ":material/visibility:"),
    "perturb": ("**Perturb**: other light, noise", ":material/tune:"),
}
"""What can be looked at once there is a model: a page, the words of its link, and its icon."""

PRECISIONS = {
    "Full precision": ("float32", ""),
    "Half precision, half the size": ("float16", " --half"),
    "8-bit integers, answers alone": ("int8", " --int8"),
}
"""Radio button → the key among the precisions of an export, and its flag."""


def look_at(run: Run) -> None:
    """Draw links to where a training run is looked at; before its first checkpoint they wait."""
    ready = has_model(run)
    waits = None if ready else "There is a model after the first epoch."
    for name, (label, icon) in NEXT.items():
        link = {"label": label, "icon": icon, "disabled": not ready, "help": waits}
        st.page_link(page_of(name), query_params={"run": run.id}, **link)
    if has_predictions(run):
        query = {"show": "mistakes", "run": run.id} | ({"set": name} if (name := set_of(run)) else {})
        st.page_link(page_of("data"), label="**Mistakes**", icon=":material/rule:", query_params=query)
    _baseline(run)


def use(run: Run) -> None:
    """Draw what can be made of a training run, once there is a model."""
    if not has_model(run):
        return
    if not read_only():
        link = {"label": "**Train on** from its model", "icon": ":material/fork_right:"}
        st.page_link(page_of("train"), query_params={"start_from": run.id}, **link)
    _evaluate(run)
    _phone(run)
    _export(run)


def _baseline(run: Run) -> None:
    measured = (other for other in known_runs(default_root()) if scores_of(other) is not None)
    beside = baseline_for(run, measured)
    if beside is not None and st.button("Beside a baseline", icon=":material/stacked_line_chart:", help=beside.id):
        st.switch_page(page_of("runs"), query_params={"runs": f"{run.id},{beside.id}"})


def _evaluate(run: Run) -> None:
    if read_only():
        return
    help = "Measures every output on all test images, class by class, as a run of its own."
    if st.button("Evaluate", icon=":material/fact_check:", help=help):
        with changing():
            made = tasks.queue(EvaluateConfig(of=run.id), default_root())
            st.switch_page(page_of("runs"), query_params={"run": made.id})


_EXPORTS, MOST_WAITING = Line(1), 3


def _in_turn(make: Callable[[], bytes]) -> bytes:
    """Make a file when no other is made; ExportError where too many wait."""

    def on_wait(before: int) -> None:
        if before >= MOST_WAITING:
            raise ExportError("Too many files are being made here now. Try again later.")

    with _EXPORTS.turn(on_wait):
        return make()


@st.fragment(run_every=2)
def _others() -> None:
    """Say how many files are being made: those who wait see that they do."""
    if asked := _EXPORTS.asked:
        waiting = f", {asked - 1} wait for it" if asked > 1 else ""
        st.caption(f":material/hourglass_top: Files are made one at a time: one is being made now{waiting}.")


PHONE_ENDINGS = {".html": "The page", ".zip": "The page as a site (zip)"}

PHONE = """
One file: it answers and explains photos with no network, and keeps them on the device.

- **Android, a desktop**: send it by mail or cable, and open it in a browser.
- **iPhone**: save it to Files; a mail's preview may refuse its scripts. To have it on the home screen, put the site on
  any web server with https, open it there, and choose "Add to Home Screen".
"""


def _phone(run: Run) -> None:
    """Offer the run as a page for phones."""
    with st.popover("Take it to your phone", icon=":material/smartphone:"):
        label = "Open it here, or with a phone that reaches this server"
        st.link_button(label, phone.address_of(run), icon=":material/open_in_new:", width="stretch")
        st.markdown(PHONE)
        _others()
        for ending, label in PHONE_ENDINGS.items():
            make = partial(_in_turn, partial(EXPORTS[ending].make, run))
            download(label, make, f"{run.id}{ending}", key=f"phone-{ending}")
        st.caption(f"`python -m pmsi export {run.id} --out bird.html`. About 17 MB for MobileNetV2; it takes a minute.")


def _export(run: Run) -> None:
    with st.popover("Export", icon=":material/download:"):
        chosen = st.radio("Precision", list(PRECISIONS), key="export-precision", label_visibility="collapsed")
        precision, flag = PRECISIONS[chosen]
        _others()
        offered = {
            ending: row
            for ending, row in EXPORTS.items()
            if precision in row.precisions and ending not in PHONE_ENDINGS
        }
        for ending, row in offered.items():
            make = partial(_in_turn, partial(row.make, run, precision))
            name = f"{run.id}{flag.replace(' --', '-')}{ending}"
            download(f"{row.title} ({ending})", make, name, help=row.help, key=f"export-{ending}-{chosen}")
            st.caption(row.help)
        words = f"python -m pmsi export {run.id} --out model{next(iter(offered))}{flag}"
        st.code(words, language="bash", wrap_lines=True)
