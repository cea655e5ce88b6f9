"""How far a map moves when its image is perturbed, for one and the same class: three distances between two maps.

Maps are (h, w) in numpy, finite and at least 0, of one shape. To explain the class that each image is predicted as
would compare maps of two questions: explain the clean image's class both times.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import spearmanr, wasserstein_distance_nd

from pmsi.base.errors import PMSIError
from pmsi.explain.measures.pointing import mass

GRID = 7
"""Rows and columns of cells between which earth is moved: the last stage's map at 224 px, which those before divide."""

LEAST = 1e-12
"""Mass that is rounding."""


@dataclass(frozen=True)
class Drift:
    """How two maps differ.

    ``spearman`` in [−1, 1]: rank correlation, NaN where a map is even. ``peak`` in [0, √2): how far its peak moved, in
    sides of the image. ``earth`` in [0, √2): the earth mover's distance, in sides of the image.
    """

    spearman: float
    peak: float
    earth: float

    def numbers(self, source: str) -> dict[str, float]:
        """Return the distances as "SOURCE/DISTANCE", without a correlation that an even map lacks."""
        return {f"{source}/{name}": value for name, value in asdict(self).items() if not math.isnan(value)}


def drift(before: np.ndarray, after: np.ndarray) -> Drift:
    """Return how two maps (h, w) of one shape differ; each number depends on the maps' forms, not on their scales."""
    if before.shape != after.shape or before.ndim != 2:
        raise PMSIError(f"Maps {before.shape} and {after.shape} cannot be compared: expected (h, w) of one stage.")
    return Drift(spearman(before, after), peak_distance(before, after), earth_movers_distance(before, after))


def spearman(before: np.ndarray, after: np.ndarray) -> float:
    """Return Spearman's rank correlation ρ of two maps, in [−1, 1]; NaN where one of them is even."""
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return float("nan")
    return float(spearmanr(before, after, axis=None).statistic)


def peak_distance(before: np.ndarray, after: np.ndarray) -> float:
    """Return how far apart the peaks of two maps are, in sides of the image; equal peaks count as their middle."""
    return float(np.linalg.norm(_peak(before) - _peak(after)))


def _peak(values: np.ndarray) -> np.ndarray:
    places = np.argwhere(values == values.max())
    return ((places + 0.5) / values.shape).mean(axis=0)


def earth_movers_distance(before: np.ndarray, after: np.ndarray) -> float:
    """Return the least work that turns one map into the other: mass 1 times straight distance, in sides of the image.

    Exact between cells of at most GRID × GRID, into which each map's mass is gathered (Rubner et al., IJCV 2000); a
    blank map counts as an even one.
    """
    grid = (min(GRID, before.shape[0]), min(GRID, before.shape[1]))
    a, b = (_gathered(mass(values), grid).ravel() for values in (before, after))
    places = (np.argwhere(np.ones(grid)) + 0.5) / grid
    surplus = a - b  # what both have may stay, because distance is a metric
    give, take = surplus > 0, surplus < 0
    moved = surplus[give].sum()
    if moved < LEAST:
        return 0.0
    return float(moved * wasserstein_distance_nd(places[give], places[take], surplus[give], -surplus[take]))


def _gathered(values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return the map's sums over a grid of cells; a pixel on a border is divided between cells."""
    rows, columns = (_overlap(length, cells) for length, cells in zip(values.shape, grid, strict=True))
    return rows @ values @ columns.T


def _overlap(length: int, cells: int) -> np.ndarray:
    """Return which share of each of ``length`` pixels lies in each cell: (cells, length)."""
    pixels, edges = np.arange(length), np.arange(cells + 1) * (length / cells)
    low, high = np.maximum(pixels, edges[:-1, None]), np.minimum(pixels + 1, edges[1:, None])
    return np.clip(high - low, 0, None)
