"""Spatter, the corruption of ImageNet-C that takes a page: drops of water, with an edge that refracts, or of mud."""

import numpy as np

from pmsi.perturbations.filters import gaussian, neighbours
from pmsi.perturbations.row import Factors, noise_of

WATER, MUD = np.array([175.0, 238.0, 238.0]), np.array([63.0, 42.0, 20.0])
"""Pale turquoise and brown, RGB."""

FAR = 20
"""Pixels from the edge of a drop beyond which its relief is flat."""

BOX, RELIEF = np.full((3, 3), 1 / 9), np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])

Constants = tuple[float, float, float, float, float, bool]


def spatter(image: np.ndarray, constants: Constants, factors: Factors) -> np.ndarray:
    """Drops are where noise N(mean, sd), blurred by σ pixels, is above a threshold; then see `_water` and `_mud`."""
    mean, sd, sigma, threshold, amount, is_mud = constants
    liquid = gaussian(noise_of(factors).normal(mean, sd, image.shape[:2]), sigma)
    liquid = np.where(liquid < threshold, 0, liquid)
    return (_mud if is_mud else _water)(image, liquid, amount)


def _mud(image: np.ndarray, liquid: np.ndarray, sigma: float) -> np.ndarray:
    """Cover the image with the drops, blurred by σ, where they are still nearly whole."""
    cover = gaussian((liquid > 0).astype(np.float64), sigma)[..., None]
    cover = np.where(cover < 0.8, 0, cover)
    return image * (1 - cover) + MUD * cover


def _water(image: np.ndarray, liquid: np.ndarray, strength: float) -> np.ndarray:
    """Add the drops, brighter where their relief, lit from one corner, rises from the edge."""
    depth = np.floor(neighbours(edge_distance(liquid > 0), BOX) + 0.5).astype(np.uint8)
    relief = np.rint(neighbours(equalized(depth), RELIEF)).clip(0, 255)
    light = np.floor(255 * liquid) * np.floor(neighbours(relief, BOX) + 0.5)
    return image + WATER * (strength / max(light.max(), 1e-12)) * light[..., None]


def edge_distance(inside: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance of each pixel to the nearest edge pixel (that has another kind beside it below, or
    to the right), at most FAR."""
    edge = np.zeros(inside.shape, bool)
    edge[:-1] |= inside[:-1] != inside[1:]
    edge[:, :-1] |= inside[:, :-1] != inside[:, 1:]
    across = np.where(edge, 0.0, FAR)
    for step in range(1, FAR):  # the distance within the row …
        across[:, step:] = np.minimum(across[:, step:], np.where(edge[:, :-step], step, FAR))
        across[:, :-step] = np.minimum(across[:, :-step], np.where(edge[:, step:], step, FAR))
    nearest = across**2
    for step in range(1, FAR):  # … and the shortest way by any row
        nearest[step:] = np.minimum(nearest[step:], across[:-step] ** 2 + step**2)
        nearest[:-step] = np.minimum(nearest[:-step], across[step:] ** 2 + step**2)
    return np.sqrt(nearest).clip(0, FAR)


def equalized(values: np.ndarray) -> np.ndarray:
    """Return 8-bit values spread so that each part of 0–255 is equally frequent; a single value stays."""
    counts = np.bincount(values.ravel(), minlength=256)
    below = counts.cumsum()
    first = counts[counts > 0][0]
    if first == values.size:
        return values
    return np.rint((below - first).clip(0) * (255 / (values.size - first)))[values]
