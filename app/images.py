"""Pixels → encoded bytes, and the pictures that are made of pixels: overlays of maps, their colour bar.

Pictures are encoded here, once, because Streamlit would encode arrays again and more slowly. Nothing here knows of
models or pages.
"""

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

JPEG_QUALITY = 88

INFERNO = "000004 0d0829 280b53 470b6a 65156e 82206c 9f2a63 bc3754 d44842 e8602d f57d15 fc9f07 fac228 f3e55d fcffa4"
"""Fifteen even steps of inferno, a perceptually uniform map: lightness grows evenly from black to pale yellow."""


def jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Return a picture as JPEG, for the screen."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    """Return a picture as PNG, for downloads: every pixel as it is."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()


def enlarged(image: Image.Image, side: int) -> Image.Image:
    """Return a square picture that is at least ``side`` pixels wide."""
    return image if image.width >= side else image.resize((side, side), Image.Resampling.BICUBIC)


def _table() -> np.ndarray:
    """Return the colour map as (256, 3) float32 in 0–255."""
    steps = np.array([[int(color[i : i + 2], 16) for i in (0, 2, 4)] for color in INFERNO.split()], dtype=np.float32)
    at = np.linspace(0, len(steps) - 1, 256)
    return np.stack([np.interp(at, np.arange(len(steps)), steps[:, c]) for c in range(3)], axis=1).astype(np.float32)


TABLE = _table()


def colored(values: np.ndarray) -> np.ndarray:
    """Return (h, w) values in 0–1 as (h, w, 3) float32 colours in 0–255."""
    return TABLE[np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)]


def overlay(image: Image.Image, values: np.ndarray, strength: float) -> Image.Image:
    """Lay a map of values in 0–1, (h_n, w_n) at its own resolution, over a picture; ``strength`` 0–1 is its opacity."""
    heat = Image.fromarray(np.clip(values, 0, 1).astype(np.float32)).resize(image.size, Image.Resampling.BICUBIC)
    mixed = np.asarray(image, dtype=np.float32) * (1 - strength) + colored(np.asarray(heat)) * strength
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def scaled(maps: Mapping[str, np.ndarray], common: bool) -> tuple[dict[str, np.ndarray], dict[str, float]]:
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
