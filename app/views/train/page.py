"""The Train page: a preset, the form that it fills, the same as a command, and the button that starts."""

from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.shared.access import check_places, read_only
from app.shared.batch_pictures import SeenPhase, batch_once
from app.shared.errors import changing, fix_buttons, guarded, plain, worded
from app.shared.glossary import meaning
from app.shared.palette import head_color
from app.shared.panels import launcher_choice
from app.shared.session import page_of, remember
from app.shared.wording import with_names
from app.views.train.address import Start, linked_sweep, reset, start, write
from app.views.train.form import train_form
from app.views.train.grid import sweep_panel, varied_axes
from app.views.train.outlook import outlook, require_memory
from pmsi import tasks
from pmsi.base.errors import PMSIError
from pmsi.base.text import plural
from pmsi.config import TrainConfig
from pmsi.config.command import command
from pmsi.config.presets import PRESETS
from pmsi.data import DATASETS
from pmsi.methods import resolve
from pmsi.pictures.encoding import data_uri
from pmsi.runs import default_root, list_runs

KEY = "train"


def page() -> None:
    """Draw the page."""
    st.title("Train", anchor=False)
    begin = start()
    if begin.ignored:
        st.warning(f"Left out of the link: {plain(' '.join(begin.ignored))}", icon=":material/link_off:")
    asked, problem, launch, figures = (st.container() for _ in range(4))
    details = st.expander("Change settings", begin.config != begin.reference, icon=":material/tune:")
    batch, sweep, typed = (st.container() for _ in range(3))
    config = train_form(begin.key, begin.config, _places(begin, asked) | {"problem": problem}, details, begin.runs)
    with launch:
        ready, launcher = _launch(config, begin)
    if config is None:
        return
    typed.markdown("**The same as a command**")
    typed.code(command(config), language="bash", wrap_lines=True)
    with sweep.expander("Sweep over one or two settings", linked_sweep(), icon=":material/stacks:"):
        sweep_panel(config, launcher)
    write(begin, config, varied_axes())
    with figures:  # at last: everything else is on the page while this is counted
        outlook(config, ready)
    with batch:
        first_batch_panel(config, ready)


def _places(begin: Start, asked: DeltaGenerator) -> dict[str, DeltaGenerator]:
    """Return where what a data set on disk asks for is drawn; it stays among the settings for the built-in one."""
    row = DATASETS.get(st.session_state.get(f"{begin.key}-dataset", begin.config.dataset))
    if row is not None and not row.needs_folder:
        return {}
    with asked.container(border=True):
        return dict(zip(("data", "weights"), st.columns([3, 2], gap="medium"), strict=True))


def _launch(config: TrainConfig | None, begin: Start) -> tuple[bool, str]:
    """Draw the start button, and what it starts or what prevents it; return whether it can start.

    The second value is the launcher.
    """
    missing = _missing(config) if config is not None else None
    wrong, said = _wrong(config) if config is not None and missing is None else (None, [])
    ready = config is not None and missing is None and wrong is None
    with st.container(horizontal=True, vertical_alignment="center"):
        disabled = not ready or read_only()
        shape = {"type": "primary", "icon": ":material/play_arrow:", "width": 300}
        with st.container(key="start-training", width="content"):
            started = st.button("Start training", disabled=disabled, **shape)
        if config != begin.reference:
            what = "preset" if begin.name in PRESETS else "run"
            st.button(f"Reset to the {what}", type="tertiary", on_click=reset, args=(begin.name,))
        launcher = launcher_choice(KEY)
    if missing is not None:
        st.info(plain(missing), icon=":material/info:")
    elif wrong is not None:
        st.error(plain(worded(with_names([str(wrong)], *begin.runs))), icon=":material/error:")
        fix_buttons(wrong, begin.key)
    elif config is not None:
        st.caption(" ".join([_outlook(config), *map(plain, said)]), help=meaning("phase", "stage", "mosaic"))
        if started:
            _start(config, launcher, begin.key)
    if read_only():
        st.caption("This is a read-only demo: runs are started on a machine of your own, with the command below.")
    return ready, launcher


def _start(config: TrainConfig, launcher: str, key: str) -> None:
    with changing(key):
        if launcher == "local":
            require_memory(config)
        run = tasks.queue(config.located(), default_root(), launcher)
        st.switch_page(page_of("runs"), query_params={"run": run.id})


def _missing(config: TrainConfig) -> str | None:
    """Return what has still to be filled in, or None."""
    row = DATASETS[config.dataset]
    if row.needs_folder and not config.data:
        return f"Choose the data folder above. {row.title}: {row.help}"
    if not config.weights:
        return "Give the path of the weights file, or choose other starting weights."
    return None


def _wrong(config: TrainConfig) -> tuple[PMSIError | None, list[str]]:
    """Return what would make this run fail at once, or None, and what is to be said about it."""
    try:
        check_places(config)
        return None, tasks.check(config, default_root(), st.session_state.get(f"{KEY}-launcher", "local"))
    except PMSIError as error:
        return error, []


def _outlook(config: TrainConfig) -> str:
    """Say what is going to happen."""
    system = resolve(config)
    shown = "mosaics" if system.augmentation.cuts else f"images changed by {system.augmentation.title}"
    steps = [
        f"{phase.head} on {shown} with r = {phase.r}"
        if phase.r and system.augmentation.progressive
        else f"{phase.head} on the whole images"
        for phase in system.phases
    ]
    several = f"Each batch is learned in {len(steps)} steps" if len(steps) > 1 else "Each batch is learned in one step"
    ahead = sum(run.state.is_live for run in list_runs(default_root()))
    queue = f" {plural(ahead, 'run')} before it: each device works on one at a time." if ahead else ""
    return f"{several}: {', '.join(steps)}.{queue}"


# The first batch

MOST, SIDE = 8, 160
"""Images shown of each phase, and their side in pixels."""


@st.fragment
@guarded()
def first_batch_panel(config: TrainConfig, ready: bool) -> None:
    """Draw the switch, and below it what the first batch shows in each phase."""
    wanted = remember(
        st.toggle,
        "batch",
        False,
        "Show the first batch as the network sees it",
        help="The images of the first batch in every phase, with this seed's order, crops, flips and mosaics, before "
        "normalisation. Reads the data set.",
    )
    if not wanted:
        return
    if not ready:
        st.caption("The first batch is shown once the settings above are complete.")
        return
    phases = batch_once(config, most=MOST, side=SIDE)
    st.html("".join(map(_row, phases)))
    if len(phases[0].images) < config.batch_size:
        st.caption(f"{len(phases[0].images)} of the {config.batch_size} images of the batch.")
    st.caption("As a picture: the command below with `--first-batch FILE.png`.")


def _row(phase: SeenPhase) -> str:
    what = f"mosaics with r = {phase.r}" if phase.r else "the whole images"
    weight = f", loss × {phase.weight:g}" if phase.weight != 1 else ""
    figures = "".join(_figure(phase, image, word) for image, word in zip(phase.images, phase.words, strict=True))
    title = f"{escape(phase.head)} <span>· r = {phase.r}{weight}</span>"
    label = escape(f"Phase of {phase.head}: {what}", quote=True)
    return (
        f'<section class="phase" aria-label="{label}"><h4 style="border-color:{head_color(phase.head)}">{title}</h4>'
        f"<div>{figures}</div></section>"
    )


def _figure(phase: SeenPhase, image: bytes, word: str) -> str:
    alt = escape(f"{word}, as the phase of {phase.head} shows it", quote=True)
    return f'<figure><img src="{data_uri(image)}" alt="{alt}"><figcaption>{escape(word)}</figcaption></figure>'
