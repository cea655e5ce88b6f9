"""`Config`, the base class of all configs, and `setting`, which declares one of their fields.

A config is checked when it is created. Does not import torch.
"""

import functools
import json
import math
import typing
from dataclasses import Field, dataclass, field, fields, replace
from types import UnionType
from typing import Any, ClassVar, Self, Union

from pmsi.base.errors import ConfigError
from pmsi.base.text import shortened


def setting(
    default: Any,
    help: str,
    *,
    group: str,
    paper: str | None = None,
    options: str | tuple[str, ...] | None = None,
    minimum: float | None = None,
    between: tuple[float, float] | None = None,
    formerly: str | None = None,
) -> Any:
    """Declare a config field.

    ``options`` is a tuple of the allowed words, or a key of `pmsi.choices.TABLES`, whose table has a row for each
    choice; the name is looked up when the config is used. ``minimum`` is the least value, ``between`` the least and the
    largest. ``paper`` is the paper's value, if the default is another one. ``formerly`` is the field's name in older
    runs; it is still read, and still a flag.
    """
    least, largest = between or (minimum, None)
    about = {"help": help, "group": group, "paper": paper, "options": options, "formerly": formerly}
    return field(default=default, metadata=about | {"minimum": least, "maximum": largest})


@functools.cache
def _annotations(config: Any) -> dict[str, Any]:
    return typing.get_type_hints(config)


def field_type(config: "type[Config]", name: str) -> tuple[type, bool, bool]:
    """Return (type of one value, whether it may be None, whether it is a tuple of such values) of a field."""
    annotation = _annotations(typing.cast(Any, config))[name]
    optional = False
    if typing.get_origin(annotation) in (Union, UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        optional, annotation = True, members[0]
    if typing.get_origin(annotation) is tuple:
        return typing.get_args(annotation)[0], optional, True
    return annotation, optional, False


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all configs. ``task`` is the name of the subcommand and of the row in TASKS."""

    task: ClassVar[str] = ""

    seed: int = setting(0, "Seed of every random draw of the run.", group="run", between=(0, 2**31 - 1))
    device: str = setting(
        "auto", "Where to compute; auto takes a GPU where there is one.", group="run", options=("auto", "cpu", "cuda")
    )
    threads: int = setting(
        0,
        "CPU threads of torch; 0 leaves torch's own choice. With another number the last bits of results differ.",
        group="run",
        between=(0, 1024),
    )
    workers: int = setting(
        0,
        "Processes that read images; 0 reads in the worker itself. No result depends on it.",
        group="run",
        between=(0, 64),
    )

    insist: bool = setting(
        False,
        "Go on where test images are among those that a model was trained on; the result says how many.",
        group="run",
    )

    def __post_init__(self) -> None:
        for about in fields(self):
            object.__setattr__(self, about.name, _checked(type(self), about, getattr(self, about.name)))

    def to_dict(self) -> dict[str, Any]:
        """Return the config as JSON types, the task's name first."""
        values = {about.name: getattr(self, about.name) for about in fields(self)}
        return {"task": self.task} | {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def to_json(self) -> str:
        """Return the content of ``config.json``."""
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def located(self) -> Self:
        """Return the config with its paths made absolute, since a worker may run in another folder."""
        return self

    def with_(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, checked again."""
        return replace(self, **changes)


def _checked(config: type[Config], about: Field, value: Any) -> Any:
    """Return ``value`` as the field's type, or raise ConfigError."""
    kind, optional, many = field_type(config, about.name)
    if value is None and optional:
        return None
    if many:
        if not isinstance(value, (tuple, list)):
            raise ConfigError(f"{about.name} = {shortened(repr(value))}: expected a list of {kind.__name__}.")
        return tuple(_checked_one(about, kind, item) for item in value)
    return _checked_one(about, kind, value)


def _checked_one(about: Field, kind: type, value: Any) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{about.name} = {shortened(repr(value))}: expected {_describe(kind)}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{about.name} = {shortened(repr(value))}: expected a finite number.")
    low, high, words = (about.metadata[key] for key in ("minimum", "maximum", "options"))
    if (low is not None and value < low) or (high is not None and value > high):
        raise ConfigError(f"{about.name} = {shortened(repr(value))}: expected {_bounds(low, high)}.")
    if isinstance(words, tuple) and value not in words:
        raise ConfigError(f"{about.name} = {shortened(repr(value))}: expected one of {', '.join(words)}.")
    return value


def _bounds(low: float | None, high: float | None) -> str:
    if high is None:
        return f"at least {low}"
    if low is None:
        return f"at most {high}"
    return f"from {low} to {high}"


def _describe(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[kind]
