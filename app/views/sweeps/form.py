"""The form of a new robustness sweep: runs, images, perturbations, duration and start. Its fields are in the URL."""

from collections.abc import Callable, Sequence

import streamlit as st

from app.shared.access import read_only
from app.shared.errors import changing, error_panel, guarded
from app.shared.measuring import measure, measured, words_of
from app.shared.session import choice, choose, keep, key_of, moved, remember
from app.shared.wording import name_of_run, with_names
from pmsi import tasks
from pmsi.base.errors import PMSIError
from pmsi.base.text import duration, plural
from pmsi.config import RobustnessConfig
from pmsi.config.command import command
from pmsi.perturbations import PERTURBATIONS, Perturbation, by_effect
from pmsi.robustness import cells_of
from pmsi.runs import Run, default_root
from pmsi.runs.record import why_not_together
from pmsi.tables.estimate import known_sweep

LIMITS = {0: "All", 5: "5 per class", 10: "10 per class", 20: "20 per class"}

OF, IMAGES, PRESET, TICKED, LEVELS = "sweep-of", "sweep-images", "sweep-preset", "sweep-ticked", "sweep-levels"
INSIST = "sweep-insist"
"""The form's fields in the URL."""
FIELDS = (OF, IMAGES, PRESET, TICKED, LEVELS, INSIST)
NONE = "-"
"""In the URL: none of several choices, where some are the default."""
INSISTING = (
    "Offers all runs of the same classes, and goes on where one was trained on test images of the first; the report "
    "says how many."
)
MEASURES = (
    "Shows a few test images to the runs, under one severity of each perturbation: some seconds, more for many "
    "perturbations. Nothing is kept."
)

OWN = "own"
PRESETS: dict[str, tuple[str, Callable[[str, Perturbation], bool]]] = {
    "table7": ("The paper's pair", lambda name, row: name in ("color_jitter", "gaussian_noise")),
    **{effect.lower(): (effect, lambda name, row, effect=effect: row.effect == effect) for effect in by_effect()},
    "imagenet-c": ("ImageNet-C (15)", lambda name, row: row.family == "ImageNet-C"),
    "capture": ("Cameras and the web", lambda name, row: row.family == "Capture"),
    "all": ("All", lambda name, row: True),
    OWN: ("My own choice", lambda name, row: False),
}
"""Choices of perturbations: what each is called, and which rows it takes, of (name, row)."""


@st.fragment
@guarded()
def form(runs: list[Run]) -> None:
    """Draw the form of a new sweep over some of ``runs``."""
    left, right = st.columns([3, 2], gap="medium")
    with left:
        chosen = _runs(runs)
    with right:
        limit = int(remember(st.selectbox, IMAGES, 0, "Test images", LIMITS))
        insist = bool(remember(st.checkbox, INSIST, False, "Insist", help=INSISTING))
    titles = {name: title for name, (title, _) in PRESETS.items()}
    preset = remember(st.pills, PRESET, "table7", "Perturbations", titles, required=True, wrap=True)
    takes = PRESETS[preset][1]
    names = _ticked() if preset == OWN else [name for name, row in PERTURBATIONS.items() if takes(name, row)]
    try:
        config = config_of(chosen, names, _levels(), limit or None).with_(insist=insist)
        if chosen:
            tasks.check(config, default_root())
    except PMSIError as error:
        error_panel(type(error)(with_names([str(error)], *runs)))
        config = None
    _submit(config)


def _runs(runs: list[Run]) -> list[str]:
    """Let the visitor choose runs: those that are not in training and can be swept together with the first one."""
    by_id = {run.id: run for run in runs}
    ended = [run.id for run in runs if not run.state.is_live]
    default = [choice("run")] if choice("run") in ended else ended[:1]
    _fill(OF, default, {key_of(OF): list(by_id)})
    picked = st.session_state[key_of(OF)]
    limited = bool(st.session_state.get(key_of(IMAGES), choice(IMAGES, "0") != "0"))
    insist = bool(st.session_state.get(key_of(INSIST), choice(INSIST)))
    fitting = [id for id in ended if not picked or not why_not_together(by_id[picked[0]], by_id[id], limited, insist)]
    chosen = st.multiselect(
        "Runs",
        list(dict.fromkeys([*fitting, *picked])),
        format_func=lambda id: name_of_run(by_id[id]),
        help="Tests and errors are against the first.",
        key=key_of(OF),
    )
    if others := len(by_id) - len({*fitting, *picked}):
        why = "in training, or judged by other classes or test images than the first"
        st.caption(f"Not offered: {plural(others, 'other run')}, {why}.")
    _keep(OF, chosen, default)
    return chosen


def _fill(name: str, default: Sequence[str], widgets: dict[str, list[str]]) -> None:
    """Give widgets of several choices (their options by key) what an opened link says, or at first the default."""
    anew, asked = moved(name), choice(name)
    wanted = asked.split(",") if asked else default
    for key, options in widgets.items():
        values = wanted if anew or key not in st.session_state else st.session_state[key]
        st.session_state[key] = [value for value in values if value in options]


def _keep(name: str, chosen: Sequence[str], default: Sequence[str]) -> None:
    keep(name, "" if list(chosen) == list(default) else ",".join(chosen) or NONE)


def _ticked() -> list[str]:
    """Let the visitor tick perturbations, effect by effect."""
    keys = {effect: f"{key_of(TICKED)}-{effect}" for effect in by_effect()}
    _fill(TICKED, (), {keys[effect]: rows for effect, rows in by_effect().items()})
    names: list[str] = []
    for effect, rows in by_effect().items():
        titles = {name: PERTURBATIONS[name].title for name in rows}
        names += st.pills(effect, rows, selection_mode="multi", format_func=titles.get, key=keys[effect])
    _keep(TICKED, names, ())
    return names


def _levels() -> str:
    help = "NAME=1,3 with spaces between; empty for the usual ones of each. Names as on the command line."
    label, example = "Severities of some of them", "gaussian_noise=5,10 rotation=45"
    return remember(st.text_input, LEVELS, "", label, placeholder=example, help=help)


def config_of(runs: list[str], names: list[str], levels: str, limit: int | None) -> RobustnessConfig:
    """Return the config of a sweep; ``levels`` holds entries such as rotation=10,20, which replace the usual ones.

    Raises ConfigError where a name or a severity does not exist.
    """
    own = {entry.partition("=")[0]: entry for entry in levels.replace(";", " ").split()}
    entries = [own.pop(name, name) for name in names] + list(own.values())
    config = RobustnessConfig(of=tuple(runs), perturbations=tuple(entries), test_per_class=limit)
    cells_of(config)
    return config


def _submit(config: RobustnessConfig | None) -> None:
    """Say how large the sweep is and how long it takes, and start it where it may be."""
    ready = config is not None and bool(config.of and config.perturbations)
    size = st.empty()
    with st.container(horizontal=True, vertical_alignment="center"):
        wanted = st.button(
            "Start the sweep",
            type="primary",
            icon=":material/play_arrow:",
            disabled=read_only() or not ready,
            help="This app is read-only: nothing can be started here." if read_only() else None,
        )
        asked = st.button("Measure the time", icon=":material/timer:", disabled=read_only() or not ready, help=MEASURES)
    if config is None or not ready:
        size.caption("Choose at least one run and one perturbation." if config is not None else "")
        return
    size.markdown(_size(config))
    st.code(command(config), language="bash", wrap_lines=True)
    if asked and measure(words_of(config), "Trying a few images …"):
        size.markdown(_size(config))
    if wanted:
        _start(config)


def _size(config: RobustnessConfig) -> str:
    count, runs = len(cells_of(config)), len(config.of)
    each = f" for each of {runs} runs" if runs > 1 else ""
    return f"**{count} passes** over the test images{each}, the clean ones included. {_foreseen(config)}"


def _foreseen(config: RobustnessConfig) -> str:
    """Say about how long a sweep takes, where that is known."""
    if (seconds := measured(words_of(config))) is not None:
        return f"About {duration(seconds)} on this machine, by a trial."
    if (seconds := known_sweep(config, default_root())) is not None:
        return f"About {duration(seconds)} on this machine, as an earlier sweep of these runs went."
    return ""


def _start(config: RobustnessConfig) -> None:
    with changing():
        choose("sweep", tasks.queue(config, default_root()).id)
        st.rerun()
