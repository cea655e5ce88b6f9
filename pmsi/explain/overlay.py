"""Maps as pictures: a colour for each value, laid over the image that the network saw.

It does not know how a map was computed.
"""

from collections.abc import Mapping

import numpy as np
from PIL import Image

INFERNO = bytes.fromhex(
    "000004 0d0829 280b53 470b6a 65156e 82206c 9f2a63 bc3754 d44842 e8602d f57d15 fc9f07 fac228 f3e55d fcffa4"
)
"""Fifteen even steps of inferno, a perceptually uniform map: lightness grows evenly from black to pale yellow."""


def _table() -> np.ndarray:
    """Return the colour map as (256, 3) float32 in 0–255."""
    steps = np.frombuffer(INFERNO, np.uint8).reshape(-1, 3).astype(np.float32)
    at = np.linspace(0, len(steps) - 1, 256)
    return np.stack([np.interp(at, np.arange(len(steps)), steps[:, c]) for c in range(3)], axis=1).astype(np.float32)


TABLE = _table()


def colored(values: np.ndarray) -> np.ndarray:
    """Return (h, w) values in 0–1 as (h, w, 3) float32 colours in 0–255."""
    return TABLE[np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)]


def overlay(image: Image.Image, values: np.ndarray, strength: float = 0.5) -> Image.Image:
    """Lay a map of values in 0–1, (h_n, w_n) at its own resolution, over a picture; ``strength`` 0–1 is its opacity."""
    heat = Image.fromarray(np.clip(values, 0, 1).astype(np.float32)).resize(image.size, Image.Resampling.BICUBIC)
    mixed = np.asarray(image, dtype=np.float32) * (1 - strength) + colored(np.asarray(heat)) * strength
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def scaled(maps: Mapping[str, np.ndarray], common: bool = False) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return maps ≥ 0 divided by their peak, and the peaks; ``common`` divides all by the largest peak.

    A map without any positive value stays empty.
    """
    peaks = {name: float(values.max(initial=0.0)) for name, values in maps.items()}
    largest = max(peaks.values(), default=0.0)
    unit = {name: values / ((largest if common else peaks[name]) or 1.0) for name, values in maps.items()}
    return unit, peaks


def color_bar(width: int = 256, height: int = 10) -> Image.Image:
    """Return the colour map from 0 (left) to its peak (right)."""
    row = colored(np.linspace(0, 1, width)[None])
    return Image.fromarray(np.rint(row).astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST)
