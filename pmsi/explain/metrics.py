"""Where a map looks, in numbers: the pointing game, and the energy inside a region; and the maps that know nothing.

A map is (h, w) in numpy, finite and at least 0, in any unit; a region is (h, w) bool, an object's box or a part's mask
on the same grid. A map without any evidence counts as an even one: it points everywhere, and its energy lies wherever
there is area. So every number here is from 0 to 1, and chance is the region's share of the image. This module does not
know what made a map or a region.
"""

import numpy as np

from pmsi.base.errors import PMSIError
from pmsi.perturbations.imagenet_c import GREY


def pointing(values: np.ndarray, region: np.ndarray) -> float:
    """Return 1 where the map's peak lies in the region and 0 elsewhere: the pointing game (Zhang et al., IJCV 2018).

    Of equal peaks each counts alike: the answer is the share of them that lies in the region. A tolerance around the
    region is `widened`'s affair.
    """
    values, region = _checked(values, region)
    peaks = values == values.max()
    return float(region[peaks].mean())


def energy(values: np.ndarray, region: np.ndarray) -> float:
    """Return the share of the map's sum that lies in the region: the energy-based pointing game (Score-CAM, 2020)."""
    values, region = _checked(values, region)
    return float(mass(values)[region].sum())


def mass(values: np.ndarray) -> np.ndarray:
    """Return the map in float64, scaled to a sum of 1; a blank one becomes even."""
    values = np.asarray(values, dtype=np.float64)
    total = values.sum()
    return values / total if total > 0 else np.full(values.shape, 1 / values.size)


def widened(region: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the region and all pixels whose centre is at most ``tolerance`` ≥ 0 pixels from that of one of its own."""
    if tolerance < 0:
        raise PMSIError(f"tolerance = {tolerance!r}: expected a number of pixels from 0.")
    reach = int(tolerance)
    height, width = region.shape
    framed = np.pad(np.asarray(region, dtype=bool), ((reach, reach), (reach + 1, reach)))
    before = framed.cumsum(axis=1)  # how many of the region lie to the left, itself included
    found = np.zeros((height, width), dtype=bool)
    for dy in range(-reach, reach + 1):
        half = int(np.sqrt(tolerance**2 - dy**2))
        rows = before[reach + dy : reach + dy + height]
        last, first = rows[:, 1 + reach + half :][:, :width], rows[:, reach - half :][:, :width]
        found |= last > first
    return found


def _checked(values: np.ndarray, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, region = np.asarray(values), np.asarray(region, dtype=bool)
    if values.ndim != 2 or values.shape != region.shape:
        raise PMSIError(f"A map {values.shape} and a region {region.shape} do not lie on one grid. Resize one of them.")
    if not np.isfinite(values).all() or (values < 0).any():
        raise PMSIError("A map has a value below 0 or none that is finite: expected what `cam` returns.")
    return values, region


# Maps that know nothing: the floors of every number


def random_map(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return even noise in [0, 1): of a stage's own shape, to be resized as its map is."""
    return generator.random(shape)


def centre_map(shape: tuple[int, int]) -> np.ndarray:
    """Return a map that points at the middle of the image, as most photographers do: 1 in its middle pixels, else 0."""
    (height, width), values = shape, np.zeros(shape)
    values[(height - 1) // 2 : height // 2 + 1, (width - 1) // 2 : width // 2 + 1] = 1
    return values


def edge_map(pixels: np.ndarray) -> np.ndarray:
    """Return how strong the edges of an image (h, w, 3) uint8 are: the length of the Sobel gradient of its brightness.

    In grey levels for each pixel of distance, times 8; border pixels are repeated outwards.
    """
    grey = np.pad(pixels @ GREY, 1, mode="edge")
    down = grey[2:] - grey[:-2]
    right = grey[:, 2:] - grey[:, :-2]
    vertical = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    horizontal = right[:-2] + 2 * right[1:-1] + right[2:]
    return np.hypot(vertical, horizontal)
