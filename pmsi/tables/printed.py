"""The paper's printed numbers, Tables I–VII and Fig. 1, as data (``assets/paper_tables.json``).

Keys are those of METHODS, AUGMENTATIONS, BACKBONES, DATASETS and PERTURBATIONS.
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
"""The keys of a cell's line and column."""


@dataclass(frozen=True)
class Printed:
    """A number as printed: an accuracy in per cent, or a count of Table I.

    ``difference`` is printed in brackets beside it, in points. If ``note`` calls it a misprint, ``computed`` is the
    difference of the printed accuracies.
    """

    value: float
    difference: float | None = None
    computed: float | None = None
    note: str | None = None

    @property
    def change(self) -> float | None:
        """The difference in points: the computed one if the printed one is wrong."""
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
    """Return the printed tables by number, "1" to "7" and "fig1"; raises ConfigError if their file is missing."""
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
