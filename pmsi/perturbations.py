"""PERTURBATIONS: what Table VII does to a test image, each drawn once per image and the same for every model.

A perturbation acts on the 8-bit RGB image after resize and crop, before normalisation. It has two halves: ``draw``
makes a few numbers from a generator (storable, replayable), ``apply`` changes pixels by them and by nothing else. The
draw depends on the perturbation, its severity, a base seed and the image's key alone, so neither batch size nor order,
workers or device can change a pixel. This module does not know data sets or models, and imports no torch.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageEnhance

from pmsi.errors import ConfigError, ImageError, lookup
from pmsi.seeding import numpy_generator

Factors = Mapping[str, Any]
"""What was drawn for one image, as JSON types."""

Draw = Callable[[np.random.Generator, float, tuple[int, int]], dict[str, Any]]
Apply = Callable[[np.ndarray, float, Factors], np.ndarray]
ImageOrArray = TypeVar("ImageOrArray", Image.Image, np.ndarray)

NOISE_SEEDS = 2**53
"""Noise seeds are below this: the largest range of whole numbers that every reader of JSON keeps exactly."""


@dataclass(frozen=True)
class Perturbation:
    """A row of PERTURBATIONS.

    ``symbol`` and ``unit`` name the severity, which is from 0 (no change, for every row) to ``maximum``; ``levels`` are
    the severities of a sweep by default, ``paper`` is that of Table VII. ``drawn`` is (generator, severity, (width,
    height)) → factors; ``applied`` is (uint8 array (height, width, 3), severity > 0, factors) → a new array like it.
    """

    title: str
    symbol: str
    unit: str
    maximum: float
    levels: tuple[float, ...]
    paper: float
    help: str
    drawn: Draw
    applied: Apply

    def check(self, severity: float) -> float:
        """Return the severity as a float, or raise ConfigError that names the range."""
        number = isinstance(severity, Real) and not isinstance(severity, bool)
        if not number or not 0 <= severity <= self.maximum:  # NaN compares false
            raise ConfigError(
                f"Severity {self.symbol} = {severity!r} of {self.title.lower()}: expected a number from 0 to "
                f"{self.maximum:g} ({self.unit}); the paper's is {self.paper:g}."
            )
        return float(severity)

    def draw(self, generator: np.random.Generator, severity: float, size: tuple[int, int]) -> dict[str, Any]:
        """Return the factors of one image of ``size`` (width, height) in pixels."""
        return self.drawn(generator, self.check(severity), size)

    def apply(self, image: ImageOrArray, severity: float, factors: Factors) -> ImageOrArray:
        """Return a perturbed copy of an RGB image, or of a uint8 array (height, width, 3); raises ImageError."""
        severity = self.check(severity)
        if isinstance(image, Image.Image):
            if image.mode != "RGB":
                raise ImageError(f"An image of mode {image.mode} cannot be perturbed: convert it to RGB first.")
            return Image.fromarray(self.apply(np.asarray(image), severity, factors))
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ImageError(
                f"An array of {image.dtype} {image.shape} cannot be perturbed: expected uint8 (height, width, 3)."
            )
        return self.applied(image, severity, factors) if severity else image.copy()


# Colour jitter

ENHANCERS = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}
"""What torchvision's ColorJitter calls for a Pillow image, so the pixels are the same; hue is left alone."""


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


def _draw_noise(generator: np.random.Generator, _sigma: float, _size: tuple[int, int]) -> dict[str, Any]:
    return {"noise_seed": int(generator.integers(NOISE_SEEDS))}


def _noisy(image: np.ndarray, sigma: float, factors: Factors, channels: int) -> np.ndarray:
    """Return x + N(0, σ²) as float32, not yet in pixel range; one noise value for each of ``channels`` channels."""
    noise = np.random.default_rng(factors["noise_seed"])
    return image + np.float32(sigma) * noise.standard_normal((*image.shape[:2], channels), dtype=np.float32)


def _to_pixels(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _apply_noise(image: np.ndarray, sigma: float, factors: Factors) -> np.ndarray:
    return _to_pixels(_noisy(image, sigma, factors, channels=3))


def _apply_mono(image: np.ndarray, sigma: float, factors: Factors) -> np.ndarray:
    return _to_pixels(_noisy(image, sigma, factors, channels=1))


def _apply_legacy(image: np.ndarray, sigma: float, factors: Factors) -> np.ndarray:
    """The widely copied ``AddGaussianNoise(mean, variance, amplitude)``.

    It adds amplitude × N(mean, variance) of one value for the three channels, cuts at 255 but not at 0, and casts to
    uint8: fractions are dropped towards 0, and −1 becomes 255, so dark pixels flash white. The cast is written out
    here, because that of a negative float is undefined in C. σ stands for amplitude × variance.
    """
    values = np.trunc(np.minimum(_noisy(image, sigma, factors, channels=1), 255))
    return (values.astype(np.int32) % 256).astype(np.uint8)


_NOISE: dict[str, Any] = {
    "symbol": "σ",
    "unit": "grey levels of 255",
    "maximum": 128.0,
    "levels": (5.0, 10.0, 20.0, 40.0),
    "paper": 5.0,
    "drawn": _draw_noise,
}

PERTURBATIONS: dict[str, Perturbation] = {
    "color_jitter": Perturbation(
        title="Colour jitter",
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
        applied=_apply_noise,
        **_NOISE,
    ),
    "gaussian_noise_mono": Perturbation(
        title="Gaussian noise, grey",
        help="N(0, σ²) added to every pixel of the cropped 8-bit image, one value for its three channels, σ in grey "
        "levels of 255, then rounded and clipped.",
        applied=_apply_mono,
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


def draw(name: str, severity: float, size: tuple[int, int], *, seed: int, key: str) -> dict[str, Any]:
    """Return the factors for the image ``key`` of ``size`` (width, height): those that `perturb` would apply."""
    row = lookup("perturbation", PERTURBATIONS, name)
    severity = row.check(severity)
    return row.draw(numpy_generator("perturbation", name, severity, seed, key), severity, size)


def perturb(
    image: ImageOrArray, name: str, severity: float, *, seed: int, key: str
) -> tuple[ImageOrArray, dict[str, Any]]:
    """Return the perturbed image and the factors that were drawn for it.

    ``image`` is RGB, resized and cropped, as a Pillow image or as a uint8 array (height, width, 3); ``key`` is its
    identity within its data set. Severity 0 gives the same pixels. Raises `UnknownName`, `ConfigError` (severity out of
    range) or `ImageError` (not 8-bit RGB).
    """
    size = image.size if isinstance(image, Image.Image) else (image.shape[1], image.shape[0])
    factors = draw(name, severity, size, seed=seed, key=key)
    return PERTURBATIONS[name].apply(image, severity, factors), factors


def pixel_hash(image: Image.Image | np.ndarray) -> str:
    """Return 16 hexadecimal digits that tell whether two images of one size have the same pixels."""
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).hexdigest()
