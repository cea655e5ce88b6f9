"""Distances between the maps of two models, of the same image and for the same class.

The distances are those of `pmsi.explain.measures.drift`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pmsi.explain.measures.baselines import enlarged
from pmsi.explain.measures.drift import drift

EARTH = "earth"
"""The distance by which images are ordered: in sides of the image, hence comparable between resolutions."""


@dataclass(frozen=True)
class Disagreement:
    """One image: its key, its class, the predictions of both models, and the distances by "STAGE/DISTANCE"."""

    key: str
    name: str
    answers: tuple[str, str]
    numbers: dict[str, float]

    @property
    def earth(self) -> dict[str, float]:
        """The earth mover's distance by stage, in sides of the image: in [0, √2)."""
        pairs = ((key.partition("/"), value) for key, value in self.numbers.items())
        return {stage: value for (stage, _, measure), value in pairs if measure == EARTH}


def map_distances(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Return the distances between two models' maps of an image by "STAGE/DISTANCE", for the stages that both have.

    Maps of different resolutions are compared at the finer one.
    """
    found: dict[str, float] = {}
    for stage in (stage for stage in one if stage in other):
        a, b = one[stage], other[stage]
        if a.shape != b.shape:
            side = max(*a.shape, *b.shape)
            a, b = enlarged(a, side), enlarged(b, side)
        found |= drift(a, b).numbers(stage)
    return found


def farthest(found: Iterable[Disagreement], stage: str, count: int) -> Sequence[Disagreement]:
    """Return the ``count`` images with the largest earth mover's distance at a stage, largest first, ties by key."""
    return sorted(found, key=lambda one: (-one.earth[stage], one.key))[:count]
