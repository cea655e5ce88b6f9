"""The form of a training run: the general form, with widgets of its own for five fields."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.shared.browse import ARCHIVES, browse
from app.shared.errors import fix_buttons, plain, worded
from app.shared.fields import Entry, entries
from app.shared.wording import line_of_run
from pmsi.base.errors import ConfigError
from pmsi.base.files import expanded
from pmsi.config import Config, TrainConfig
from pmsi.data import DATASETS
from pmsi.methods import METHODS
from pmsi.model.weights.kinds import SUFFIXES as WEIGHTS_FILES
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
    key: str,
    start: TrainConfig,
    places: Mapping[str, DeltaGenerator],
    details: DeltaGenerator,
    runs: Sequence[Run] = (),
) -> TrainConfig | None:
    """Draw the form of a training run and return its config; None where it says no valid one.

    ``places`` are those of the fields ``data`` and ``weights``, where they are asked for above the other fields, and of
    a ``problem``. All other fields go to ``details``. ``runs`` are those from whose model it can start.
    """
    special: dict[str, Widget] = {
        "weights": _weights,
        "data": _data_folder,
        "method": _method,
        "backbone": _backbone,
        "start_from": partial(_start_from, runs),
    }
    return form(TrainConfig, key, start, essentials=details, details=details, special=special, places=places)


def _weights(entry: Entry, key: str, value: str) -> str:
    """Draw the choice between ImageNet's weights, none and a file; only a file needs a path."""
    kinds = list(WEIGHTS)
    first = value if value in kinds else "file"
    shared = about(entry, key)
    chosen = str(st.selectbox(options=kinds, index=kinds.index(first), format_func=entry.show, **shared))
    file = ""
    if chosen == "file":
        _seed(f"{key}-file", value if first == "file" else "")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            browse(f"{key}-file", WEIGHTS_FILES, folders=False)
            file = st.text_input(
                "Path of the weights file",
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
    row = DATASETS.get(st.session_state.get(f"{key}set", TrainConfig.dataset))
    if row is not None and not row.needs_folder:
        st.text_input(
            value="", placeholder="not needed: the images are built in", disabled=True, **about(entry, f"{key}-no")
        )
        return None
    archive = row is not None and row.archive
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _seed(key, value or "")
        browse(key, ARCHIVES if archive else ())
        placeholder = "/path/to/the/folder" + (" or pictures.zip" if archive else "")
        found = st.text_input(placeholder=placeholder, **about(entry, key)).strip()
    return found or None


def _method(entry: Entry, key: str, value: str) -> str:
    """Draw the choice of the method, and say what the chosen one is."""
    chosen = str(selectbox(entry, key, value))
    row = METHODS[chosen]
    st.caption(f"{row.help} {LETTERS}" if "+" in row.title + row.help else row.help)
    return chosen


def _backbone(entry: Entry, key: str, value: str) -> str:
    """Draw the choice of the backbone: a row of the table, or a name that is typed, such as ``timm:NAME``."""
    now = st.session_state.get(key, value)
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


# The form of any config

AnyConfig = TypeVar("AnyConfig", bound=Config)

ESSENTIAL = (
    ("dataset", "data", "image_size"),
    ("method", "backbone", "weights", "start_from"),
    ("epochs", "batch_size", "lr_pretrained", "lr_new"),
)
"""The few fields that are always in sight, row by row; all others are folded away by group."""

IN_SIGHT_WITH = {"insist": "start_from"}
"""Fields that join them where another one has a value."""

GROUPS = {"data": "Data", "model": "Model", "augmentation": "Augmentation", "recipe": "Recipe", "run": "This run"}

COLUMNS = 3

STEPS = {
    "image_size": 32,
    "resize": 32,
    "channels": 16,
    "hidden": 16,
    "dropout": 0.05,
    "momentum": 0.01,
    "test_fraction": 0.05,
}

Widget = Callable[[Entry, str, Any], Any]
"""Draws a field, given a key and the value to start from, and returns its value."""


def form(
    config_class: type[AnyConfig],
    key: str,
    start: AnyConfig,
    *,
    essentials: DeltaGenerator | None = None,
    details: DeltaGenerator | None = None,
    special: Mapping[str, Widget] | None = None,
    places: Mapping[str, DeltaGenerator] | None = None,
) -> AnyConfig | None:
    """Draw the form, filled with ``start``, and return the config that it says; None where it says no valid one.

    The few essential fields go to the container ``essentials``, all others to ``details``, folded by group. What was
    typed stays for the session under ``key``; another ``start`` needs another key. An error is shown in one line.
    ``special`` draws some fields in a way of their own; ``places`` are those of single fields, and of the ``problem``.
    """
    known = entries(config_class)
    rows = [[known[name] for name in row if name in known] for row in ESSENTIAL]
    places = dict(places or {})
    problem = places.pop("problem", None)
    drawing = _Drawing(key, start, special or {}, places)
    with essentials or st.container():
        for row in rows:
            drawing.draw_row(row, len(row))
        drawing.draw_row([known[name] for name, other in IN_SIGHT_WITH.items() if drawing.values.get(other)], 1)
        problem = problem if problem is not None else st.container()
    with details or st.container():
        drawing.draw_tabs([entry for entry in known.values() if entry.name not in drawing.values])
    try:
        return config_class(**drawing.values)
    except ConfigError as error:
        with problem:
            st.error(plain(worded(str(error))), icon=":material/error:")
            fix_buttons(error, key)
        return None


class _Drawing:
    """A form while it is drawn; ``values`` are those read so far."""

    def __init__(
        self, key: str, start: Config, special: Mapping[str, Widget], apart: Mapping[str, DeltaGenerator]
    ) -> None:
        self.key, self.start, self.special, self.apart = key, start, special, apart
        self.values: dict[str, Any] = {}

    def draw_tabs(self, rest: list[Entry]) -> None:
        """Draw the less common fields, a tab for each group."""
        found = dict.fromkeys(entry.about["group"] for entry in rest)
        groups = sorted(found, key=lambda name: [*GROUPS, name].index(name))
        tabs = st.tabs([GROUPS.get(group, group.capitalize()) for group in groups]) if groups else []
        for tab, group in zip(tabs, groups, strict=True):
            inside = [entry for entry in rest if entry.about["group"] == group]
            with tab:
                for first in range(0, len(inside), COLUMNS):
                    self.draw_row(inside[first : first + COLUMNS], COLUMNS)

    def draw_row(self, row: list[Entry], columns: int) -> None:
        """Draw some fields beside each other; they wrap where the page is narrow. Those with a place of their own go
        there.
        """
        places = iter(st.columns(columns)) if row else iter(())
        for entry in row:
            with self.apart.get(entry.name) or next(places):
                draw = self.special.get(entry.name) or _widget_of(entry)
                value = draw(entry, f"{self.key}-{entry.name}", getattr(self.start, entry.name))
                st.caption(entry.explained(value))
                self.values[entry.name] = value


def _widget_of(entry: Entry) -> Widget:
    """Return the function that draws a field of this kind."""
    if entry.many:
        return _multiselect if entry.options is not None else _list
    if entry.options is not None:
        return selectbox
    return {bool: _toggle, int: _number, float: _number, str: _text}[entry.kind]


def _seed(key: str, value: Any) -> None:
    """Give a widget its first value, so that others may set it later."""
    seeded = st.session_state.setdefault("form-seeded", set())  # widgets that have had their first value
    if key not in seeded:
        seeded.add(key)
        st.session_state[key] = value


def about(entry: Entry, key: str) -> dict[str, Any]:
    """Return the arguments of every widget; its help stands below it, visible on narrow screens too."""
    return {"label": entry.label, "key": key, "persist_state": "session"}


def selectbox(entry: Entry, key: str, value: Any) -> Any:
    """Draw the choice of a table's row or of a word; an optional field can have none."""
    choices: list[Any] = [*([None] if entry.optional else []), *(entry.options or ())]
    index = choices.index(value) if value in choices else 0
    return st.selectbox(options=choices, index=index, format_func=entry.show, **about(entry, key))


def _toggle(entry: Entry, key: str, value: bool) -> bool:
    st.space("small")  # level with the inputs beside it, which have their label above
    return st.toggle(value=value, **about(entry, key))


def _number(entry: Entry, key: str, value: float | None) -> float | None:
    shared = about(entry, key)
    low, high = (
        None if bound is None else entry.kind(bound) for bound in (entry.about["minimum"], entry.about["maximum"])
    )
    step = entry.kind(STEPS.get(entry.name, 1 if entry.kind is int else _float_step(value)))
    format = None if entry.kind is int else "%g"
    limits = {"min_value": low, "max_value": high, "step": step, "format": format, "placeholder": entry.automatic}
    if entry.optional:  # only a number input that starts empty can be emptied again
        _seed(key, value)
        found = st.number_input(value=None, **limits, **shared)
    else:
        found = st.number_input(value=value, **limits, **shared)
    return float(f"{found:.10g}") if isinstance(found, float) else found


def _float_step(value: float | None) -> float:
    """Return a tenth of the value's order of magnitude: the step from 0.001 is 0.0001."""
    return 10.0 ** math.floor(math.log10(value) - 0.5) if value else 0.1


def _text(entry: Entry, key: str, value: str | None) -> str | None:
    shared = about(entry, key)
    found = st.text_input(value=value or "", placeholder=entry.automatic if entry.optional else None, **shared).strip()
    return None if entry.optional and not found else found


def _multiselect(entry: Entry, key: str, value: Collection[Any]) -> tuple[Any, ...]:
    shared = about(entry, key)
    return tuple(
        st.multiselect(options=list(entry.options or ()), default=list(value), format_func=entry.show, **shared)
    )


def _list(entry: Entry, key: str, value: Collection[Any] | None) -> tuple[Any, ...] | None:
    """Draw a list of free values, written with commas; what is not one is left for the config to refuse."""
    written = ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value or ())
    shared = about(entry, key)
    found = st.text_input(value=written, placeholder="a, b, …" if not entry.optional else entry.automatic, **shared)
    items = [item.strip() for item in found.split(",") if item.strip()]
    return None if entry.optional and not items else tuple(_converted(entry.kind, item) for item in items)


def _converted(kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text
