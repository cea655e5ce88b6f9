"""Channels of a stage over the image, each with the colours of its own range, and a sheet of the strongest ones."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw

from pmsi.explain.stages import StageMap
from pmsi.pictures.overlays import STRENGTH, WHITE, draw_lines, overlay, rectangle
from pmsi.pictures.sheets import INK, enlarged, font, grid

SIDE, FOOT = 160, 22
"""Side of a picture of the sheet, and the height of the line below it, in pixels."""
COLUMNS = 6


def scale_of(values: np.ndarray) -> tuple[float, float]:
    """Return the values at which a channel's colours begin and end: 0, or its least value below; its largest value."""
    low = min(0.0, float(values.min()))
    return low, max(float(values.max()), low)


def channel_overlay(image: Image.Image, values: np.ndarray, strength: float = STRENGTH) -> Image.Image:
    """Return a channel's map (h_n, w_n) over its image, a square of one colour for each cell."""
    low, high = scale_of(values)
    cells = Image.fromarray((values - low).astype(np.float32)).resize(image.size, Image.Resampling.NEAREST)
    return overlay(image, np.asarray(cells), (high - low) or 1.0, strength)


def with_field(picture: Image.Image, sees: tuple[int, int, int, int] | None, side: int) -> Image.Image:
    """Return a copy of a picture of side × side pixels, in whatever size, with the pixels that a cell sees framed."""
    drawn = picture.copy()
    if sees is not None:
        draw_lines(drawn, rectangle(*(edge / side for edge in sees)), WHITE, 2)
    return drawn


def sheet(image: Image.Image, stages: Mapping[str, StageMap], by: str = "peak") -> Image.Image:
    """Return one picture on white: a row for each stage, with the image and its strongest channels over it."""
    rows = []
    for name, stage in stages.items():
        pictures = [_captioned(image, f"{name} · {stage.values.shape[1]} × {stage.values.shape[2]}")]
        for channel in stage.strongest(COLUMNS, by):
            values = stage.channel(channel)
            shown = channel_overlay(enlarged(image, SIDE), values)
            pictures.append(_captioned(shown, f"channel {channel}: {values.max():.3g}"))
        rows.append(pictures)
    return grid(rows, 6)


def _captioned(picture: Image.Image, words: str) -> Image.Image:
    drawn = Image.new("RGB", (SIDE, SIDE + FOOT), "white")
    drawn.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    ImageDraw.Draw(drawn).text((SIDE / 2, SIDE + FOOT / 2), words, INK, font(12), anchor="mm")
    return drawn
