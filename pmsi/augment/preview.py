"""Mosaics of one image as pictures: r = 0, 1, 2, … beside each other, with the borders of the patches drawn in.

The layouts are nested by default: each picture re-mosaics one patch of the picture before it, as in Fig. 3, so that the
recursion can be seen. This module does not know where an image comes from or where the pictures are shown.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw

from pmsi.augment.mosaic import Layout, Recursion, apply, check_divisible, plan
from pmsi.base.seeding import derive
from pmsi.config import resize_for
from pmsi.data.preprocessing import centre_crop, resize

COLORS: tuple[str, ...] = ("#ff8e00", "#0ab0ff", "#d24be0")
"""The colour of the borders that recursion 1, 2, 3 draws; deeper ones start over."""

SHADOW = "#10141a"


def square(image: Image.Image, size: int) -> Image.Image:
    """Return the image as a test image is prepared: resized to a square, then centre-cropped to ``size``."""
    return Image.fromarray(centre_crop(resize(image.convert("RGB"), resize_for(size)), size))


def layouts(r: int, *, seed: int, permutation: str = "uniform", nested: bool = True) -> list[Layout]:
    """Return the layouts of one image for 0, 1, …, r recursions; nested ones share their first recursions."""

    def drawn(k: int, *name: object) -> Layout:
        return plan(1, k, generator=torch.Generator().manual_seed(derive(*name)), permutation=permutation)

    if nested:
        deepest = drawn(r, "preview", seed)
        return [deepest.first(k) for k in range(r + 1)]
    return [drawn(k, "preview", seed, k) for k in range(r + 1)]


def preview(
    image: Image.Image,
    r: int = 3,
    *,
    seed: int = 0,
    permutation: str = "uniform",
    nested: bool = True,
    borders: bool = True,
) -> list[Image.Image]:
    """Return G(image, 0), …, G(image, r) as RGB pictures of the image's size.

    ``borders`` outlines the patches in one colour for each recursion (`COLORS`), and frames the block that the next
    picture cuts. Raises ConfigError where 2^r does not divide the image's sides.
    """
    check_divisible((image.height, image.width), r)
    # Channels last in memory, as Pillow has them: then nothing is rearranged on the way in or out.
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).unsqueeze(0)
    drawn = layouts(r, seed=seed, permutation=permutation, nested=nested)
    pictures = [Image.fromarray(apply(pixels, layout)[0].permute(1, 2, 0).contiguous().numpy()) for layout in drawn]
    if borders:
        steps = drawn[-1].recursions()
        for k, (picture, layout) in enumerate(zip(pictures, drawn, strict=True)):
            outline(picture, layout.recursions())
            if nested and 0 < k < r:
                frame(picture, steps[k].block, COLORS[k % len(COLORS)])
    return pictures


def outline(picture: Image.Image, recursions: Sequence[Recursion], first: int = 0) -> None:
    """Draw the borders of each recursion's four patches onto the picture; ``first`` numbers the first recursion."""
    width = max(2, round(picture.width / 160))
    for k, recursion in enumerate(recursions, start=first):
        _cross(picture, recursion.block, COLORS[k % len(COLORS)], max(2, width - k))


def frame(picture: Image.Image, block: tuple[float, float, float], color: str) -> None:
    """Frame the block that the next recursion cuts, and shade the rest a little."""
    box = _box(picture, block)
    shade = Image.new("L", picture.size, 45)
    shade.paste(0, box)
    picture.paste(Image.new("RGB", picture.size, SHADOW), mask=shade)
    width = max(3, round(picture.width / 90))
    ImageDraw.Draw(picture).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=color, width=width)


def _box(picture: Image.Image, block: tuple[float, float, float]) -> tuple[int, int, int, int]:
    """Return a block's left, top, right and bottom in pixels, the last two exclusive."""
    x, y, side = block
    left, top = round(x * picture.width), round(y * picture.height)
    return left, top, left + round(side * picture.width), top + round(side * picture.height)


def _cross(picture: Image.Image, block: tuple[float, float, float], color: str, width: int) -> None:
    left, top, right, bottom = _box(picture, block)
    x, y = (left + right) // 2, (top + bottom) // 2
    draw = ImageDraw.Draw(picture)
    for points in ((x, top, x, bottom - 1), (left, y, right - 1, y)):
        draw.line(points, fill=SHADOW, width=width + 2)
    for points in ((x, top, x, bottom - 1), (left, y, right - 1, y)):
        draw.line(points, fill=color, width=width)


def side_by_side(pictures: Sequence[Image.Image], gap: int = 12) -> Image.Image:
    """Return pictures of one size in a row, on white."""
    width, height = pictures[0].size
    row = Image.new("RGB", (len(pictures) * (width + gap) - gap, height), "white")
    for i, picture in enumerate(pictures):
        row.paste(picture, (i * (width + gap), 0))
    return row


def mosaic_strip(
    image: Image.Image,
    r: int = 3,
    *,
    seed: int = 0,
    size: int = 448,
    permutation: str = "uniform",
    nested: bool = True,
    borders: bool = True,
) -> Image.Image:
    """Return one picture with r = 0, …, ``r`` side by side, each ``size`` pixels wide and high."""
    check_divisible((size, size), r)
    shown = square(image, size)
    return side_by_side(preview(shown, r, seed=seed, permutation=permutation, nested=nested, borders=borders))
