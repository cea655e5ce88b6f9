"""A config field's value as one word of text, and back: for a page's address and for ``--vary FIELD=VALUE,…``.

The type of a value is checked here, its range by the config.
"""

from collections.abc import Collection
from dataclasses import fields
from typing import Any

from pmsi.base.errors import ConfigError, lookup
from pmsi.config import field_type
from pmsi.config.declare import Config

DEFAULT = "default"
"""Stands for None, the value of an optional field that was not given."""

SWITCH = {"on": True, "off": False, "true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}

KINDS = {int: "a whole number", float: "a number", bool: "on or off", str: "text"}


def to_text(value: Any) -> str:
    """Return a field's value as text: ``0.01``, ``on``, ``a,b``, ``default``."""
    if value is None:
        return DEFAULT
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(map(to_text, value)) if isinstance(value, tuple) else str(value)


def from_text(config: type[Config], name: str, text: str) -> Any:
    """Return a field's value from its text: the inverse of `to_text`.

    Raises UnknownName if there is no such field, ConfigError if the text is no value of its type.
    """
    lookup("setting", {about.name: about for about in fields(config)}, name)
    kind, optional, many = field_type(config, name)
    if optional and text == DEFAULT:
        return None
    if many:
        return tuple(_one(kind, name, item) for item in split(text))
    return _one(kind, name, text)


def split(text: str) -> Collection[str]:
    """Return the items of a comma-separated list, without surrounding spaces."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _one(kind: type, name: str, text: str) -> Any:
    try:
        return SWITCH[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"{name} = {text!r}: expected {KINDS[kind]}.") from error
