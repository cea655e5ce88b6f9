"""The pointing game and the energy inside a region, of a map and of its baselines.

A map is a numpy array (h, w), finite and at least 0, in any unit. A region is (h, w) bool: an object's box or a part's
mask at the same resolution. A map of zeros counts as a constant one. All measures are from 0 to 1; chance is the
region's share of the image.
"""

from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy import ndimage

from pmsi.base.errors import PMSIError
from pmsi.base.seeding import numpy_generator
from pmsi.explain.measures.baselines import CENTRE, EDGES, centre_map, edge_map, enlarged, random_map

DRAWS = 32
"""Random maps over which the random baseline of one image is averaged."""

MAP, RANDOM = "map", "random"
"""Sources besides EDGES and CENTRE: the map itself, and noise at its resolution."""


def pointing(values: np.ndarray, region: np.ndarray) -> float:
    """Return 1 if the map's peak lies in the region, else 0: the pointing game (Zhang et al., IJCV 2018).

    Of several equal peaks, the share that lies in the region. For a tolerance around the region, see `widened`.
    """
    values, region = _checked(values, region)
    peaks = values == values.max()
    return float(region[peaks].mean())


def energy(values: np.ndarray, region: np.ndarray) -> float:
    """Return the share of the map's sum that lies in the region: the energy-based pointing game (Score-CAM, 2020)."""
    values, region = _checked(values, region)
    return float(mass(values)[region].sum())


def mass(values: np.ndarray) -> np.ndarray:
    """Return the map in float64, scaled to a sum of 1; a map of zeros becomes constant."""
    values = np.asarray(values, dtype=np.float64)
    total = values.sum()
    return values / total if total > 0 else np.full(values.shape, 1 / values.size)


def widened(region: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the pixels whose centre is at most ``tolerance`` ≥ 0 pixels from that of a pixel of the region."""
    if tolerance < 0:
        raise PMSIError(f"tolerance = {tolerance!r}: expected a number of pixels from 0.")
    region = np.asarray(region, dtype=bool)
    if not region.any():
        return region
    near: np.ndarray = ndimage.distance_transform_edt(~region) <= tolerance
    return near


def _checked(values: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, region = np.asarray(values), np.asarray(region, dtype=bool)
    if values.ndim != 2 or values.shape != region.shape:
        raise PMSIError(f"A map {values.shape} and a region {region.shape} do not lie on one grid. Resize one of them.")
    if not np.isfinite(values).all() or (values < 0).any():
        raise PMSIError("A map has a value below 0 or none that is finite: expected what `cam` returns.")
    return values, region


# One map of one image


@dataclass(frozen=True)
class Summary:
    """A map's rows and columns, its smallest, mean and largest values, and the place of its peak.

    ``at`` is (x, y) from the upper left, the centre of a cell in fractions of the sides; None if the map is zero.
    """

    shape: tuple[int, int]
    least: float
    mean: float
    peak: float
    at: tuple[float, float] | None


def summary(stage_map: np.ndarray) -> Summary:
    """Return the summary of a map (h_n, w_n); of several equal peaks, the first in reading order counts."""
    height, width = stage_map.shape
    y, x = divmod(int(stage_map.argmax()), width)
    at = ((x + 0.5) / width, (y + 0.5) / height) if stage_map.any() else None
    return Summary((height, width), float(stage_map.min()), float(stage_map.mean()), float(stage_map.max()), at)


@dataclass(frozen=True)
class RegionScores:
    """``pointing`` and ``energy`` of one source, both in [0, 1]."""

    pointing: float
    energy: float


def region_scores(
    stage_map: np.ndarray, pixels: np.ndarray, region: np.ndarray, *, tolerance: float, key: str, seed: int = 0
) -> dict[str, RegionScores]:
    """Return the scores of a map (h_n, w_n) and of its baselines by source, for a region (side, side) bool.

    ``pixels`` (side, side, 3) uint8 is the image; ``tolerance`` is in its pixels; ``key`` and ``seed`` seed the random
    maps.
    """
    side, wide = len(pixels), widened(region, tolerance)

    def scores(values: np.ndarray) -> RegionScores:
        return RegionScores(pointing(values, wide), energy(values, region))

    generator = numpy_generator("random maps of one image", seed, key)
    shape = (stage_map.shape[0], stage_map.shape[1])
    noise = [scores(enlarged(random_map(shape, generator), side)) for _ in range(DRAWS)]
    return {
        MAP: scores(enlarged(stage_map, side)),
        RANDOM: RegionScores(fmean(one.pointing for one in noise), fmean(one.energy for one in noise)),
        EDGES: scores(edge_map(pixels)),
        CENTRE: scores(centre_map((side, side))),
    }
