"""Three distances between two maps, such as those of an image before and after a perturbation.

Maps are numpy arrays (h, w) of the same shape, finite and at least 0. Both must explain the same class.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import spearmanr, wasserstein_distance_nd

from pmsi.base.errors import PMSIError
from pmsi.explain.measures.pointing import mass

GRID = 7
"""Rows and columns of the earth mover's grid: those of S5's map at 224 px; earlier stages have multiples of it."""

ROUNDING = 1e-12
"""Mass up to which two maps count as equal."""


@dataclass(frozen=True)
class Drift:
    """Distances between two maps.

    ``spearman`` in [−1, 1]: rank correlation, NaN if a map is constant. ``peak`` in [0, √2): distance of the peaks, in
    sides of the image. ``earth`` in [0, √2): earth mover's distance, in sides of the image.
    """

    spearman: float
    peak: float
    earth: float

    def numbers(self, source: str) -> dict[str, float]:
        """Return the distances by "SOURCE/DISTANCE", without those that are NaN."""
        return {f"{source}/{name}": value for name, value in asdict(self).items() if not math.isnan(value)}


def drift(before: np.ndarray, after: np.ndarray) -> Drift:
    """Return the distances between two maps (h, w) of the same shape; the maps' scales do not matter."""
    if before.shape != after.shape or before.ndim != 2:
        raise PMSIError(f"Maps {before.shape} and {after.shape} cannot be compared: expected (h, w) of one stage.")
    return Drift(spearman(before, after), peak_distance(before, after), earth_movers_distance(before, after))


def spearman(before: np.ndarray, after: np.ndarray) -> float:
    """Return Spearman's rank correlation ρ of two maps, in [−1, 1]; NaN if one of them is constant."""
    if np.ptp(before) == 0 or np.ptp(after) == 0:
        return float("nan")
    return float(spearmanr(before, after, axis=None).statistic)


def peak_distance(before: np.ndarray, after: np.ndarray) -> float:
    """Return the distance of the peaks of two maps, in sides of the image; of several peaks the mean place counts."""
    return float(np.linalg.norm(_peak(before) - _peak(after)))


def _peak(values: np.ndarray) -> np.ndarray:
    places = np.argwhere(values == values.max())
    return ((places + 0.5) / values.shape).mean(axis=0)


def earth_movers_distance(before: np.ndarray, after: np.ndarray) -> float:
    """Return the earth mover's distance (Rubner et al., IJCV 2000) of two maps of mass 1, in sides of the image.

    Exact between the cells of a grid of at most GRID × GRID, into which each map is summed. A map of zeros counts as a
    constant one.
    """
    grid = (min(GRID, before.shape[0]), min(GRID, before.shape[1]))
    places = (np.argwhere(np.ones(grid)) + 0.5) / grid
    # Mass that both maps have in a cell need not move, because the distance is a metric.
    surplus = (_cell_sums(mass(before), grid) - _cell_sums(mass(after), grid)).ravel()
    give, take = surplus > 0, surplus < 0
    moved = surplus[give].sum()
    if moved < ROUNDING:
        return 0.0
    return float(moved * wasserstein_distance_nd(places[give], places[take], surplus[give], -surplus[take]))


def _cell_sums(values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return the map's sums over a grid of cells; a pixel on a border is split between cells."""
    rows, columns = (_overlap(length, cells) for length, cells in zip(values.shape, grid, strict=True))
    return rows @ values @ columns.T


def _overlap(length: int, cells: int) -> np.ndarray:
    """Return the share of each of ``length`` pixels that lies in each cell: (cells, length)."""
    pixels, edges = np.arange(length), np.arange(cells + 1) * (length / cells)
    low, high = np.maximum(pixels, edges[:-1, None]), np.minimum(pixels + 1, edges[1:, None])
    return np.clip(high - low, 0, None)
