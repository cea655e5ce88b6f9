"""The weather of ImageNet-C, on 8-bit images: constants in, values on the 0–255 scale out. Lengths are in pixels."""

from typing import Any

import numpy as np
from PIL import Image

from pmsi.perturbations.filters import GREY, enlarged, motion
from pmsi.perturbations.row import Factors, noise_of, seed_drawn

# Snow


def snow_draw(generator: np.random.Generator, severity: float, size: tuple[int, int]) -> dict[str, Any]:
    """Draw the flakes, and the direction in which they fall, in degrees."""
    return {**seed_drawn(generator, severity, size), "angle": float(generator.uniform(-135, -45))}


def snow(
    image: np.ndarray, constants: tuple[float, float, float, float, int, float, float], factors: Factors
) -> np.ndarray:
    """Whiten the image, and add a layer of falling flakes and the same layer turned by 180°.

    Flakes are noise N(mean, sd), enlarged ``size`` times, without what is below ``least``, smeared along the fall.
    """
    mean, sd, size, least, radius, sigma, kept = constants
    flakes = enlarged(noise_of(factors).normal(mean, sd, image.shape[:2]), size)
    layer = motion(np.where(flakes < least, 0, flakes).clip(0, 1), radius, sigma, factors["angle"])
    layer = np.rint(255 * layer)[..., None]
    white = np.maximum(image, 1.5 * (image @ GREY)[..., None] + 0.5 * 255)
    return kept * image + (1 - kept) * white + layer + np.rot90(layer, 2)


# Frost

FROST_COLOUR, FROST_DEVIATION = np.array([146.0, 167.0, 179.0]), 28.0
"""Mean colour of the five photographs of frost that ImageNet-C lays over images, and their usual deviation."""


def frost(image: np.ndarray, constants: tuple[float, float], factors: Factors) -> np.ndarray:
    """The image, dimmed, plus frost; the frost is drawn."""
    dimmed, added = constants
    return dimmed * image + added * frost_texture(image.shape[:2], noise_of(factors))


def frost_texture(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return a drawn frost (h, w, 3) on the 0–255 scale: sharp ridges of smooth noise, of fine and of coarse grain."""
    h, w = shape
    ridges = np.zeros(shape)
    for cell, weight in ((4, 0.5), (8, 0.7), (16, 1.0), (32, 1.0), (64, 0.7)):
        grid = generator.standard_normal((h // cell + 3, w // cell + 3)).astype(np.float32)
        # A cell more than needed on each side: beyond the middle of the last one nothing would vary.
        box = (1.0, 1.0, 1.0 + w / cell, 1.0 + h / cell)
        smooth = np.asarray(Image.fromarray(grid).resize((w, h), Image.Resampling.BICUBIC, box))
        ridges += weight * np.exp(-4 * np.abs(smooth))
    ridges = (ridges - ridges.mean()) / max(ridges.std(), 1e-9)
    return (FROST_COLOUR + FROST_DEVIATION * ridges[..., None]).clip(0, 255)


# Fog


def fog(image: np.ndarray, constants: tuple[float, float], factors: Factors) -> np.ndarray:
    """Add fog of a density to the image, and scale both back to the brightest value that the image had."""
    density, decay = constants
    h, w = image.shape[:2]
    clouds = plasma(1 << (max(h, w) - 1).bit_length(), decay, noise_of(factors))[:h, :w, None]
    brightest = image.max() / 255
    return (image + 255 * density * clouds) * (brightest / (brightest + density))


def plasma(side: int, decay: float, generator: np.random.Generator) -> np.ndarray:
    """Return a plasma fractal (side, side) from 0 to 1, side a power of two, that continues at its opposite border.

    Diamond–square: points between known ones get their mean and a noise, which is ``decay``² smaller at each level.
    """
    field, step, spread = np.zeros((side, side)), side, 1.0

    def between(total: np.ndarray) -> np.ndarray:
        return total / 4 + generator.uniform(-spread, spread, total.shape)

    while step > 1:
        half = step // 2
        corners, middles = field[::step, ::step], field[half::step, half::step]
        pairs = corners + np.roll(corners, -1, 1)  # a corner and the next in its row
        middles[:] = between(pairs + np.roll(pairs, -1, 0))
        field[::step, half::step] = between(pairs + middles + np.roll(middles, 1, 0))
        columns = corners + np.roll(corners, -1, 0)
        field[half::step, ::step] = between(columns + middles + np.roll(middles, 1, 1))
        step, spread = half, spread / decay**2
    field -= field.min()
    return field / max(field.max(), 1e-12)
