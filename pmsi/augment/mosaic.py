"""The recursive mosaic generator G(p, r): section III-B and Fig. 3 of the paper.

One recursion cuts the current block 2×2 and permutes its four patches; then one of the four becomes the block of the
next recursion. `plan` draws the layout (small, storable), `apply` moves the pixels. All recursions of a batch are first
composed into one index, so pixels move only once.

Positions in a block are numbered in reading order: 0 top left, 1 top right, 2 bottom left, 3 bottom right.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pmsi.augment.rule import nearest_size
from pmsi.base.errors import ConfigError, lookup

MAX_RECURSIONS = 8
"""Recursions that are drawn for each image, whatever r: so for a seed, the layout of r begins that of r + 1."""

PERMUTATIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "uniform": tuple(itertools.permutations(range(4))),
    # One cycle through all four places, so that no patch stays: 0 → a → b → c → 0 for the six orders of a, b, c.
    "cycle": tuple(
        tuple({0: a, a: b, b: c, c: 0}[place] for place in range(4)) for a, b, c in itertools.permutations((1, 2, 3))
    ),
}


@dataclass(frozen=True, slots=True)
class Recursion:
    """One recursion: ``order[k]`` is the place whose patch moves to place k; ``block`` is (x, y, side).

    The block is in fractions of the image; its first is (0, 0, 1).
    """

    order: tuple[int, int, int, int]
    block: tuple[float, float, float]


@dataclass(frozen=True)
class Layout:
    """The layouts of a batch: ``orders`` (b, r, 4) and ``picks`` (b, r), both int64 in [0, 4), on the CPU.

    ``orders[i, k, j]`` is the place whose patch moves to place j in recursion k; ``picks[i, k]`` is the place that
    becomes the block of recursion k + 1 (the last pick is drawn, but not used).
    """

    orders: Tensor
    picks: Tensor

    def __len__(self) -> int:
        return self.orders.shape[0]

    @property
    def r(self) -> int:
        return self.orders.shape[1]

    def __getitem__(self, index: int | slice) -> "Layout":
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"Image {index} of a layout of {len(self)}.")  # which also ends a loop over a layout
            index = slice(index, index + 1 or None)
        return Layout(self.orders[index], self.picks[index])

    def first(self, r: int) -> "Layout":
        """Return the layout of the first r recursions, for nested mosaics as in Fig. 3."""
        if not 0 <= r <= self.r:
            raise ConfigError(f"r = {r}: this layout has {self.r} recursions, so r is from 0 to {self.r}.")
        return Layout(self.orders[:, :r], self.picks[:, :r])

    def recursions(self, image: int = 0) -> list[Recursion]:
        """Return the recursions of one image of the batch."""
        found, x, y, side = [], 0.0, 0.0, 1.0
        for order, pick in zip(self.orders[image].tolist(), self.picks[image].tolist(), strict=True):
            found.append(Recursion(tuple(order), (x, y, side)))
            side /= 2
            x, y = x + side * (pick % 2), y + side * (pick // 2)
        return found

    def to_json(self) -> dict[str, list]:
        """Return the layout as JSON types."""
        return {"orders": self.orders.tolist(), "picks": self.picks.tolist()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Layout":
        """Return the layout that `to_json` wrote; raises ConfigError for anything else."""
        try:
            orders = torch.tensor(stored["orders"], dtype=torch.int64)
            picks = torch.tensor(stored["picks"], dtype=torch.int64)
            orders = orders.reshape(picks.shape[0], picks.shape[1] if picks.dim() > 1 else 0, 4)
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
            raise ConfigError(f"This is not a mosaic layout: {error}. Expected what Layout.to_json returns.") from error
        is_order = torch.equal(orders.sort(dim=-1).values, torch.arange(4).expand_as(orders))
        if not is_order or bool(((picks < 0) | (picks > 3)).any()):
            raise ConfigError("This is not a mosaic layout: each order must permute 0, 1, 2, 3; a pick is one of them.")
        return cls(orders, picks.reshape(orders.shape[:2]))


def plan(
    batch: int,
    r: int,
    *,
    generator: torch.Generator | None = None,
    per_image: bool = True,
    permutation: str = "uniform",
) -> Layout:
    """Draw the layouts of ``batch`` images with ``r`` recursions each.

    ``permutation`` is "uniform" (any of the 24 orders) or "cycle" (the six 4-cycles). With ``per_image=False`` the
    whole batch shares one draw. The layout of image i does not depend on the batch size, nor its first recursions on r.
    The generator is one of the CPU's; without one, the draw is seeded by the operating system.
    """
    if not 0 <= r <= MAX_RECURSIONS:
        raise ConfigError(f"r = {r}: the number of recursions is from 0 to {MAX_RECURSIONS}.")
    orders = torch.tensor(lookup("permutation", PERMUTATIONS, permutation))
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    # One number holds both order and pick, so that draws do not depend on the batch size.
    drawn = torch.randint(len(orders) * 4, (batch if per_image else 1, MAX_RECURSIONS), generator=generator)
    drawn = drawn.expand(batch, -1)[:, :r]
    return Layout(orders[drawn // 4], drawn % 4)


def source_cells(layout: Layout, inverse: bool = False) -> Tensor:
    """Return (b, g, g) int64 with g = 2^r: for each cell of the mosaic, the cell of the image that goes there.

    Cells are numbered in reading order. A cell's address is its place among the image's four patches, its place among
    that patch's four, and so on: r places. Recursion k changes only place k, and only in cells whose earlier places are
    the picks. So all recursions can be composed at once.
    """
    b, r, g = len(layout), layout.r, 2**layout.r
    cell, step = torch.arange(g * g), torch.arange(r).flip(0)[:, None]  # (g²,) and (r, 1)
    places = (cell // g >> step) % 2 * 2 + (cell % g >> step) % 2
    picked = places == layout.picks[:, :, None]  # (b, r, g²)
    in_block = torch.cat([torch.ones_like(picked[:, :1]), picked[:, :-1]], dim=1).cumprod(dim=1).bool()
    source = torch.where(in_block, layout.orders.gather(2, places.expand(b, -1, -1)), places)
    cells = ((source // 2 * g + source % 2) << step).sum(dim=1)
    return (cells.argsort(dim=1) if inverse else cells).reshape(b, g, g)


def apply(images: Tensor, layout: Layout, inverse: bool = False) -> Tensor:
    """Return the mosaics (b, c, h, w) of ``images`` (b, c, h, w), any dtype; ``inverse=True`` undoes it exactly.

    An exact permutation of the pixels. h and w must be multiples of 2^r (ConfigError).
    """
    if images.dim() != 4 or images.shape[0] != len(layout):
        raise ConfigError(f"Expected {len(layout)} images as (b, c, h, w), found a shape of {tuple(images.shape)}.")
    check_divisible(images.shape[-2:], layout.r)
    if layout.r == 0:
        return images.clone()
    return gather_cells(images, source_cells(layout, inverse))


def gather_cells(images: Tensor, cells: Tensor) -> Tensor:
    """Return ``images`` (b, c, h, w), any dtype, with cell ``cells[i, y, x]`` of image i moved to cell (y, x).

    ``cells`` is (b, g, g) int64, numbered in reading order; h and w must be multiples of g.
    """
    cells = cells.to(images.device)
    if images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous():
        return _gather(images.permute(0, 2, 3, 1).unsqueeze(1), cells).squeeze(1).permute(0, 3, 1, 2)
    return _gather(images.contiguous().unsqueeze(-1), cells).squeeze(-1)


def _gather(images: Tensor, cells: Tensor) -> Tensor:
    """Return contiguous images (b, c, h, w, d) with their cells moved, by one gather of rows of pixels."""
    b, c, h, w, d = images.shape
    g = cells.shape[-1]
    # int32, because at r = 3 computing the index of a batch takes considerable time.
    cells = cells.to(torch.int32)
    rows = torch.arange(h // g, dtype=torch.int32, device=cells.device)
    planes = torch.arange(b * c, dtype=torch.int32, device=cells.device).reshape(b, c, 1) * (h * g)
    # Each output row of a cell, (b, g, h/g, g), comes from this row and cell of the same plane …
    inside = (cells // g * (h // g * g) + cells % g).unsqueeze(2) + rows[:, None] * g
    # … and planes follow each other in memory.
    runs = _in_words(images.reshape(b * c * h * g, w // g * d))
    moved = runs.index_select(0, (planes + inside.reshape(b, 1, h * g)).flatten())
    return (moved.view(torch.uint8) if images.dtype == torch.uint8 else moved).reshape(images.shape)


def _in_words(runs: Tensor) -> Tensor:
    """Return rows of bytes (n, m) as a view of the widest integers that divide them.

    A GPU moves one element per thread. Other types do not change: they are wide enough, and a view as integers would
    have no gradient.
    """
    if runs.dtype == torch.uint8:
        for dtype in (torch.int64, torch.int32, torch.int16):
            if runs.shape[1] % dtype.itemsize == 0 and runs.storage_offset() % dtype.itemsize == 0:
                return runs.view(dtype)
    return runs


def check_divisible(size: torch.Size | tuple[int, int], r: int) -> None:
    """Raise ConfigError, with the nearest size that works, unless 2^r divides both sides."""
    cells = 2**r
    if any(side % cells for side in size):
        nearest = " × ".join(str(nearest_size(side, r)) for side in size)
        raise ConfigError(
            f"An image of {size[0]} × {size[1]} pixels cannot be cut {r} times in half: each side must be a multiple "
            f"of {cells}. The nearest size that works is {nearest}."
        )


def recursive_mosaic(
    images: Tensor,
    r: int,
    *,
    generator: torch.Generator | None = None,
    per_image: bool = True,
    permutation: str = "uniform",
) -> Tensor:
    """Return G(p, r) of each image p of ``images`` (b, c, h, w), any dtype and device (section III-B).

    See `plan` for the draw and `apply` for the pixels.
    """
    layout = plan(len(images), r, generator=generator, per_image=per_image, permutation=permutation)
    return apply(images, layout)
