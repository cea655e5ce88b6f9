"""The shell command that does what a config says."""

import shlex
from pathlib import Path
from typing import Any

from pmsi.config import Config, TrainConfig, differences

POSITIONAL = "of"
"""The one field that is typed without a flag: the runs that a task works on."""


def flag(name: str) -> str:
    """Return the flag of a field: ``image_size`` → ``--image-size``."""
    return "--" + name.replace("_", "-")


def command(config: Config, runs: Path | None = None) -> str:
    """Return the shell command that does the same as this config: ``python -m pmsi train --method pmr …``.

    The fields that say what a training run is are always there; others only where they differ from the defaults.
    """
    always = ("dataset", "method", "backbone", "weights", "epochs", "image_size")
    shown = {name: getattr(config, name) for name in always} if isinstance(config, TrainConfig) else {}
    shown |= differences(config)
    of = shown.pop(POSITIONAL, ())
    words = ["python", "-m", "pmsi", config.task, *([of] if isinstance(of, str) else of)]
    for name, value in shown.items():
        words += typed_words(name, value)
    return shlex.join([*words, *(["--runs", str(runs)] if runs else [])])


def typed_words(name: str, value: Any) -> list[str]:
    """Return how a field's value is typed: nothing for None, ``--flip`` or ``--no-flip``, ``--epochs 20``."""
    if value is None:
        return []
    if isinstance(value, bool):
        return [flag(name) if value else flag(f"no_{name}")]
    return [flag(name), *map(str, value if isinstance(value, tuple) else (value,))]
