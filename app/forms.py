"""A form made from a config class: one widget for each field, with the field's own help, range, choices and paper value.

The fields are described in `pmsi.config` alone; here is only how a kind of field looks. The module knows neither what a
config is for nor what happens with the one that it returns.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.run_session import seed_widget, widget_value
from pmsi.settings import Config, Options, field_type, options_of
from pmsi.errors import ConfigError

AnyConfig = TypeVar("AnyConfig", bound=Config)

ESSENTIAL = (
    ("dataset", "data", "image_size"),
    ("method", "backbone", "weights"),
    ("epochs", "batch_size", "lr_pretrained", "lr_new"),
)
"""The few fields that are always in sight, row by row; all others are folded away by group."""

GROUPS = {"data": "Data", "model": "Model", "augmentation": "Augmentation", "recipe": "Recipe", "run": "This run"}

LABELS = {
    "dataset": "Data set",
    "data": "Data folder",
    "weights": "Starting weights",
    "lr_pretrained": "Rate, pre-trained",
    "lr_new": "Rate, new layers",
    "resize": "Resize to",
    "flip": "Random flips",
    "train_per_class": "Training images per class",
    "test_per_class": "Test images per class",
    "test_fraction": "Share of test images",
    "split_seed": "Seed of the split",
    "stage_num": "StageNum",
    "smooth_conv": "Smooth conv",
    "channels": "Channels c",
    "hidden": "Hidden channels h",
    "mix": "Mix adds",
    "per_image": "A layout for each image",
    "nested": "Nested phases",
    "permutation": "Patch permutation",
    "concat_weight": "Weight of the concat loss",
    "heads": "Classifiers in a phase",
    "evaluate_every": "Evaluate every … epochs",
}

AUTOMATIC = {
    "data": "not needed for plumage",
    "resize": "8/7 of the image size",
    "train_per_class": "all",
    "test_per_class": "all",
    "channels": "half of the last stage's",
    "hidden": "c/2",
    "augmentation": "the method's own",
}
"""What an optional field means while it is empty."""

STEPS = {"image_size": 32, "resize": 32, "channels": 16, "hidden": 16, "dropout": 0.05, "test_fraction": 0.05}

NOT_THE_PAPERS = ("data", "split_seed")
"""Fields that the paper says nothing about, beside the whole group "run"."""

WEIGHTS = {"imagenet": "ImageNet", "none": "None", "file": "A file"}
WEIGHTS_HELP = {
    "imagenet": "torchvision's ImageNet weights of this backbone, downloaded at the first use.",
    "none": "Random weights: every layer is trained from scratch, as a new layer.",
    "file": "Backbone weights from a file on this machine: safetensors, or a torch state dict.",
}


@dataclass(frozen=True)
class Entry:
    """One field of a config, as a form sees it."""

    name: str
    kind: type
    optional: bool
    many: bool
    options: Options | None
    default: Any
    about: Mapping[str, Any]

    @property
    def label(self) -> str:
        return LABELS.get(self.name) or self.name.replace("_", " ").capitalize()

    @property
    def automatic(self) -> str:
        return AUTOMATIC.get(self.name, "automatic")

    @property
    def paper(self) -> Any:
        """The paper's value: the default, unless the field names another one that could be chosen."""
        named = self.about["paper"]
        return named if self.options is not None and named in self.options else self.default

    def differs(self, value: Any) -> bool:
        """Return whether ``value`` is not the paper's, for fields of which the paper says something."""
        if self.about["group"] == "run" or self.name in NOT_THE_PAPERS:
            return False
        return bool(value != self.paper)

    def show(self, value: Any) -> str:
        """Return a value in words."""
        if value is None:
            return self.automatic
        if isinstance(value, bool):
            return "on" if value else "off"
        if isinstance(value, float):
            return f"{value:g}"
        return title_of(self.options, value) if isinstance(value, str) else str(value)


def entries(config_class: type[Config]) -> dict[str, Entry]:
    """Return the fields of a config class by name, in its order."""
    found = {}
    for field in fields(config_class):
        kind, optional, many = field_type(config_class, field.name)
        found[field.name] = Entry(field.name, kind, optional, many, options_of(field), field.default, field.metadata)
    return found


def title_of(options: Options | None, name: str) -> str:
    """Return the title of a table's row where it has one, else its name in plain words."""
    row = options.get(name) if isinstance(options, Mapping) else None
    return str(getattr(row, "title", "") or name).replace("_", " ")


def form(
    config_class: type[AnyConfig],
    key: str,
    start: AnyConfig,
    *,
    essentials: DeltaGenerator | None = None,
    details: DeltaGenerator | None = None,
) -> AnyConfig | None:
    """Draw the form, filled with ``start``, and return the config that it says; None where it says no valid one.

    The few essential fields go to the container ``essentials``, all others to ``details``, folded by group. What was
    typed stays for the session under ``key``; another ``start`` needs another key. An error is shown in one line.
    """
    known = entries(config_class)
    values: dict[str, Any] = {}
    rows = [[name for name in row if name in known] for row in ESSENTIAL]
    with essentials or st.container():
        for row in filter(None, rows):
            values |= _row([known[name] for name in row], key, start, columns=len(row))
        problem = st.empty()
    shown = {name for row in rows for name in row}
    with details or st.container():
        values |= _folded([entry for entry in known.values() if entry.name not in shown], key, start)
    try:
        return config_class(**values)
    except ConfigError as error:
        problem.error(str(error), icon=":material/error:")
        return None


def _folded(rest: list[Entry], key: str, start: Config) -> dict[str, Any]:
    """Draw the less common fields, folded by group."""
    values: dict[str, Any] = {}
    names = dict.fromkeys(entry.about["group"] for entry in rest)
    for group in sorted(names, key=lambda name: [*GROUPS, name].index(name)):
        with st.expander(GROUPS.get(group, group.capitalize())):
            inside = [entry for entry in rest if entry.about["group"] == group]
            for first in range(0, len(inside), 3):
                values |= _row(inside[first : first + 3], key, start, columns=3)
    return values


def _row(row: list[Entry], key: str, start: Config, columns: int) -> dict[str, Any]:
    """Draw some fields beside each other; they wrap where the page is narrow."""
    places = st.columns(columns, gap="medium")
    values = {}
    for place, entry in zip(places, row, strict=False):
        with place:
            draw = SPECIAL.get(entry.name) or _widget_of(entry)
            values[entry.name] = draw(entry, f"{key}-{entry.name}", getattr(start, entry.name))
    return values


Widget = Callable[[Entry, str, Any], Any]


def _widget_of(entry: Entry) -> Widget:
    """Return the function that draws a field of this kind."""
    if entry.many:
        return _multiselect if entry.options is not None else _list
    if entry.options is not None:
        return _selectbox
    return {bool: _toggle, int: _number, float: _number, str: _text}[entry.kind]


def _about(entry: Entry, key: str, value: Any) -> dict[str, Any]:
    """Return what every widget is given: a label that says where its value is not the paper's, help, and a key."""
    mark = f" :orange[· paper: {entry.show(entry.paper)}]" if entry.differs(value) else ""
    return {"label": entry.label + mark, "key": key, "help": _help(entry), "persist_state": "session"}


def _help(entry: Entry) -> str:
    if entry.about["group"] == "run" or entry.name in NOT_THE_PAPERS:
        return str(entry.about["help"])
    return f"{entry.about['help']}\n\nPaper: {entry.about['paper'] or entry.show(entry.paper)}."


def _selectbox(entry: Entry, key: str, value: Any) -> Any:
    choices: list[Any] = [*([None] if entry.optional else []), *(entry.options or ())]
    index = choices.index(value) if value in choices else 0
    now = widget_value(key, value)
    return st.selectbox(options=choices, index=index, format_func=entry.show, **_about(entry, key, now))


def _toggle(entry: Entry, key: str, value: bool) -> bool:
    st.space("small")  # level with the inputs beside it, which have their label above
    return st.toggle(value=value, **_about(entry, key, widget_value(key, value)))


def _number(entry: Entry, key: str, value: float | None) -> float | None:
    about = _about(entry, key, widget_value(key, value))
    low, high = (None if bound is None else entry.kind(bound) for bound in (entry.about["minimum"], entry.about["maximum"]))
    step = entry.kind(STEPS.get(entry.name, 1 if entry.kind is int else _float_step(value)))
    format = None if entry.kind is int else "%g"
    limits = {"min_value": low, "max_value": high, "step": step, "format": format, "placeholder": entry.automatic}
    if entry.optional:  # only a number input that starts empty can be emptied again
        seed_widget(key, value)
        found = st.number_input(value=None, **limits, **about)
    else:
        found = st.number_input(value=value, **limits, **about)
    return float(f"{found:.10g}") if isinstance(found, float) else found


def _float_step(value: float | None) -> float:
    """Return a tenth of the value's order of magnitude: the step from 0.001 is 0.0001."""
    return 10.0 ** math.floor(math.log10(value) - 0.5) if value else 0.1


def _text(entry: Entry, key: str, value: str | None) -> str | None:
    about = _about(entry, key, widget_value(key, value))
    found = st.text_input(value=value or "", placeholder=entry.automatic if entry.optional else None, **about).strip()
    return None if entry.optional and not found else found


def _multiselect(entry: Entry, key: str, value: Collection[Any]) -> tuple[Any, ...]:
    about = _about(entry, key, widget_value(key, value))
    return tuple(st.multiselect(options=list(entry.options or ()), default=list(value), format_func=entry.show, **about))


def _list(entry: Entry, key: str, value: Collection[Any] | None) -> tuple[Any, ...] | None:
    """Draw a list of free values, written with commas; what is not one is left for the config to refuse."""
    written = ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value or ())
    about = _about(entry, key, value)
    found = st.text_input(value=written, placeholder="a, b, …" if not entry.optional else entry.automatic, **about)
    items = [item.strip() for item in found.split(",") if item.strip()]
    return None if entry.optional and not items else tuple(_converted(entry.kind, item) for item in items)


def _converted(kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text


def _weights(entry: Entry, key: str, value: str) -> str:
    """Draw the choice between ImageNet's weights, none and a file; only a file needs a path."""
    first = value if value in WEIGHTS else "file"
    about = _about(entry, key, widget_value(key, first))
    chosen = st.selectbox(options=list(WEIGHTS), index=list(WEIGHTS).index(first), format_func=WEIGHTS.get, **about)
    if chosen != "file":
        st.caption(WEIGHTS_HELP[chosen])
        return str(chosen)
    path = st.text_input(
        "Path of the weights file",
        value=value if first == "file" else "",
        key=f"{key}-file",
        placeholder="/path/to/weights.safetensors",
        label_visibility="collapsed",
        persist_state="session",
    )
    st.caption(WEIGHTS_HELP["file"])
    return path.strip()


SPECIAL: dict[str, Widget] = {"weights": _weights}
"""Fields that are more than their type says."""
