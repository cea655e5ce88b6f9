"""The types of typed arguments, those that several subcommands take, and the flags of a config's fields."""

import argparse
import contextlib
from collections.abc import Callable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, TypeVar

from pmsi.choices import options_of
from pmsi.config import Config, TrainConfig, field_type
from pmsi.config.command import POSITIONAL, flag
from pmsi.config.presets import PRESETS
from pmsi.runs import default_root
from pmsi.runs.launchers import LAUNCHERS

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
        with contextlib.suppress(ValueError):
            if minimum <= (number := int(text)) <= maximum:
                return number
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from {minimum} to {maximum}")

    return read


# Arguments of several subcommands

TRAINED = "Training run: its id, or the start of it."
TRAINED_OR_FILE = f"{TRAINED[:-1]}; or an exported .onnx file."
KEYED = "; with --dataset, the key of an image there"


def add_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runs", type=folder, default=default_root(), metavar="DIR", help="Runs folder [$PMSI_RUNS, else runs]."
    )


def add_like(parser: argparse.ArgumentParser, name: str, help: str, **options: Any) -> None:
    """Add a flag for the config field ``name``, with the field's default and allowed values."""
    about = next(about for about in fields(TrainConfig) if about.name == name)
    words = tuple(options_of(about) or ())
    listed = f" ({' | '.join(words)})" if words else ""
    options |= {"choices": words} if words else {}
    parser.add_argument(flag(name), default=about.default, help=f"{help} [{about.default}]{listed}.", **options)


def add_images_of(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", metavar="NAME", help="Data set of the image, such as plumage.")
    parser.add_argument("--data", type=place, metavar="DIR", help="Its folder, where it is not built in.")


def add_preset(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", metavar="NAME", help=f"Start from a preset ({' | '.join(PRESETS)}); other flags change it."
    )


def add_queue(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--queue", action="store_true", help="Queue the run and return; else work on it in the foreground."
    )
    help = f"Launcher whose queue is used ({' | '.join(LAUNCHERS)}); means --queue [local]."
    parser.add_argument("--launcher", choices=tuple(LAUNCHERS), metavar="NAME", help=help)


def add_perturbed(parser: argparse.ArgumentParser) -> None:
    help = "Perturb the network's input, by one perturbation after the other: color_jitter=0.5 gaussian_noise=5."
    parser.add_argument("--perturb", nargs="+", default=[], metavar="NAME=X", help=help)
    help = "Seed of the perturbations; an image's key is part of its seed too [0]."
    parser.add_argument("--seed", type=whole(0, 2**31 - 1), default=0, metavar="N", help=help)


# The fields of a config


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
    return "" if options is None else f" ({' | '.join(options)})"


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
