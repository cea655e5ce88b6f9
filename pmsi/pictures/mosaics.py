"""Mosaics of one image as pictures: r = 0, 1, 2, … side by side, and the recursion as an animation.

The layouts are nested: each picture cuts one patch of the picture before it, as in Fig. 3.
"""

from collections.abc import Sequence
from math import log2

import numpy as np
import torch
from PIL import Image, ImageDraw

from pmsi.augment.mosaic import Layout, Recursion, apply, check_divisible, plan
from pmsi.base.seeding import derive
from pmsi.config import resize_for
from pmsi.data.preprocessing import centre_crop, resize, to_picture
from pmsi.pictures import encoding
from pmsi.pictures.encoding import Frame
from pmsi.pictures.overlays import SHADOW
from pmsi.pictures.sheets import side_by_side

COLORS: tuple[str, ...] = ("#ff8e00", "#0ab0ff", "#d24be0")
"""Colours of the borders of recursion 1, 2, 3; deeper recursions start over."""

MOVING = 7
"""Frames from one place of a patch to the next."""
MOVING_MS, HELD_MS, LAST_MS = 45, 900, 2200
"""Durations in ms of a frame with moving patches, of a step, and of the last step."""


def square(image: Image.Image, size: int) -> Image.Image:
    """Return the image prepared like a test image: resized to a square, then centre-cropped to ``size``."""
    return Image.fromarray(centre_crop(resize(image.convert("RGB"), resize_for(size)), size))


def layouts(r: int, *, seed: int, permutation: str = "uniform") -> list[Layout]:
    """Return the layouts of one image for 0, 1, …, r recursions, which share their first ones."""
    draw = torch.Generator().manual_seed(derive("preview", seed))
    deepest = plan(1, r, generator=draw, permutation=permutation)
    return [deepest.first(k) for k in range(r + 1)]


def mosaics(
    image: Image.Image,
    r: int = 3,
    *,
    seed: int = 0,
    permutation: str = "uniform",
    borders: bool = True,
) -> list[Image.Image]:
    """Return G(image, 0), …, G(image, r) as RGB pictures of the image's size.

    ``borders`` outlines the patches in one colour per recursion (`COLORS`), and frames the block that the next picture
    cuts. Raises ConfigError if 2^r does not divide the image's sides.
    """
    drawn = layouts(r, seed=seed, permutation=permutation)
    pictures = _applied(image, drawn)
    if not borders:
        return pictures
    return [
        marked(picture, layout.recursions(), drawn[-1].recursions()[k] if 0 < k < r else None)
        for k, (picture, layout) in enumerate(zip(pictures, drawn, strict=True))
    ]


def _applied(image: Image.Image, drawn: Sequence[Layout]) -> list[Image.Image]:
    """Return the mosaic of an image for each layout."""
    check_divisible((image.height, image.width), max(layout.r for layout in drawn))
    # Channels last in memory, like Pillow's, so that nothing is rearranged on the way in or out.
    pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).unsqueeze(0)
    return [to_picture(apply(pixels, layout)[0]) for layout in drawn]


def mosaic_strip(
    image: Image.Image,
    r: int = 3,
    *,
    seed: int = 0,
    size: int = 448,
    permutation: str = "uniform",
    borders: bool = True,
) -> Image.Image:
    """Return one picture with r = 0, …, ``r`` side by side, each ``size`` pixels wide and high."""
    check_divisible((size, size), r)
    shown = square(image, size)
    return side_by_side(mosaics(shown, r, seed=seed, permutation=permutation, borders=borders))


# Animation


def frames(
    image: Image.Image, r: int = 3, *, seed: int = 0, permutation: str = "uniform", borders: bool = True
) -> list[Frame]:
    """Return the recursion of a square RGB image as frames of its size, from the image to G(image, r).

    In each recursion the block is framed and cut, then its patches move. The layout is that of `mosaics`. Raises
    ConfigError if 2^r does not divide the image's sides.
    """
    drawn = layouts(r, seed=seed, permutation=permutation)
    pictures, recursions = _applied(image, drawn), drawn[-1].recursions()
    found = [Frame(pictures[0], HELD_MS)]
    for k, recursion in enumerate(recursions):
        before, after = pictures[k], pictures[k + 1]
        outlined = recursions[: k + 1] if borders else []
        found.append(Frame(marked(before, outlined, recursion if k else None), HELD_MS))
        for i in range(1, MOVING):
            t = i / MOVING
            found.append(Frame(_moved(before, recursion, t * t * (3 - 2 * t)), MOVING_MS))  # slow at both ends
        found.append(Frame(marked(after, outlined), LAST_MS if k + 1 == r else HELD_MS))
    return found


def gif(pictures: Sequence[Frame]) -> bytes:
    """Return the frames of a recursion as a GIF file; the borders keep their exact colours."""
    return encoding.gif(pictures, (*COLORS, SHADOW))


def _moved(picture: Image.Image, recursion: Recursion, way: float) -> Image.Image:
    """Return the picture with a block's patches at the share ``way`` of their way; fixed patches are drawn first."""
    left, top, right, bottom = _box(picture, recursion.block)
    half = (right - left) // 2
    places = [(left + half * (place % 2), top + half * (place // 2)) for place in range(4)]
    moved = picture.copy()
    moved.paste(SHADOW, (left, top, right, bottom))
    for to, at in sorted(enumerate(recursion.order), key=lambda pair: pair[0] != pair[1]):
        (x, y), (to_x, to_y) = places[at], places[to]
        patch = picture.crop((x, y, x + half, y + half))
        moved.paste(patch, (round(x + (to_x - x) * way), round(y + (to_y - y) * way)))
    return moved


# Marks


def marked(picture: Image.Image, recursions: Sequence[Recursion], framed: Recursion | None = None) -> Image.Image:
    """Return a copy with the borders of each recursion's four patches, and a frame around the block of ``framed``.

    Each recursion has its own colour of COLORS. The picture outside of the frame is shaded a little.
    """
    drawn = picture.copy()
    for recursion in recursions:
        _cross(drawn, recursion)
    if framed is not None:
        _frame(drawn, framed)
    return drawn


def _frame(picture: Image.Image, recursion: Recursion) -> None:
    left, top, right, bottom = _box(picture, recursion.block)
    shade = Image.new("L", picture.size, 45)
    shade.paste(0, (left, top, right, bottom))
    picture.paste(Image.new("RGB", picture.size, SHADOW), mask=shade)
    color, width = COLORS[_number(recursion) % len(COLORS)], max(3, round(picture.width / 90))
    ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline=color, width=width)


def _cross(picture: Image.Image, recursion: Recursion) -> None:
    """Draw the two borders along which a recursion cuts its block, thinner from one recursion to the next."""
    left, top, right, bottom = _box(picture, recursion.block)
    x, y, number = (left + right) // 2, (top + bottom) // 2, _number(recursion)
    width = max(2, round(picture.width / 160) - number)
    draw = ImageDraw.Draw(picture)
    for color, wide in ((SHADOW, width + 2), (COLORS[number % len(COLORS)], width)):
        draw.line((x, top, x, bottom - 1), fill=color, width=wide)
        draw.line((left, y, right - 1, y), fill=color, width=wide)


def _number(recursion: Recursion) -> int:
    """Return the number of earlier recursions; each halves the side of the block."""
    return round(-log2(recursion.block[2]))


def _box(picture: Image.Image, block: tuple[float, float, float]) -> tuple[int, int, int, int]:
    """Return a block's left, top, right and bottom in pixels, the last two exclusive."""
    x, y, side = block
    left, top = round(x * picture.width), round(y * picture.height)
    return left, top, left + round(side * picture.width), top + round(side * picture.height)
