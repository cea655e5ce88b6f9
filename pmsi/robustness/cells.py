"""The cells of a sweep: one perturbation at one severity each, the clean images first. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pmsi.base.errors import ConfigError
from pmsi.config import RobustnessConfig
from pmsi.perturbations import PERTURBATIONS, Factors, perturb, severities_of


@dataclass(frozen=True)
class Cell:
    """One perturbation at one severity; the clean images are ``Cell(None, 0.0)``."""

    perturbation: str | None
    severity: float

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Cell":
        """Return the cell that a record of a sweep is about."""
        return cls(record["perturbation"], record["severity"])

    @property
    def title(self) -> str:
        """The cell in words, for a status line."""
        if self.perturbation is None:
            return "clean images"
        row = PERTURBATIONS[self.perturbation]
        return f"{row.title}, {row.symbol} = {self.severity:g}"

    @property
    def file(self) -> str:
        """The path of the cell's predictions, relative to the run's folder."""
        name = "clean" if self.perturbation is None else f"{self.perturbation}-{self.severity}"
        return f"predictions/{name}.json"

    def apply(self, crop: np.ndarray, seed: int, key: str) -> tuple[np.ndarray, Factors]:
        """Return the perturbed image, (h, w, 3) uint8, and the factors that were drawn for it."""
        if self.perturbation is None:
            return crop, {}
        return perturb(crop, self.perturbation, self.severity, seed=seed, key=key)


CLEAN = Cell(None, 0.0)

MOST_CELLS = 1000
"""Limit of a sweep; all perturbations at all of their usual severities make about 130."""


def cells_of(config: RobustnessConfig) -> tuple[Cell, ...]:
    """Return the cells of a sweep, the clean images first; severity 0 is the same as clean and not repeated.

    An entry of ``perturbations`` is a name, or a name with severities: "rotation=10,20".
    """
    cells = [CLEAN]
    for entry in config.perturbations:
        if len(cells) + entry.count(",") > MOST_CELLS:
            raise ConfigError(f"The sweep has more than {MOST_CELLS} cells. Leave out some severities.")
        cells += [Cell(name, severity) for name, severity in severities_of(entry, config.severities) if severity > 0]
    return tuple(dict.fromkeys(cells))
