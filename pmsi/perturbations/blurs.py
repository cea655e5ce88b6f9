"""The blurs of ImageNet-C, on 8-bit images: constants in, values on the 0–255 scale out. Lengths are in pixels."""

from typing import Any

import numpy as np

from pmsi.perturbations.filters import convolve, enlarged, gaussian, motion
from pmsi.perturbations.row import Factors, noise_of


def defocus_blur(image: np.ndarray, constants: tuple[int, float], _factors: Factors) -> np.ndarray:
    """Blur by a disc of a radius, its rim softened by a Gaussian of σ that is cut to 3×3, or 5×5 above a radius of 8.

    Spaces around the disc hold what the Gaussian spreads, so that no light is lost.
    """
    radius, sigma = constants
    soft = 1 if radius <= 8 else 2
    way = np.arange(-radius - soft, radius + soft + 1)
    disc = (way[:, None] ** 2 + way**2 <= radius**2).astype(np.float64)
    rim = np.exp(-0.5 * (np.arange(-soft, soft + 1) / sigma) ** 2)
    rim /= rim.sum()
    return convolve(image, convolve(disc / disc.sum(), np.outer(rim, rim), "edge"), "reflect")


def glass_blur(image: np.ndarray, constants: tuple[float, int, int], factors: Factors) -> np.ndarray:
    """Blur, swap each pixel with one at most ``reach`` away, so many ``times``, and blur again."""
    sigma, reach, times = constants
    x, generator = gaussian(image, sigma), noise_of(factors)
    for _ in range(times):
        _swap(x, reach, generator)
    return gaussian(x, sigma)


def _swap(x: np.ndarray, reach: int, generator: np.random.Generator) -> None:
    """Swap each pixel that is far enough from the border with one from [−reach, reach) away in both directions.

    Pixels whose neighbourhoods do not touch are swapped at once, and so all of them in (2 · reach + 1)² steps.
    """
    step = 2 * reach + 1
    for top, left in np.ndindex(step, step):
        i, j = np.meshgrid(
            *(np.arange(side - reach - at, reach, -step) for side, at in zip(x.shape, (top, left), strict=False)),
            indexing="ij",
        )
        down, right = generator.integers(-reach, reach, (2, *i.shape))
        x[i, j], x[i + down, j + right] = x[i + down, j + right], x[i, j]


def motion_draw(generator: np.random.Generator, _severity: float, _size: tuple[int, int]) -> dict[str, Any]:
    """Draw the direction of the motion, in degrees."""
    return {"angle": float(generator.uniform(-45, 45))}


def motion_blur(image: np.ndarray, constants: tuple[int, float], factors: Factors) -> np.ndarray:
    """Smear towards the drawn angle; see `motion`."""
    return motion(image, *constants, factors["angle"])


def zoom_blur(image: np.ndarray, constants: tuple[float, int], _factors: Factors) -> np.ndarray:
    """The mean of the image and of ``count`` enlargements: by 1, 1 + step, 1 + 2 · step, …"""
    step, count = constants
    total = image.astype(np.float64)
    for number in range(count):
        total += enlarged(image, 1 + number * step)
    return total / (count + 1)


def gaussian_blur(image: np.ndarray, sigma: float, _factors: Factors) -> np.ndarray:
    """Blur by a Gaussian of σ."""
    return gaussian(image, sigma)
