"""`Perturbation`, the type of a row of PERTURBATIONS: its severities, its draw, and its change of pixels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from pmsi.base.errors import ConfigError, ImageError

Factors = Mapping[str, Any]
"""The factors drawn for one image, as JSON types: floats are quantities (an angle, a gain), integers are not."""

Draw = Callable[[np.random.Generator, float, tuple[int, int]], dict[str, Any]]
Apply = Callable[[np.ndarray, float, Factors], np.ndarray]
ImageOrArray = TypeVar("ImageOrArray", Image.Image, np.ndarray)

TABLE_VII, IMAGENET_C, EXTRA, CAPTURE = "Table VII", "ImageNet-C", "ImageNet-C, extra", "Capture"
"""Families of rows: the paper's, ImageNet-C's fifteen, its four for validation, and effects of cameras and the web."""

LIGHT, NOISE, BLUR = "Light", "Noise", "Blur"
WEATHER, COMPRESSION, GEOMETRY = "Weather", "Compression", "Geometry"
EFFECTS = (LIGHT, NOISE, BLUR, WEATHER, COMPRESSION, GEOMETRY)
"""What a perturbation does to an image: the groups in which rows are offered and reported."""

NOISE_SEEDS = 2**53
"""Noise seeds are below this, so that every JSON reader keeps them exactly."""


@dataclass(frozen=True)
class Perturbation:
    """A row of PERTURBATIONS.

    ``symbol`` and ``unit`` name the severity, which is from 0 (no change) to ``maximum``, a whole number if ``whole``.
    ``levels`` are the default severities of a sweep; ``paper`` is the severity of Table VII, or 0 if it has none.
    ``family`` is where a row is from, ``effect`` is one of EFFECTS. ``drawn`` is (generator, severity, (width, height))
    → factors; it takes the same numbers from the generator at each severity, so that one draw can be scaled.
    ``applied`` is (uint8 array (height, width, 3), severity > 0, factors) → a new array of the same shape.
    """

    title: str
    family: str
    effect: str
    symbol: str
    unit: str
    maximum: float
    levels: tuple[float, ...]
    help: str
    drawn: Draw
    applied: Apply
    paper: float = 0.0
    whole: bool = False

    def check(self, severity: float) -> float:
        """Return the severity as a float; ConfigError, with the range, if it is not allowed."""
        number = isinstance(severity, Real) and not isinstance(severity, bool)
        if number and 0 <= severity <= self.maximum and not (self.whole and severity % 1):  # NaN compares false
            return float(severity) + 0.0  # −0.0 becomes 0.0, because the severity is printed and seeds the draw
        kind = "whole number" if self.whole else "number"
        papers = f"; the paper's is {self.paper:g}" if self.paper else ""
        raise ConfigError(
            f"Severity {self.symbol} = {severity!r} of {self.title[0].lower()}{self.title[1:]}: expected a {kind} from "
            f"0 to {self.maximum:g} ({self.unit}){papers}."
        )

    def draw(self, generator: np.random.Generator, severity: float, size: tuple[int, int]) -> dict[str, Any]:
        """Return the factors of one image of ``size`` (width, height) in pixels."""
        return self.drawn(generator, self.check(severity), size)

    def apply(self, image: ImageOrArray, severity: float, factors: Factors) -> ImageOrArray:
        """Return a perturbed copy of an RGB image or uint8 array (height, width, 3); ImageError for others."""
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


def nothing_drawn(_generator: np.random.Generator, _severity: float, _size: tuple[int, int]) -> dict[str, Any]:
    """Return no factors, for rows that depend only on the severity."""
    return {}


def seed_drawn(generator: np.random.Generator, _severity: float, _size: tuple[int, int]) -> dict[str, Any]:
    """Draw the seed of a noise, which itself would be too large to store."""
    return {"noise_seed": int(generator.integers(NOISE_SEEDS))}


def noise_of(factors: Factors) -> np.random.Generator:
    """Return the generator of the noise, seeded by `seed_drawn`."""
    return np.random.default_rng(factors["noise_seed"])


def to_pixels(values: np.ndarray) -> np.ndarray:
    """Return values on the 0–255 scale as uint8, rounded and clipped."""
    return np.rint(values).clip(0, 255).astype(np.uint8, order="C")
