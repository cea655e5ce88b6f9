"""The noises of ImageNet-C, on 8-bit images: constants in, values on the 0–255 scale out."""

import numpy as np

from pmsi.perturbations.paper import noisy
from pmsi.perturbations.row import Factors, noise_of


def gaussian_noise(image: np.ndarray, sigma: float, factors: Factors) -> np.ndarray:
    """x + N(0, σ²), σ as a fraction of 255."""
    return noisy(image, 255 * sigma, factors)


def shot_noise(image: np.ndarray, photons: float, factors: Factors) -> np.ndarray:
    """A Poisson count about as many photons as the value has of ``photons`` for white, scaled back."""
    return noise_of(factors).poisson(image * (photons / 255)) * (255 / photons)


def impulse_noise(image: np.ndarray, share: float, factors: Factors) -> np.ndarray:
    """A ``share`` of the values, each channel on its own, becomes 0 or 255, as often the one as the other."""
    drawn = noise_of(factors).random(image.shape)
    return np.where(drawn < share / 2, 0, np.where(drawn < share, 255, image))


def speckle_noise(image: np.ndarray, sigma: float, factors: Factors) -> np.ndarray:
    """x + x · N(0, σ²)."""
    return image * (1 + sigma * noise_of(factors).standard_normal(image.shape))
