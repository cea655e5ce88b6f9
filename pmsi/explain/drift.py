"""How far a map moves when its image is perturbed, for one and the same class: three distances between two maps.

Maps are (h, w) in numpy, finite and at least 0, of one shape. To explain the class that each image is predicted as
would compare maps of two questions: explain the clean image's class both times.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np

from pmsi.errors import PMSIError
from pmsi.explain.metrics import mass

GRID = 7
"""Rows and columns of cells between which earth is moved: the last stage's map at 224 px, which those before divide."""

LEAST = 1e-12
"""A mass, or a difference of lengths, that is rounding."""


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
    """Return Spearman's ρ between two maps: Pearson's of their ranks, where equal values share their mean rank."""
    a, b = (_ranks(values.ravel()) for values in (before, after))
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts - 1) / 2)[which]


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
    cost = np.linalg.norm(places[give][:, None] - places[take][None], axis=2)
    return _transported(surplus[give], -surplus[take], cost)


def _gathered(values: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Return the map's sums over a grid of cells; a pixel on a border is divided between cells."""
    rows, columns = (_overlap(length, cells) for length, cells in zip(values.shape, grid, strict=True))
    return rows @ values @ columns.T


def _overlap(length: int, cells: int) -> np.ndarray:
    """Return which share of each of ``length`` pixels lies in each cell: (cells, length)."""
    pixels, edges = np.arange(length), np.arange(cells + 1) * (length / cells)
    low, high = np.maximum(pixels, edges[:-1, None]), np.minimum(pixels + 1, edges[1:, None])
    return np.clip(high - low, 0, None)


def _transported(supply: np.ndarray, demand: np.ndarray, cost: np.ndarray) -> float:
    """Return the least cost of carrying all supply (m,) to all demand (n,), of one sum, at a cost (m, n) for each unit.

    Successive shortest paths: the next load goes by the cheapest way there is, which may send back earlier ones.
    """
    flow, supply, demand = np.zeros_like(cost), supply.copy(), demand.copy()
    while (supply > LEAST).any() and (demand > LEAST).any():
        givers, takers = _cheapest_path(supply > LEAST, demand > LEAST, flow > LEAST, cost)
        load = min(supply[givers[0]], demand[takers[-1]], *flow[givers[1:], takers[:-1]])
        flow[givers, takers] += load
        flow[givers[1:], takers[:-1]] -= load
        supply[givers[0]] -= load
        demand[takers[-1]] -= load
    return float((flow * cost).sum())


def _cheapest_path(
    has: np.ndarray, wants: np.ndarray, used: np.ndarray, cost: np.ndarray
) -> tuple[list[int], list[int]]:
    """Return the givers and takers on the way from one that has to one that wants, in turns; by Bellman and Ford."""
    refund = np.where(used, -cost, np.inf)  # a load is sent back from a taker to its giver
    to_giver, to_taker = np.where(has, 0.0, np.inf), np.full(len(wants), np.inf)
    from_taker, from_giver = np.full(len(has), -1), np.full(len(wants), -1)
    better = True
    while better:
        better = _shorten(to_giver[:, None] + cost, to_taker, from_giver)
        better = better and _shorten((to_taker + refund).T, to_giver, from_taker)
    takers = [int(np.where(wants, to_taker, np.inf).argmin())]
    givers = [int(from_giver[takers[0]])]
    while from_taker[givers[0]] >= 0:
        takers.insert(0, int(from_taker[givers[0]]))
        givers.insert(0, int(from_giver[takers[0]]))
    return givers, takers


def _shorten(ways: np.ndarray, length: np.ndarray, origin: np.ndarray) -> bool:
    """Take the shortest of the ways (from, to) to each place where it is shorter than the one known; say if any was."""
    best = ways.argmin(axis=0)
    shorter = ways[best, np.arange(len(length))] < length - LEAST
    length[shorter] = ways[best, np.arange(len(length))][shorter]
    origin[shorter] = best[shorter]
    return bool(shorter.any())
