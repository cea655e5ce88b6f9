"""The shell command of a config."""

import re
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from pmsi.config import CONFIGS, Config, TrainConfig, differences

POSITIONAL = "of"
"""The one field without a flag: the runs that a task works on are positional arguments."""

SETTING = re.compile(r"(?<![\w/.-])(?:--)?((?<=--)[a-z]+|[a-z]+(?:[_-][a-z]+)+|[a-z]+(?= = ))(?![\w/-])( = )?")
"""A setting in a message: a flag, words with lines between, or one word before its value."""


def reworded(message: str, called: Callable[[str], str | None], between: str = " = ") -> str:
    """Return a message with the settings in it as they are ``called`` where they were given."""

    def word(found: re.Match[str]) -> str:
        name = called(found[1].replace("-", "_"))
        return found[0] if name is None else name + (between if found[2] else "")

    return SETTING.sub(word, message)


def in_flags(message: str) -> str:
    """Return a message with flags in place of the names of settings: ``--image-size 100`` for ``image_size = 100``."""
    known = {field.name for config in CONFIGS.values() for field in fields(config)} - {POSITIONAL}
    return reworded(message, lambda name: flag(name) if name in known else None, " ")


def flag(name: str) -> str:
    """Return the flag of a field: ``image_size`` → ``--image-size``."""
    return "--" + name.replace("_", "-")


def command(config: Config, runs: Path | None = None) -> str:
    """Return the shell command that makes a run of this config: ``python -m pmsi train --method pmr …``.

    A training run's main fields are always given, others only where they differ from the defaults.
    """
    always = ("dataset", "method", "backbone", "weights", "epochs", "image_size")
    given = {name: getattr(config, name) for name in always} if isinstance(config, TrainConfig) else {}
    given |= differences(config)
    of = given.pop(POSITIONAL, ())
    words = ["python", "-m", "pmsi", config.task, *([of] if isinstance(of, str) else of)]
    for name, value in given.items():
        words += typed_words(name, value)
    return shlex.join([*words, *(["--runs", str(runs)] if runs else [])])


def typed_words(name: str, value: Any) -> list[str]:
    """Return how a field's value is typed: nothing for None, ``--flip`` or ``--no-flip``, ``--epochs 20``."""
    if value is None:
        return []
    if isinstance(value, bool):
        return [flag(name) if value else flag(f"no_{name}")]
    return [flag(name), *map(str, value if isinstance(value, tuple) else (value,))]
