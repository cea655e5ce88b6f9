"""The costs of a training run: parameters, multiply-adds, memory, time.

The first three are counted. The time is that of equal runs, or of a trial.
"""

import contextlib

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.shared.access import may_read, read_only
from app.shared.cached_data import open_set
from app.shared.errors import guarded
from app.shared.images import four_columns
from app.shared.measuring import measure, measured, words_of
from app.shared.memory import RoomError, once
from pmsi.base.errors import PMSIError
from pmsi.base.text import duration, short
from pmsi.config import TrainConfig
from pmsi.data import DATASETS
from pmsi.engine.costs import FIELDS, HOW_COUNTED, Costs, costs_of
from pmsi.engine.device import find_device, machine_memory
from pmsi.runs import default_root
from pmsi.tables.estimate import Estimator

SOME_CLASSES = 200
"""Classes for which costs are shown of a folder that has not been read yet: as many as CUB-200-2011 has."""


@st.fragment
@guarded()
def outlook(config: TrainConfig, ready: bool) -> None:
    """Draw the figures, or nothing for an impossible system. ``ready`` allows a trial."""

    classes, images = size_of(config, ready)
    try:
        costs = costs_once(config, classes)
    except PMSIError:
        return
    counted = f"For {classes} classes and batches of {config.batch_size}. {HOW_COUNTED}"
    with st.container(key="outlook"):
        parameters, adds, memory, time = four_columns()
    parameters.metric(
        "Parameters",
        amount(costs.parameters),
        **_below(f"{amount(costs.head_parameters)} outside the backbone"),
        help=f"Numbers that are learned. {counted} Side by side: `pmsi info`.",
    )
    adds.metric(
        "Multiply-adds",
        amount(costs.macs_predict),
        **_below(f"{amount(costs.macs_train)} to learn"),
        help=f"To recognise one image; below, to learn from one, all phases, forward and backward. {counted}",
    )
    memory.metric(
        "Memory",
        amount(costs.memory_train, "B"),
        **_below(f"{amount(costs.memory_predict, 'B')} to recognise"),
        help=f"To train with; on a GPU, what it needs to have free. Below, to recognise one image. {counted}",
    )
    with time:
        place = st.empty()
        _show_time(place, config, images)
        if _trial(config, ready, images):
            _show_time(place, config, images)


def _show_time(place: DeltaGenerator, config: TrainConfig, images: int | None) -> None:
    value, source, help = _time(config, images)
    place.metric("Time", value, **_below(source), help=help)


def _below(text: str) -> dict[str, str]:
    return {"delta": text, "delta_color": "off", "delta_arrow": "off"}


def size_of(config: TrainConfig, ready: bool) -> tuple[int, int | None]:
    """Return how many classes and training images a data set has, None if unknown: as its folder says where that may
    be read, also before the rest is ready, else as it is published.
    """
    row = DATASETS[config.dataset]
    if ready or not row.needs_folder or (config.data and may_read(config.data)):
        with contextlib.suppress(PMSIError):
            dataset = open_set(config)
            return len(dataset.classes), len(dataset.train)
    return (row.official.classes if row.official else SOME_CLASSES), None


def _time(config: TrainConfig, images: int | None) -> tuple[str, str, str]:
    """Return about how long training takes, where that is from in a few words, and in a sentence."""
    if (seconds := Estimator(default_root()).known(config, images)) is not None:
        return duration(seconds), "as equal runs took", "The mean of finished runs with these settings and any seed."
    if (seconds := measured(words_of(config), images)) is not None:
        of = f" for {images:,} training images" if images else ""
        return f"≈ {duration(seconds)}", "by a trial", f"A few steps were timed on this machine, and multiplied{of}."
    return "–", "not known yet", "No equal run has finished here. A trial of a few steps tells."


def _trial(config: TrainConfig, ready: bool, images: int | None) -> bool:
    """Offer a trial of a few steps, in a process of its own; return whether there was one just now."""
    tried = st.button(
        "Measure",
        type="tertiary",
        icon=":material/timer:",
        disabled=read_only() or not ready,
        help="Times a few steps of this run: some seconds for a small network, up to minutes for a large one. The data "
        "set is read; nothing is kept.",
    )
    if tried:
        with guarded():
            require_memory(config)
            return measure(words_of(config), "Trying a few steps …", images)
    return False


def amount(number: float, unit: str = "") -> str:
    """Return a quantity that no line ends within."""
    return f"{short(number)}{unit}".strip().replace(" ", "\N{NO-BREAK SPACE}")


def costs_once(config: TrainConfig, classes: int) -> Costs:
    """Return what a config's system costs, counted once for all configs that differ in nothing that costs."""
    fields = {name: getattr(config, name) for name in FIELDS}
    return once(("costs", *fields.values(), classes), lambda: costs_of(TrainConfig(**fields), classes))


def require_memory(config: TrainConfig) -> None:
    """Raise RoomError where training on this machine's CPUs would take more memory than it has."""
    if find_device(config.device).type != "cpu":
        return
    needed, there = config.devices * costs_once(config, size_of(config, ready=True)[0]).memory_train, machine_memory()
    if needed > there > 0:
        raise RoomError(
            f"Training with these settings takes about {amount(needed, 'B')} of memory, and this machine has "
            f"{amount(there, 'B')}. Choose smaller batches or images."
        )
