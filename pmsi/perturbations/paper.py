"""The perturbations of Table VII: colour jitter, and Gaussian noise in three readings of the paper's sentence."""

from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from pmsi.perturbations.row import LIGHT, NOISE, TABLE_VII, Factors, Perturbation, noise_of, seed_drawn, to_pixels

# Colour jitter

ENHANCERS = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}
"""The enhancers of torchvision's ColorJitter for Pillow images, so that pixels are the same; without hue."""


def _draw_jitter(generator: np.random.Generator, k: float, _size: tuple[int, int]) -> dict[str, Any]:
    order = [list(ENHANCERS)[i] for i in generator.permutation(len(ENHANCERS))]
    values = {name: float(generator.uniform(max(0.0, 1 - k), 1 + k)) for name in ENHANCERS}
    return {"order": order, **values}


def _apply_jitter(image: np.ndarray, _k: float, factors: Factors) -> np.ndarray:
    enhanced = Image.fromarray(image)
    for name in factors["order"]:
        enhanced = ENHANCERS[name](enhanced).enhance(factors[name])
    return np.array(enhanced)


# Gaussian noise


def noisy(image: np.ndarray, sigma: float, factors: Factors, channels: int = 3) -> np.ndarray:
    """Return x + N(0, σ²) as float32, not rounded or clipped; ``channels`` is 3, or 1 for grey noise."""
    noise = noise_of(factors).standard_normal((*image.shape[:2], channels), dtype=np.float32)
    return image + np.float32(sigma) * noise


def _apply_legacy(image: np.ndarray, sigma: float, factors: Factors) -> np.ndarray:
    """Apply the widely copied snippet ``AddGaussianNoise(mean, variance, amplitude)``.

    It adds amplitude × N(mean, variance), the same for the three channels, clips at 255 but not at 0, and casts to
    uint8: fractions are truncated, and −1 becomes 255, so dark pixels turn white. The cast is explicit here, because
    casting a negative float is undefined in C. σ is amplitude × variance.
    """
    values = np.trunc(np.minimum(noisy(image, sigma, factors, channels=1), 255))
    return (values.astype(np.int32) % 256).astype(np.uint8)


_NOISE: dict[str, Any] = {
    "family": TABLE_VII,
    "effect": NOISE,
    "symbol": "σ",
    "unit": "grey levels of 255",
    "maximum": 128.0,
    "levels": (5.0, 10.0, 20.0, 40.0),
    "paper": 5.0,
    "drawn": seed_drawn,
}

ROWS: dict[str, Perturbation] = {
    "color_jitter": Perturbation(
        title="Colour jitter",
        family=TABLE_VII,
        effect=LIGHT,
        symbol="k",
        unit="fraction of the original",
        maximum=1.0,
        levels=(0.25, 0.5, 0.75, 1.0),
        paper=1.0,
        help="Brightness, contrast and saturation of the cropped 8-bit image, in random order, each times a factor "
        "drawn uniformly from [1 − k, 1 + k]; hue is untouched.",
        drawn=_draw_jitter,
        applied=_apply_jitter,
    ),
    "gaussian_noise": Perturbation(
        title="Gaussian noise",
        help="N(0, σ²) added to every pixel and channel of the cropped 8-bit image on its own, σ in grey levels of "
        "255, then rounded and clipped.",
        applied=lambda image, sigma, factors: to_pixels(noisy(image, sigma, factors)),
        **_NOISE,
    ),
    "gaussian_noise_mono": Perturbation(
        title="Gaussian noise, grey",
        help="N(0, σ²) added to every pixel of the cropped 8-bit image, one value for its three channels, σ in grey "
        "levels of 255, then rounded and clipped.",
        applied=lambda image, sigma, factors: to_pixels(noisy(image, sigma, factors, channels=1)),
        **_NOISE,
    ),
    "gaussian_noise_legacy": Perturbation(
        title="Gaussian noise, legacy snippet",
        help="Grey noise as a widely copied snippet adds it to the cropped 8-bit image, σ in grey levels of 255: cut "
        "at 255, truncated, and negative values wrapped to bright ones.",
        applied=_apply_legacy,
        **_NOISE,
    ),
}
