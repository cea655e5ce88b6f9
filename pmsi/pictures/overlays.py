"""Maps over images: colours, common scales for several maps, and outlines of regions.

A map is (h_n, w_n) at a stage's own resolution, at least 0, not normalised. A region is (h, w) bool.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from pmsi.base.errors import PMSIError, lookup

STRENGTH = 0.55
"""Default opacity of a map, 0–1."""

DARKEST, BRIGHTEST = 0.2, 0.6
"""Brightness of black and of white in the image below a map, 0–1. With a wider range, bright photos shift the map's
colours out of the colour bar, and dark ones hide what is on them."""


@dataclass(frozen=True)
class ColorScale:
    """A row of COLOR_SCALES: maps that agree in the first ``shared`` of (image, model, stage) have a common scale."""

    shared: int
    words: str


COLOR_SCALES: dict[str, ColorScale] = {
    "map": ColorScale(3, "each map up to its own peak"),
    "image": ColorScale(2, "a model's maps of an image up to the largest of their peaks"),
    "all": ColorScale(0, "all maps up to the largest of their peaks"),
}
"""Which maps share a colour scale, and the caption for it."""


def ceilings(rows: Sequence[Sequence[Mapping[str, np.ndarray]]], scale: str) -> dict[tuple[int, int, str], float]:
    """Return the value at which the colours of each map end, by (image, model, stage); 1 if all maps are zero.

    ``rows`` are maps by stage of each model, of each image; ``scale`` is a key of COLOR_SCALES.
    """
    shared = lookup("scale", COLOR_SCALES, scale).shared
    peaks = {
        (i, j, stage): float(values.max(initial=0.0))
        for i, row in enumerate(rows)
        for j, maps in enumerate(row)
        for stage, values in maps.items()
    }
    tops: dict[tuple, float] = {}
    for key, peak in peaks.items():
        tops[key[:shared]] = max(peak, tops.get(key[:shared], 0.0))
    return {key: tops[key[:shared]] or 1.0 for key in peaks}


def tops_of(maps: Mapping[str, np.ndarray], scale: str = "map") -> dict[str, float]:
    """Return the value at which the colours of each stage's map of one image end; see `ceilings`."""
    return {stage: top for (_, _, stage), top in ceilings([[maps]], scale).items()}


def peak_words(values: np.ndarray) -> str:
    """Return the caption with a map's peak."""
    return f"peak {values.max():.3g}" if values.any() else "no positive evidence"


# Colours


@cache
def table() -> np.ndarray:
    """Return matplotlib's perceptually uniform colour map inferno as (256, 3) float32 in 0–255."""
    from matplotlib import colormaps  # here, because it takes 0.2 s

    return (colormaps["inferno"](np.arange(256))[:, :3] * 255).astype(np.float32)


def colored(values: np.ndarray) -> np.ndarray:
    """Return (h, w) values in 0–1 as (h, w, 3) float32 colours in 0–255."""
    return table()[np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)]


def overlay(
    image: Image.Image, values: np.ndarray, top: float | None = None, strength: float = STRENGTH
) -> Image.Image:
    """Return a map laid over its image, of the image's size.

    Colours run from 0 to ``top``, by default the map's peak. ``strength`` (0–1) is the opacity of the map. The image
    below becomes grey of one brightness, nearly, so that the map's colours can be read off the colour bar.
    """
    unit = np.clip(values / (top or values.max(initial=0.0) or 1.0), 0, 1).astype(np.float32)
    heat = np.asarray(Image.fromarray(unit).resize(image.size, Image.Resampling.BICUBIC))
    mixed = _dimmed(image, strength) * (1 - strength) + colored(heat) * strength
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _dimmed(image: Image.Image, strength: float) -> np.ndarray:
    """Return the image below a map, (h, w, 3) float32: itself at strength 0, a narrow range of grey from 0.5 on."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32)
    luma = np.asarray(image.convert("L"), dtype=np.float32)[..., None]  # BT.601's
    grey = 255 * DARKEST + luma * (BRIGHTEST - DARKEST)
    return pixels + (grey - pixels) * min(1.0, 2 * strength)


def color_bar(width: int = 256, height: int = 10, strength: float = 1.0) -> Image.Image:
    """Return the colours from 0 (left) to the peak (right), with opacity ``strength`` over middle grey."""
    ramp = np.linspace(0, 1, width, dtype=np.float32)[None].repeat(height, axis=0)
    return overlay(Image.new("RGB", (width, height), "#808080"), ramp, 1.0, strength)


# Outlines

Line = tuple[float, float, float, float]
"""x and y of both ends, in fractions of the picture's sides; x to the right, y down."""

WHITE, SHADOW = "#ffffff", "#10141a"
"""A light line on a dark one is visible on any picture."""


def borders(region: np.ndarray) -> list[Line]:
    """Return the horizontal, then the vertical lines of a region's exact outline, each as long as possible."""
    if region.ndim != 2:
        raise PMSIError(f"A region of shape {region.shape} has no outline: expected (h, w).")
    height, width = region.shape
    framed = np.pad(np.asarray(region, dtype=bool), 1)
    across = framed[1:, 1:-1] != framed[:-1, 1:-1]  # (h + 1, w): a border above pixel (y, x)
    down = framed[1:-1, 1:] != framed[1:-1, :-1]  # (h, w + 1): a border left of pixel (y, x)
    lines = [(a / width, y / height, b / width, y / height) for y, a, b in _runs(across)]
    return lines + [(x / width, a / height, x / width, b / height) for x, a, b in _runs(down.T)]


def _runs(marks: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield (row, first, end) of each run of True in a row of ``marks``."""
    steps = np.diff(np.pad(marks, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    for (row, first), (_, end) in zip(np.argwhere(steps == 1), np.argwhere(steps == -1), strict=True):
        yield int(row), int(first), int(end)


def box_lines(region: np.ndarray, margin: float = 0.02) -> list[Line]:
    """Return the four lines of the box around a region, ``margin`` of the sides away from it; none if it is empty."""
    if not region.any():
        return []
    ys, xs = np.nonzero(region)
    left, right = max(0.0, xs.min() / region.shape[1] - margin), min(1.0, (xs.max() + 1) / region.shape[1] + margin)
    top, bottom = max(0.0, ys.min() / region.shape[0] - margin), min(1.0, (ys.max() + 1) / region.shape[0] + margin)
    return rectangle(left, top, right, bottom)


def rectangle(left: float, top: float, right: float, bottom: float) -> list[Line]:
    """Return the four lines around a rectangle, the horizontal ones first."""
    across, down = ((left, y, right, y) for y in (top, bottom)), ((x, top, x, bottom) for x in (left, right))
    return [*across, *down]


def outlined(picture: Image.Image, region: np.ndarray | None, width: int = 2) -> Image.Image:
    """Return a copy of a picture with a region's outline, ``width`` pixels wide; without a region, a plain copy."""
    drawn = picture.copy()
    if region is not None:
        draw_lines(drawn, borders(region), WHITE, width)
    return drawn


def draw_lines(onto: Image.Image, lines: Sequence[Line], color: str, width: int) -> None:
    """Draw lines with square ends onto a picture, ``width`` pixels wide, with an edge of SHADOW around them."""
    draw = ImageDraw.Draw(onto)
    for stroke, wide in ((SHADOW, width + 2), (color, width)):
        half = wide / 2
        for x0, y0, x1, y1 in lines:
            corner = x0 * onto.width - half, y0 * onto.height - half
            opposite = x1 * onto.width + half - 1, y1 * onto.height + half - 1
            draw.rectangle((*corner, *opposite), fill=stroke)
