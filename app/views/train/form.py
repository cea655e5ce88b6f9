"""The form of a training run: the general form, with widgets of its own for five fields."""

from collections.abc import Sequence
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.shared.fields import Entry
from app.shared.forms import Widget, about, form, selectbox
from app.shared.run_session import widget_value
from app.shared.wording import line_of_run
from pmsi.base.files import expanded
from pmsi.config import TrainConfig
from pmsi.data import DATASETS
from pmsi.methods import METHODS
from pmsi.runs import Run

WEIGHTS = {
    "imagenet": "ImageNet weights of torchvision or timm, downloaded at first use.",
    "none": "Random weights: every layer is trained from scratch, as a new layer.",
    "file": "Weights from a file on this machine: safetensors, or torch.save's. Where in it the network's names fit is "
    "found out.",
}
"""What the kinds of starting weights mean."""

LETTERS = "P: stage by stage (progressive), M: the stages exchange what they see (interaction), R: recursive mosaics."
"""The letters in the methods' titles."""


def train_form(
    key: str, start: TrainConfig, essentials: DeltaGenerator, details: DeltaGenerator, runs: Sequence[Run] = ()
) -> TrainConfig | None:
    """Draw the form of a training run and return its config; None where it says no valid one.

    ``runs`` are those from whose model it can start.
    """
    special: dict[str, Widget] = {
        "weights": _weights,
        "data": _data_folder,
        "method": _method,
        "backbone": _backbone,
        "start_from": partial(_start_from, runs),
    }
    return form(TrainConfig, key, start, essentials=essentials, details=details, special=special)


def _weights(entry: Entry, key: str, value: str) -> str:
    """Draw the choice between ImageNet's weights, none and a file; only a file needs a path."""
    kinds = list(WEIGHTS)
    first = value if value in kinds else "file"
    shared = about(entry, key)
    chosen = str(st.selectbox(options=kinds, index=kinds.index(first), format_func=entry.show, **shared))
    file = ""
    if chosen == "file":
        file = st.text_input(
            "Path of the weights file",
            value=value if first == "file" else "",
            key=f"{key}-file",
            placeholder="/path/to/weights.safetensors",
            label_visibility="collapsed",
            persist_state="session",
        ).strip()
    st.caption(WEIGHTS[chosen])
    if chosen != "file":
        return chosen
    return str(expanded(file)) if file else ""


def _data_folder(entry: Entry, key: str, value: str | None) -> str | None:
    """Draw the path of the data folder, which only some data sets need; the data set is drawn before it."""
    row = DATASETS.get(widget_value(f"{key}set", TrainConfig.dataset))
    needed = row is None or row.needs_folder
    folder = "/path/to/the/folder" + (" or pictures.zip" if row is not None and row.archive else "")
    placeholder = folder if needed else "not needed: the images are built in"
    shared = about(entry, key)
    found = st.text_input(value=value or "", placeholder=placeholder, disabled=not needed, **shared).strip()
    return found if needed and found else None


def _method(entry: Entry, key: str, value: str) -> str:
    """Draw the choice of the method, and say what the chosen one is."""
    chosen = str(selectbox(entry, key, value))
    row = METHODS[chosen]
    st.caption(f"{row.help} {LETTERS}" if "+" in row.title + row.help else row.help)
    return chosen


def _backbone(entry: Entry, key: str, value: str) -> str:
    """Draw the choice of the backbone: a row of the table, or a name that is typed, such as ``timm:NAME``."""
    now = widget_value(key, value)
    choices = list(dict.fromkeys([*(entry.options or ()), value, now]))
    index = choices.index(value)
    shared = about(entry, key)
    chosen = st.selectbox(options=choices, index=index, format_func=entry.show, accept_new_options=True, **shared)
    return str(chosen or value).strip()


def _start_from(runs: Sequence[Run], entry: Entry, key: str, value: str | None) -> str | None:
    """Draw the choice of the run whose model is the start; usually there is none."""
    titles = {run.id: line_of_run(run, st.context.timezone) for run in runs}
    choices = list(dict.fromkeys([None, *titles, value]))
    show = lambda id: titles.get(id, id) if id else entry.automatic  # noqa: E731
    return st.selectbox(options=choices, index=choices.index(value), format_func=show, **about(entry, key))
