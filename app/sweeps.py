"""Robustness sweeps on the robustness page: start one as a job, watch it, see its curves."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.charts import sweep_curves
from app.palette import CHART
from app.panels import error_panel, guarded, plain, run_picker
from app.session import choice, choose
from app.wording import name_of_run
from pmsi.errors import PMSIError

if TYPE_CHECKING:
    from pmsi.runs import Run

EVERY_S = 1.5
LIMITS = {"All": None, "5 per class": 5, "10 per class": 10, "20 per class": 20}


def sweeps(runs: "list[Run]") -> None:
    """Show the form of a new sweep, and the curves of a chosen one."""
    st.subheader("Sweep", anchor=False)
    st.markdown(
        "One image proves little. A sweep measures the accuracy on the test images, under weak changes (left in the "
        "curve) and strong ones (right). All runs of a sweep are shown the same pixels.",
        width=820,
    )
    left, right = st.columns([4, 8], gap="medium")
    with left:
        _form(runs)
    with right:
        _result(runs)


@guarded()
def _form(runs: "list[Run]") -> None:
    from pmsi.perturbations import PERTURBATIONS

    by_id = {run.id: run for run in runs}
    with st.form("sweep", border=True):
        chosen = st.multiselect(
            "Runs",
            list(by_id),
            default=[choice("run")] if choice("run") in by_id else list(by_id)[:1],
            format_func=lambda id: name_of_run(by_id[id]),
            help="Runs on the same test images can be compared.",
        )
        names = st.multiselect(
            "Perturbations",
            list(PERTURBATIONS),
            default=["color_jitter", "gaussian_noise"],
            format_func=lambda name: PERTURBATIONS[name].title,
        )
        levels = st.text_input(
            "Severities", placeholder="k: 0.25 0.5 0.75 1 · σ: 5 10 20 40", help="Numbers; empty for the usual ones."
        )
        limit = st.selectbox("Test images", list(LIMITS))
        if st.form_submit_button("Start the sweep", type="primary", icon=":material/play_arrow:"):
            _start(chosen, names, levels, LIMITS[limit])


def _start(chosen: list[str], names: list[str], levels: str, limit: int | None) -> None:
    """Make a run of the sweep and submit it; say what is missing where it cannot be made."""
    from pmsi import jobs
    from pmsi.config import RobustnessConfig
    from pmsi.robustness import cells_of
    from pmsi.runs import Run, default_root

    if not chosen or not names:
        st.warning("Choose at least one run and one perturbation.", icon=":material/info:")
        return
    try:
        severities = tuple(float(word) for word in levels.replace(";", " ").split()) or None
    except ValueError:
        st.warning(f"Severities are numbers with spaces between them, not: {plain(levels)}", icon=":material/info:")
        return
    try:
        config = RobustnessConfig(
            of=tuple(chosen), perturbations=tuple(names), severities=severities, test_per_class=limit
        )
        cells_of(config)
        run = Run.create(default_root(), config)
        jobs.submit(run)
    except PMSIError as error:
        error_panel(error)
        return
    choose("sweep", run.id)
    st.rerun()


def _sweep_runs() -> "list[Run]":
    import contextlib

    from pmsi.config import RobustnessConfig
    from pmsi.errors import RunError
    from pmsi.runs import default_root, list_runs

    found = []
    for run in list_runs(default_root()):
        with contextlib.suppress(RunError):
            if isinstance(run.config, RobustnessConfig):
                found.append(run)
    return found


@guarded()
def _result(runs: "list[Run]") -> None:
    found = _sweep_runs()
    if not found:
        with st.container(border=True):
            st.caption("Curves of the first sweep will be here. On two cores it takes a few minutes.")
        return
    run = run_picker(found, "Sweep", name="sweep")
    if run is None:
        return
    titles = {other.id: name_of_run(other) for other in runs}
    if run.state.is_live:
        st.fragment(_watch, run_every=EVERY_S)(run, titles)
    else:
        _status(run)
        _curves(run, titles)


@guarded()
def _watch(run: "Run", titles: dict[str, str]) -> None:
    _status(run)
    _curves(run, titles)
    if not run.state.is_live:
        st.rerun()


def _status(run: "Run") -> None:
    """Show how far the sweep is, or how it ended where it did not end well."""
    from pmsi import jobs

    status = run.status()
    if status.error is not None:
        st.error(plain(f"{status.error.message} {status.error.remedy}"), icon=":material/info:")
    elif run.state.is_live:
        left = f" · {status.seconds_left:.0f} s left" if status.seconds_left is not None else ""
        share = status.done / status.total if status.total else 0.0
        st.progress(min(share, 1.0), f"{status.state.capitalize()} · {plain(status.text) or 'waiting'}{left}")
        if st.button("Stop", key=f"stop-{run.id}", icon=":material/stop:"):
            jobs.stop(run)
    elif run.state.can_resume:
        st.caption(f"This sweep was {run.state}. What it had finished is shown.")
        if st.button("Resume", key=f"resume-{run.id}", icon=":material/play_arrow:"):
            jobs.resume(run)
            st.rerun()


def points_of(records: "list[dict[str, Any]]", titles: dict[str, str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return by perturbation and run title the points of its curve (the primary head's), clean images as severity 0."""
    cells = [record for record in records if record.get("kind") == "cell"]
    clean = [record for record in cells if record["perturbation"] is None]
    names = dict.fromkeys(record["perturbation"] for record in cells if record["perturbation"] is not None)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in names:
        mine = [*clean, *(record for record in cells if record["perturbation"] == name)]
        for record in sorted(mine, key=lambda record: record["severity"]):
            for id, run in record["runs"].items():
                point = {"severity": record["severity"], **run["heads"][run["primary"]]}
                found.setdefault(name, {}).setdefault(titles.get(id, id), []).append(point)
    return found


def _curves(run: "Run", titles: dict[str, str]) -> None:
    from pmsi.perturbations import PERTURBATIONS

    records = run.metrics()
    found = points_of(records, titles)
    if not found:
        return
    images = next(record["images"] for record in records if record.get("kind") == "cell")
    places = [column for _ in range(0, len(found), 2) for column in st.columns(2, gap="medium")]
    for column, (name, points) in zip(places, found.items(), strict=False):
        row = PERTURBATIONS[name]
        with column:
            st.markdown(f"**{row.title}**")
            figure = sweep_curves(points, f"{row.symbol} ({row.unit})")
            alt = f"Accuracy of each run against the severity of: {row.title}"
            st.plotly_chart(figure, key=f"sweep-{run.id}-{name}", alt=alt, **CHART)
    st.caption(
        f"Measured on {images} test images, at the output with which each run predicts. The band is where the accuracy "
        "on many more images would probably be (95 % Wilson interval)."
    )
