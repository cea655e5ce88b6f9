"""The recursion as it happens: the block that is picked, its four patches on the way to their places, and the next one.

`steps` says where every cell of the finest grid is after each recursion, for whoever moves tiles; `frames` draws the
same as pictures, and `gif` writes them. This module does not know where any of it is shown.
"""

import io
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from PIL import Image, ImageColor

from pmsi.augment.mosaic import Layout, Recursion, check_divisible, source_cells
from pmsi.augment.preview import COLORS, SHADOW, frame, layouts, outline

MOVING = 7
"""Pictures between two places of a patch."""
MOVING_MS, HELD_MS, LAST_MS = 45, 900, 2200
"""How long a picture of patches on the move, of a step, and of the last step is shown."""
SAMPLED = 4
"""Enough for a palette: those of all rows and columns are no better, and take longer."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The recursions of one image, in cells of the finest grid, ``grid`` = 2^r a side, numbered in reading order.

    ``sources[k][cell]`` is the cell of the image that is seen at ``cell`` after k recursions (k = 0, …, r), and
    ``recursions[k]`` is what recursion k + 1 does.
    """

    grid: int
    sources: list[list[int]]
    recursions: list[Recursion]


def steps(layout: Layout) -> Steps:
    """Return the recursions of the first image of a layout."""
    alone = layout[0]
    stay = torch.arange(4).expand_as(alone.orders)
    sources = []
    for k in range(alone.r + 1):
        # Recursions that keep every patch where it is make the grid finer and move nothing.
        orders = torch.cat([alone.orders[:, :k], stay[:, k:]], dim=1)
        sources.append(source_cells(Layout(orders, alone.picks))[0].flatten().tolist())
    return Steps(2**alone.r, sources, alone.recursions())


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the animation and how long it is shown, in milliseconds."""

    picture: Image.Image
    held_ms: int


def frames(
    image: Image.Image, r: int = 3, *, seed: int = 0, permutation: str = "uniform", borders: bool = True
) -> list[Frame]:
    """Return the recursion of a square RGB image as pictures of its size, from the image to G(image, r).

    For each recursion the block is framed and cut, then its patches move. The layout is that of `preview`. Raises
    ConfigError where 2^r does not divide the image's sides.
    """
    check_divisible((image.height, image.width), r)
    image = image.convert("RGB")
    layout = layouts(r, seed=seed, permutation=permutation)[-1]
    course = steps(layout)
    cells = _cells(image, course.grid)
    found = [Frame(image.copy(), HELD_MS)]
    for k, recursion in enumerate(course.recursions):
        before, after = course.sources[k], course.sources[k + 1]
        found.append(Frame(_cut(_placed(image, cells, before, before, 0.0), recursion, k, borders), HELD_MS))
        moving = (_placed(image, cells, before, after, _eased(i / MOVING)) for i in range(1, MOVING))
        found += [Frame(picture, MOVING_MS) for picture in moving]
        done = _placed(image, cells, after, after, 0.0)
        if borders:
            outline(done, course.recursions[: k + 1])
        found.append(Frame(done, LAST_MS if k + 1 == r else HELD_MS))
    return found


def _cells(image: Image.Image, grid: int) -> list[Image.Image]:
    side = image.width // grid
    boxes = ((x * side, y * side, (x + 1) * side, (y + 1) * side) for y in range(grid) for x in range(grid))
    return [image.crop(box) for box in boxes]


def _placed(
    image: Image.Image, cells: list[Image.Image], before: list[int], after: list[int], way: float
) -> Image.Image:
    """Return the picture in which each cell has gone the share ``way`` of its way; those that stay lie below."""
    grid, picture = round(len(cells) ** 0.5), Image.new("RGB", image.size)
    side = image.width // grid
    start, end = np.argsort(before), np.argsort(after)  # where each cell of the image is
    for cell in sorted(range(len(cells)), key=lambda cell: start[cell] != end[cell]):
        (y, x), (to_y, to_x) = divmod(int(start[cell]), grid), divmod(int(end[cell]), grid)
        place = (round((x + (to_x - x) * way) * side), round((y + (to_y - y) * way) * side))
        picture.paste(cells[cell], place)
    return picture


def _cut(picture: Image.Image, recursion: Recursion, k: int, borders: bool) -> Image.Image:
    """Frame the block that recursion k + 1 cuts, and draw its cut."""
    if k:
        frame(picture, recursion.block, COLORS[k % len(COLORS)])
    if borders:
        outline(picture, [recursion], first=k)
    return picture


def _eased(t: float) -> float:
    """Return the share of the way at the share ``t`` of the time: slow at both ends."""
    return t * t * (3 - 2 * t)


def gif(pictures: list[Frame]) -> bytes:
    """Return an animated GIF that repeats for ever, all of it in the same 256 colours."""
    palette = _palette([shown.picture for shown in pictures])
    file = io.BytesIO()
    first, *rest = (shown.picture.quantize(palette=palette) for shown in pictures)
    held = [shown.held_ms for shown in pictures]
    first.save(file, "GIF", save_all=True, append_images=rest, duration=held, loop=0, optimize=False)
    return file.getvalue()


def _palette(pictures: list[Image.Image]) -> Image.Image:
    """Return an image whose palette suits all pictures, which are of one size, and has the borders' own colours."""
    drawn = [ImageColor.getrgb(color) for color in (*COLORS, SHADOW)]
    samples = [np.asarray(picture)[::SAMPLED, ::SAMPLED] for picture in pictures]
    found = Image.fromarray(np.concatenate(samples, axis=1)).quantize(256 - len(drawn)).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*found, *chain.from_iterable(drawn)])
    return palette
