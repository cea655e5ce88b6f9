"""Robustness sweeps on the robustness page: fill one in, start it as a job, watch it, open its report."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from app.access import read_only, require_writable
from app.panels import error_panel, guarded, plain, run_picker
from app.session import choice, choose
from app.sweepreport import report
from app.wording import name_of_run
from pmsi.errors import PMSIError

if TYPE_CHECKING:
    from pmsi.config import RobustnessConfig
    from pmsi.perturbations import Perturbation
    from pmsi.runs import Run

EVERY_S = 1.5
LIMITS = {"All": None, "5 per class": 5, "10 per class": 10, "20 per class": 20}

Chosen = Callable[[str, "Perturbation"], bool]

OWN = "My own choice"
PRESETS: dict[str, Chosen] = {
    "Table VII of the paper": lambda name, row: name in ("color_jitter", "gaussian_noise"),
    "ImageNet-C (15)": lambda name, row: row.family == "ImageNet-C",
    "Cameras and the web": lambda name, row: row.family == "Capture",
    "All": lambda name, row: True,
    OWN: lambda name, row: False,
}
"""Which perturbations are ticked to begin with: of (name, row)."""


def families() -> "dict[str, dict[str, Perturbation]]":
    """Return the rows of PERTURBATIONS by family, in their order."""
    from pmsi.perturbations import PERTURBATIONS

    found: dict[str, dict[str, Perturbation]] = {}
    for name, row in PERTURBATIONS.items():
        found.setdefault(row.family, {})[name] = row
    return found


def sweeps(runs: "list[Run]") -> None:
    """Show the form of a new sweep, and the report of a chosen one."""
    st.subheader("Sweep", anchor=False)
    st.markdown(
        "One image proves little. A sweep measures the accuracy on the test images, under weak changes (left in the "
        "curve) and strong ones (right). All runs of a sweep are shown the same pixels.",
        width=820,
    )
    found = _sweep_runs()
    with st.expander("New sweep", icon=":material/add:", expanded=not found):
        _form(runs)
    _result(found)


@guarded()
def _form(runs: "list[Run]") -> None:
    by_id = {run.id: run for run in runs}
    left, right = st.columns([3, 2], gap="medium")
    chosen = left.multiselect(
        "Runs",
        list(by_id),
        default=[choice("run")] if choice("run") in by_id else list(by_id)[:1],
        format_func=lambda id: name_of_run(by_id[id]),
        help="Runs on the same test images can be compared. Tests and errors are told against the first.",
        key="sweep-runs",
    )
    limit = right.selectbox("Test images", list(LIMITS), key="sweep-limit")
    preset = st.segmented_control("Perturbations", list(PRESETS), default=next(iter(PRESETS)), required=True)
    names = _perturbations(PRESETS[preset]) if preset == OWN else _of(PRESETS[preset])
    levels = st.text_input(
        "Severities of some of them",
        placeholder="gaussian_noise=5,10 rotation=45",
        help="NAME=1,3 with spaces between; empty for the usual ones of each. Names as on the command line.",
        key="sweep-levels",
    )
    try:
        config = config_of(chosen, names, levels, LIMITS[limit])
    except PMSIError as error:
        error_panel(error)
        config = None
    _submit(config)


def _of(chosen: Chosen) -> list[str]:
    return [name for rows in families().values() for name, row in rows.items() if chosen(name, row)]


def _perturbations(chosen: Chosen) -> list[str]:
    """Let the visitor tick perturbations, family by family."""
    names: list[str] = []
    for family, rows in families().items():
        names += st.pills(
            family,
            list(rows),
            selection_mode="multi",
            format_func=lambda name, rows=rows: rows[name].title.removesuffix(" (ImageNet-C)"),
            key=f"sweep-{family}",
        )
    return names


def config_of(runs: list[str], names: list[str], levels: str, limit: int | None) -> "RobustnessConfig":
    """Return the config of a sweep; ``levels`` holds entries such as rotation=10,20, which replace the usual ones.

    Raises ConfigError where a name or a severity does not exist.
    """
    from pmsi.config import RobustnessConfig
    from pmsi.robustness import cells_of

    own = {entry.partition("=")[0]: entry for entry in levels.replace(";", " ").split()}
    entries = [own.pop(name, name) for name in names] + list(own.values())
    config = RobustnessConfig(of=tuple(runs), perturbations=tuple(entries), test_per_class=limit)
    cells_of(config)
    return config


def _submit(config: "RobustnessConfig | None") -> None:
    """Say how large the sweep is, and start it where it may be."""
    from pmsi.flags import command
    from pmsi.robustness import cells_of

    with st.container(horizontal=True, vertical_alignment="center"):
        wanted = st.button(
            "Start the sweep",
            type="primary",
            icon=":material/play_arrow:",
            disabled=read_only() or config is None,
            help="This app is read-only: nothing can be started here." if read_only() else None,
        )
        if config is not None:
            count = len(cells_of(config))
            st.caption(f"{count} passes over the test images for each run, the clean ones included.", width="content")
    if config is not None and config.of and config.perturbations:
        st.code(command(config), language="bash", wrap_lines=True)
    if not wanted or config is None:
        return
    if not config.of or not config.perturbations:
        st.warning("Choose at least one run and one perturbation.", icon=":material/info:")
        return
    _start(config)


def _start(config: "RobustnessConfig") -> None:
    from pmsi import jobs
    from pmsi.runs import Run, default_root

    require_writable()
    try:
        jobs.check(config, default_root())
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
    from pmsi.runs import default_root, known_runs

    found = []
    for run in known_runs(default_root()):
        with contextlib.suppress(RunError):
            if isinstance(run.config, RobustnessConfig):
                found.append(run)
    return found


@guarded()
def _result(found: "list[Run]") -> None:
    if not found:
        return
    run = run_picker(found, "Report of", name="sweep")
    if run is None:
        return
    if run.state.is_live:
        st.fragment(_watch, run_every=EVERY_S)(run, _cells(run))
    else:
        _status(run)
    if _cells(run):
        report(run)


def _cells(run: "Run") -> int:
    return sum(record.get("kind") == "cell" for record in run.metrics())


@guarded()
def _watch(run: "Run", cells: int) -> None:
    """Show how far the sweep is; draw the page again when a cell more is finished, or nothing is worked on any more."""
    _status(run)
    if not run.state.is_live or _cells(run) != cells:
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
        if st.button("Stop", key=f"stop-{run.id}", icon=":material/stop:", disabled=read_only()):
            require_writable()
            jobs.stop(run)
    elif run.state.can_resume:
        st.caption(f"This sweep was {run.state}. What it had finished is shown.")
        if st.button("Resume", key=f"resume-{run.id}", icon=":material/play_arrow:", disabled=read_only()):
            require_writable()
            jobs.resume(run)
            st.rerun()
