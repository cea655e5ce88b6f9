"""Effects of cameras and the web: JPEG compression, low resolution, rotation, occlusion.

Severities increase with the damage, so those of JPEG and resolution are the quality and the pixels that are lost.
"""

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from pmsi.perturbations.row import CAPTURE, COMPRESSION, GEOMETRY, Factors, Perturbation, nothing_drawn

GRID = 8
"""Rows and columns of the grid of occluding patches."""

FILL = np.array([124, 116, 104], np.uint8)
"""ImageNet's mean colour, about 0 after normalisation."""


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Return an image after JPEG compression with a quality from 1 to 100, 4:2:0 as is Pillow's default."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    with Image.open(file) as encoded:
        return np.array(encoded)


def _downsampled(image: np.ndarray, lost: float, _factors: Factors) -> np.ndarray:
    picture, kept = Image.fromarray(image), 1 - lost
    w, h = picture.size
    small = picture.resize((max(1, round(w * kept)), max(1, round(h * kept))), Image.Resampling.BILINEAR)
    return np.array(small.resize((w, h), Image.Resampling.BILINEAR))


def _rotated(image: np.ndarray, _most: float, factors: Factors) -> np.ndarray:
    h, w = image.shape[:2]
    room = math.ceil((math.hypot(h, w) - min(h, w)) / 2) + 2  # enough to fill the corners at any angle
    wide = Image.fromarray(np.pad(image, ((room, room), (room, room), (0, 0)), "symmetric"))
    turned = wide.rotate(factors["angle"], Image.Resampling.BILINEAR)
    return np.asarray(turned)[room : room + h, room : room + w].copy()


def _draw_cells(generator: np.random.Generator, share: float, _size: tuple[int, int]) -> dict[str, Any]:
    cells = generator.permutation(GRID * GRID)[: math.ceil(share * GRID * GRID)]
    return {"cells": sorted(cells.tolist())}


def _occluded(image: np.ndarray, _share: float, factors: Factors) -> np.ndarray:
    h, w = image.shape[:2]
    covered = np.isin(np.arange(GRID * GRID), factors["cells"]).reshape(GRID, GRID)
    where = covered[np.ix_(np.arange(h) * GRID // h, np.arange(w) * GRID // w)]
    return np.where(where[..., None], FILL, image)


ROWS: dict[str, Perturbation] = {
    "jpeg": Perturbation(
        title="JPEG",
        family=CAPTURE,
        effect=COMPRESSION,
        symbol="100 − q",
        unit="points of quality lost",
        maximum=99.0,
        levels=(50.0, 70.0, 80.0, 90.0, 95.0),
        whole=True,
        help="The cropped 8-bit image encoded as JPEG of quality q and decoded: 50 is q = 50, 95 is q = 5.",
        drawn=nothing_drawn,
        applied=lambda image, lost, _: jpeg(image, 100 - int(lost)),
    ),
    "resolution": Perturbation(
        title="Resolution",
        family=CAPTURE,
        effect=COMPRESSION,
        symbol="ρ",
        unit="share of each side's pixels lost",
        maximum=0.98,
        levels=(0.25, 0.5, 0.75, 0.875),
        help="The cropped 8-bit image shrunk to 1 − ρ of each side and enlarged again, both times linearly and, where "
        "it shrinks, averaging.",
        drawn=nothing_drawn,
        applied=_downsampled,
    ),
    "rotation": Perturbation(
        title="Rotation",
        family=CAPTURE,
        effect=GEOMETRY,
        symbol="α",
        unit="degrees",
        maximum=180.0,
        levels=(10.0, 20.0, 45.0, 90.0),
        help="The cropped 8-bit image turned about its centre by an angle drawn uniformly from [−α, α]; what comes in "
        "at the corners is its mirror image.",
        drawn=lambda generator, most, _: {"angle": float(generator.uniform(-most, most))},
        applied=_rotated,
    ),
    "occlusion": Perturbation(
        title="Occlusion",
        family=CAPTURE,
        effect=GEOMETRY,
        symbol="a",
        unit="share of the area",
        maximum=1.0,
        levels=(0.1, 0.25, 0.5, 0.75),
        help=f"Cells of a {GRID} × {GRID} grid over the cropped 8-bit image, drawn until they cover the share a, in "
        "ImageNet's mean colour.",
        drawn=_draw_cells,
        applied=_occluded,
    ),
}
