"""The errors that the package raises on purpose, and `lookup`, which finds a name in a table.

    PMSIError
    ├── ConfigError      a setting is out of range, or two settings contradict each other
    │   └── UnknownName  a name that no row of a table has
    ├── DataError        a data set is missing, incomplete or empty
    │   └── ImageError   one image cannot be used
    ├── CheckpointError  a weights file is missing, foreign, damaged or does not fit the model
    ├── RunError         a run folder is missing or not in a state that allows what was asked
    ├── TrainingError    training cannot go on (the loss is not finite, say)
    └── DiskFull         there is no room for a file; an OSError, too

A message names the value, what was expected, and what to do next. The command line prints it as one line and
exits with 2; the app shows it in a panel.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pmsi.base.text import shortened

Row = TypeVar("Row")


@dataclass(frozen=True)
class Fix:
    """A change of settings that takes an error's cause away; ``title`` is what a button says."""

    title: str
    changes: Mapping[str, Any]


class PMSIError(Exception):
    """Base of every error raised on purpose; its text is written for the user.

    ``final`` says that what failed cannot succeed with the same settings, whatever is tried again.
    """

    final = False

    def __init__(self, *words: object, fixes: Sequence[Fix] = (), final: bool | None = None) -> None:
        super().__init__(*words)
        self.fixes = tuple(fixes)
        self.final = type(self).final if final is None else final


class ConfigError(PMSIError):
    """A setting is out of range, or two settings contradict each other."""

    final = True


class UnknownName(ConfigError):
    """A name that no row of a table has."""


class DataError(PMSIError):
    """A data set is missing, incomplete or empty."""


class ImageError(DataError):
    """One image cannot be used: not an image, truncated, too large."""


class CheckpointError(PMSIError):
    """A weights file is missing, foreign, damaged or does not fit the model."""


class ExportError(PMSIError):
    """A model cannot be exported, or an exported file cannot be used."""


class RunError(PMSIError):
    """A run folder is missing, or its state does not allow what was asked."""


class TrainingError(PMSIError):
    """Training cannot go on."""


class DiskFull(PMSIError, OSError):
    """There is no room for a file. ``needed`` is the number of bytes that must be free."""

    def __init__(self, message: str, needed: int) -> None:
        super().__init__(message)
        self.needed = needed


def lookup(kind: str, table: Mapping[str, Row], name: str) -> Row:
    """Return ``table[name]``, or raise `UnknownName` that lists what exists.

    ``kind`` is the singular noun of the table for the message, such as ``"method"``.
    """
    if name in table:
        return table[name]
    name = shortened(name)
    close = difflib.get_close_matches(name, table, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UnknownName(f"Unknown {kind} {name!r}.{hint} Choose one of: {', '.join(table)}.")
