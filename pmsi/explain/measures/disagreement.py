"""How far apart the maps of two models are, of one image and for one and the same class.

The distances are those of `pmsi.explain.measures.drift`, where one model's map stands before and the other's after.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pmsi.explain.measures.baselines import enlarged
from pmsi.explain.measures.drift import drift

EARTH = "earth"
"""The measure by which images are ordered: it knows how far evidence lies apart, and is the same at any resolution."""


@dataclass(frozen=True)
class Disagreement:
    """One image: its key, its class, what both models say, and by "STAGE/MEASURE" how far their maps are apart."""

    key: str
    name: str
    answers: tuple[str, str]
    numbers: dict[str, float]

    @property
    def earth(self) -> dict[str, float]:
        """By stage the earth mover's distance, in sides of the image: in [0, √2)."""
        pairs = ((key.partition("/"), value) for key, value in self.numbers.items())
        return {stage: value for (stage, _, measure), value in pairs if measure == EARTH}


def map_distances(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return by "STAGE/MEASURE" how far two models' maps of an image are apart, for the stages that both have.

    Maps of other resolutions are compared on the finer grid.
    """
    found: dict[str, float] = {}
    for stage in (stage for stage in one if stage in other):
        found |= drift(*_on_one_grid(one[stage], other[stage])).numbers(stage)
    return found


def _on_one_grid(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if a.shape == b.shape:
        return a, b
    side = max(*a.shape, *b.shape)
    return enlarged(a, side), enlarged(b, side)


def farthest(found: Iterable[Disagreement], stage: str, count: int) -> Sequence[Disagreement]:
    """Return the images on which the maps of a stage are farthest apart, the farthest first, equal ones by key."""
    return sorted(found, key=lambda one: (-one.earth[stage], one.key))[:count]
