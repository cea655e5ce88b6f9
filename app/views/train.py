"""The Train page: a preset, the form that it fills, the command that does the same, and one button that starts."""

from pathlib import Path

import streamlit as st

from app.forms import form
from app.run_session import generation, page_of, reset
from pmsi import jobs
from pmsi.flags import command
from pmsi.config import TrainConfig
from pmsi.errors import PMSIError
from pmsi.presets import PRESETS
from pmsi.runs import Run, default_root, list_runs

KEY = "train"


def page() -> None:
    """Draw the page."""
    st.title("Train")
    st.write("Choose where to start, change what you like, and start. Training runs in the background.")
    name = _preset()
    key = f"{KEY}-{name}-{generation(name)}"
    essentials, launch, details, typed = st.container(border=True), st.container(), st.container(), st.container()
    details.subheader("More settings", divider=False)
    start = PRESETS[name].config
    config = form(TrainConfig, key, start, essentials=essentials, details=details)
    with launch:
        _launch(config, name, changed=config != start)
    if config is not None:
        with typed:
            _command(config)


def _preset() -> str:
    name = st.segmented_control(
        "Preset",
        list(PRESETS),
        default=next(iter(PRESETS)),
        format_func=lambda name: PRESETS[name].title,
        required=True,
        key=f"{KEY}-preset",
        persist_state="session",
        label_visibility="collapsed",
    )
    st.caption(PRESETS[name].help)
    return str(name)


def _launch(config: TrainConfig | None, preset: str, changed: bool) -> None:
    """Draw the button that starts, what it will start, and what stands in its way."""
    problem = None if config is None else _problem(config)
    with st.container(horizontal=True, vertical_alignment="center"):
        ready = config is not None and problem is None
        started = st.button("Start training", type="primary", icon=":material/play_arrow:", disabled=not ready)
        if changed:
            st.button("Reset to the preset", type="tertiary", on_click=reset, args=(preset,))
    if problem is not None:
        st.error(problem, icon=":material/error:")
    elif config is not None:
        st.caption(_outlook(config))
    if started and config is not None:
        _start(config)


def _start(config: TrainConfig) -> None:
    try:
        run = Run.create(default_root(), config)
        jobs.submit(run)
    except (PMSIError, OSError) as error:
        st.error(f"The run could not be started. {error}", icon=":material/error:")
        return
    st.switch_page(page_of("runs"), query_params={"run": run.id})


def _problem(config: TrainConfig) -> str | None:
    """Return what would make this run fail at once, in one line, or None."""
    from pmsi.methods import resolve  # imports torch

    try:
        resolve(config)
    except PMSIError as error:
        return str(error)
    return _weights_problem(config) or _data_problem(config)


def _weights_problem(config: TrainConfig) -> str | None:
    from pmsi.model import BACKBONES

    row = BACKBONES[config.backbone]
    if config.weights == "imagenet" and row.imagenet is None:
        return f"There are no ImageNet weights for {row.title}. Choose None or a file as starting weights."
    if config.weights in ("imagenet", "none"):
        return None
    if not config.weights:
        return "Give the path of the weights file, or choose other starting weights."
    if not Path(config.weights).is_file():
        return f"There is no weights file {config.weights}. Check the path; it is a path on the machine that runs the app."
    return None


def _data_problem(config: TrainConfig) -> str | None:
    if config.data is not None and not Path(config.data).exists():
        return f"There is no data folder {config.data}. Check the path; it is a path on the machine that runs the app."
    return None


def _outlook(config: TrainConfig) -> str:
    """Say what is going to happen."""
    from pmsi.methods import resolve

    steps = [f"{phase.head} on r = {phase.r}" if phase.r else f"{phase.head} on the image" for phase in resolve(config).phases]
    several = f"{len(steps)} steps a batch" if len(steps) > 1 else "One step a batch"
    ahead = sum(run.state.is_live for run in list_runs(default_root()))
    queue = f" {ahead} run{'s' * (ahead != 1)} will go first: one runs at a time." if ahead else ""
    return f"{several}: {', '.join(steps)}.{queue}"


def _command(config: TrainConfig) -> None:
    st.subheader("The same as a command")
    st.code(command(config), language="bash", wrap_lines=True)
