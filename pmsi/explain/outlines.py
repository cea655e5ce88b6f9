"""The outline of a region, as lines: for a picture on the screen, and for a figure in print.

A region is (h, w) bool. Lines follow the borders between its pixels and the others, so that they enclose exactly it; a
box becomes four. This module does not know what a region is of.
"""

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from pmsi.base.errors import PMSIError

Line = tuple[float, float, float, float]
"""x and y of one end, then of the other, in fractions of the picture's sides; x to the right, y down."""

WHITE, SHADOW = "#ffffff", "#10141a"
"""A light line on a dark one: it can be seen on any picture."""


def borders(region: np.ndarray) -> list[Line]:
    """Return the horizontal, then the vertical lines around a region, each as long as it can be."""
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


def outlined(picture: Image.Image, region: np.ndarray | None, width: int = 2) -> Image.Image:
    """Return a copy of a picture with a region's outline, ``width`` pixels wide; without a region, a plain copy."""
    drawn = picture.copy()
    if region is not None:
        box = (0.0, 0.0, float(picture.width), float(picture.height))
        for color, wide in ((SHADOW, width + 2.0), (WHITE, float(width))):
            draw_lines(drawn, borders(region), box, color, wide)
    return drawn


def draw_lines(
    onto: Image.Image, lines: list[Line], box: tuple[float, float, float, float], color: str, width: float
) -> None:
    """Draw lines that are fractions of ``box`` (left, top, width, height, in pixels), with square ends."""
    draw, (left, top, across, down), half = ImageDraw.Draw(onto), box, width / 2
    for x0, y0, x1, y1 in lines:
        corner = left + x0 * across - half, top + y0 * down - half
        opposite = max(left + x1 * across + half - 1, corner[0]), max(top + y1 * down + half - 1, corner[1])
        draw.rectangle((*corner, *opposite), fill=color)
