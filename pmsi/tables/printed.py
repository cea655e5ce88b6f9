"""The paper's printed numbers, Tables I–VII and Fig. 1, as data (``assets/paper_tables.json``).

Keys are those of the package's own tables: methods, augmentations, backbones, data sets, perturbations. This module
does not know which run would give which number (`pmsi.tables` does).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pmsi.base.assets import ASSETS
from pmsi.base.errors import ConfigError, lookup

PATH = ASSETS / "paper_tables.json"

Place = tuple[str, str]
"""The line and the column of a cell, by key."""


@dataclass(frozen=True)
class Printed:
    """A number as printed: an accuracy in per cent, or a count of Table I.

    ``difference`` is what the paper prints in brackets beside it, in points; where ``note`` says that it is a misprint,
    ``computed`` is what the printed accuracies give.
    """

    value: float
    difference: float | None = None
    computed: float | None = None
    note: str | None = None

    @property
    def change(self) -> float | None:
        """The difference to be shown, in points: the computed one where the printed one is wrong."""
        return self.difference if self.computed is None else self.computed


@dataclass(frozen=True)
class PaperTable:
    """A printed table. ``dataset`` is that of all its cells; ``against`` is the line that a line is compared with."""

    title: str
    caption: str
    dataset: str | None = None
    against: Mapping[str, str] = field(default_factory=dict)
    cells: Mapping[Place, Printed] = field(default_factory=dict)


@cache
def paper_tables() -> dict[str, PaperTable]:
    """Return the printed tables by number ("1" to "7") and "fig1"; raises ConfigError where their file is missing."""
    try:
        stored = json.loads(PATH.read_bytes())["tables"]
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"The paper's numbers cannot be read ({error!r}). Expected {PATH.name} in the folder assets beside the "
            "package pmsi; copy the whole checkout."
        ) from error
    drawn = {number: stored[about.get("cells_of", number)] | about for number, about in stored.items()}
    return {number: _table(about) for number, about in drawn.items()}


def paper_table(number: str) -> PaperTable:
    """Return one printed table; raises UnknownName."""
    return lookup("table", paper_tables(), number)


def _table(about: Mapping[str, Any]) -> PaperTable:
    cells = {
        (line, column): Printed(**number) if isinstance(number, dict) else Printed(number)
        for line, numbers in about["lines"].items()
        for column, number in numbers.items()
    }
    return PaperTable(about["title"], about["caption"], about.get("dataset"), about.get("against", {}), cells)
