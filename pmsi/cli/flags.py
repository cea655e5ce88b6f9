"""Command-line flags of a config's fields, and the types of typed arguments."""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, TypeVar

from pmsi.choices import options_of
from pmsi.config import Config, field_type
from pmsi.config.command import POSITIONAL, flag

AnyConfig = TypeVar("AnyConfig", bound=Config)

PLACES = {"data": "DIR", "weights": "FILE"}
"""Fields that are paths (``weights`` can also be a word), and their placeholder in the help."""


def path(text: str) -> Path:
    """Return the typed path with ``~`` expanded, which shells do not do in ``--runs=~/x``."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, found an empty text")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such home folder") from error


def folder(text: str) -> Path:
    """Return the path of a folder that exists or can be created."""
    if (typed := path(text)).exists() and not typed.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a file, expected a folder")
    return typed


def place(text: str) -> str:
    """Return the text of a field of `PLACES`, with ``~`` expanded."""
    return text if text and text[0] != "~" else str(path(text))


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """Return the argparse type of whole numbers from ``minimum`` to ``maximum``, both included."""

    def read(text: str) -> int:
        error = argparse.ArgumentTypeError(f"{text!r}: expected a whole number from {minimum} to {maximum}")
        try:
            number = int(text)
        except ValueError:
            raise error from None
        if not minimum <= number <= maximum:
            raise error
        return number

    return read


def add_flags(parser: argparse.ArgumentParser, config: type[Config]) -> None:
    """Add a flag for each field, in the groups of the config, with its default and help."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for about in fields(config):
        if about.name != POSITIONAL:
            title = about.metadata["group"]
            groups.setdefault(title, parser.add_argument_group(title))
            _add_flag(groups[title], config, about)


def _add_flag(group: argparse._ArgumentGroup, config: type[Config], about: Field) -> None:
    kind, _, many = field_type(config, about.name)
    text = f"{about.metadata['help']}{_default(about)}{_choices(about)}".replace("%", "%%")
    # A flag that is not typed sets nothing: the default is the config's.
    options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": text}
    if kind is bool:
        options["action"] = argparse.BooleanOptionalAction
    else:
        read = place if about.name in PLACES else kind
        options |= {"type": read, "metavar": _metavar(about, kind)} | ({"nargs": "*"} if many else {})
    if former := about.metadata["formerly"]:
        group.add_argument(flag(former), dest=about.name, **(options | {"help": argparse.SUPPRESS}))
    group.add_argument(flag(about.name), **options)


def _metavar(about: Field, kind: type) -> str:
    words = about.metadata["options"]
    return PLACES.get(about.name) or {int: "N", float: "X"}.get(kind, "NAME" if words else "TEXT")


def _default(about: Field) -> str:
    """Return the default and the paper's value in brackets; no default if the help text states it ("by default")."""
    words = [] if about.default is None and "by default" in about.metadata["help"] else [_default_text(about.default)]
    words += [f"paper: {about.metadata['paper']}"] if about.metadata["paper"] else []
    return f" [{'; '.join(words)}]" if words else ""


def _choices(about: Field) -> str:
    options = options_of(about)
    if options is None:
        return ""
    if not isinstance(options, Mapping):
        return f" ({' | '.join(options)})"
    return " (" + " | ".join(options) + ")"


def _default_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def to_config(start: AnyConfig, typed: argparse.Namespace) -> AnyConfig:
    """Return ``start`` with the parsed flags applied; raises ConfigError for a value that the config refuses."""
    known = {about.name for about in fields(start)}
    return start.with_(**{name: value for name, value in vars(typed).items() if name in known})
