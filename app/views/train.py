"""The Train page: a preset, the form that it fills, the command that does the same, and one button that starts."""

import streamlit as st

from app.panels import error_panel, plain
from app.resources import costs_once, open_builtin
from app.run_session import generation, launcher_choice, page_of, reset
from app.trainform import train_form
from pmsi import jobs
from pmsi.config import TrainConfig
from pmsi.data import DATASETS
from pmsi.errors import PMSIError, RunError
from pmsi.flags import command
from pmsi.presets import PRESETS
from pmsi.reports import short
from pmsi.runs import Run, default_root, list_runs

KEY = "train"

SOME_CLASSES = 200
"""Classes for which costs are shown of a folder that nobody has looked into: as many as CUB-200-2011 has."""


def page() -> None:
    """Draw the page."""
    st.title("Train", anchor=False)
    st.caption(
        "Choose a preset, change what you like, and start. The first preset is ready as it is. Training goes on in the "
        "background, and the page of the run shows it live."
    )
    name = _preset()
    key = f"{KEY}-{name}-{generation(name)}"
    essentials = st.container(border=True)
    launch, facts, details, typed = (st.container() for _ in range(4))
    details = details.expander("All other settings", icon=":material/tune:")
    start = PRESETS[name].config
    config = train_form(key, start, essentials, details)
    with launch:
        _launch(config, name, changed=config != start)
    if config is not None:
        with typed:
            _command(config)
        with facts:  # at last: everything else is on the page while this is counted
            _costs(config)


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
    missing = _missing(config) if config is not None else None
    wrong = _wrong(config) if config is not None and missing is None else None
    ready = config is not None and missing is None and wrong is None
    with st.container(horizontal=True, vertical_alignment="center"):
        started = st.button("Start training", type="primary", icon=":material/play_arrow:", disabled=not ready)
        if changed:
            st.button("Reset to the preset", type="tertiary", on_click=reset, args=(preset,))
        launcher = launcher_choice(KEY)
    if missing is not None:
        st.info(plain(missing), icon=":material/info:")
    elif wrong is not None:
        st.error(plain(wrong), icon=":material/error:")
    elif config is not None:
        st.caption(_outlook(config))
        if started:
            _start(config, launcher)


def _start(config: TrainConfig, launcher: str) -> None:
    try:
        run = Run.create(default_root(), config.located())
        jobs.submit(run, launcher)
    except (PMSIError, OSError) as error:
        error_panel(error if isinstance(error, PMSIError) else RunError(f"The run could not be started: {error}."))
        return
    st.switch_page(page_of("runs"), query_params={"run": run.id})


def _missing(config: TrainConfig) -> str | None:
    """Return what has still to be filled in, or None."""
    row = DATASETS[config.dataset]
    if row.needs_folder and not config.data:
        return f"{row.title} is read from a folder. Give its path as the data folder. {row.help}"
    if not config.weights:
        return "Give the path of the weights file, or choose other starting weights."
    return None


def _wrong(config: TrainConfig) -> str | None:
    """Return what would make this run fail at once, in one line, or None."""
    try:
        jobs.check(config, default_root())
    except PMSIError as error:
        return str(error)
    return None


def _outlook(config: TrainConfig) -> str:
    """Say what is going to happen."""
    from pmsi.methods import resolve

    steps = [
        f"{phase.head} on mosaics with r = {phase.r}" if phase.r else f"{phase.head} on the whole images"
        for phase in resolve(config).phases
    ]
    several = f"Each batch is learned in {len(steps)} steps" if len(steps) > 1 else "Each batch is learned in one step"
    ahead = sum(run.state.is_live for run in list_runs(default_root()))
    queue = f" {ahead} run{'s' * (ahead != 1)} will go first: one runs at a time." if ahead else ""
    return f"{several}: {', '.join(steps)}.{queue}"


def _costs(config: TrainConfig) -> None:
    """Say what the system costs; where there is no such system, the launch has said so."""
    from pmsi.costs import HOW_COUNTED

    classes = _classes_of(config)
    try:
        costs = costs_once(config, classes)
    except PMSIError:
        return
    parameters, in_heads = _amount(costs.parameters), _amount(costs.head_parameters)
    predict, train = _amount(costs.macs_predict), _amount(costs.macs_train)
    facts = [
        f"{parameters} parameters, {in_heads} of them outside the backbone",
        f"{predict} multiply-adds to recognise an image, {train} to learn from it",
        f"{_amount(costs.memory_train, 'B')} of memory to train",
    ]
    help = f"For {classes} classes and batches of {config.batch_size}. {HOW_COUNTED} Side by side: `pmsi info`."
    st.caption(" · ".join(facts), help=help)


def _classes_of(config: TrainConfig) -> int:
    """Return how many classes the data set has, as far as that is known without reading a folder."""
    row = DATASETS[config.dataset]
    if not row.needs_folder:
        return len(open_builtin().classes)
    return row.official.classes if row.official else SOME_CLASSES


def _amount(number: int, unit: str = "") -> str:
    """Return a quantity that no line ends within."""
    return f"{short(number)}{unit}".strip().replace(" ", "\N{NO-BREAK SPACE}")


def _command(config: TrainConfig) -> None:
    st.markdown("**The same as a command**")
    st.code(command(config), language="bash", wrap_lines=True)
