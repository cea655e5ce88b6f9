"""The jigsaw of PMG: the n×n patches of the whole image, permuted (Du et al., ECCV 2020).

`plan` draws which patch goes where (small, storable), `apply` moves the pixels. Unlike those of the recursive mosaic
all patches have one size; n is 2^r, so that a phase's r means the same smallest patch for both. The module does not
know what a phase is.

Patches are numbered in reading order, 0 to n² − 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pmsi.augment.mosaic import MAX_RECURSIONS, check_divisible, gather_cells
from pmsi.base.errors import ConfigError, lookup
from pmsi.model.batch import Images


def _any_order(draws: Tensor) -> Tensor:
    """Return an order of the patches for each row of uniform numbers: each of the (n²)! is as likely."""
    return draws.argsort(dim=1)


def _one_cycle(draws: Tensor) -> Tensor:
    """Return one cycle through all patches for each row of uniform numbers: each of the (n² − 1)! is as likely."""
    along = draws.argsort(dim=1)
    return torch.empty_like(along).scatter_(1, along, along.roll(-1, dims=1))


PERMUTATIONS: dict[str, Callable[[Tensor], Tensor]] = {"uniform": _any_order, "cycle": _one_cycle}


def plan(
    batch: int, r: int, *, generator: torch.Generator, per_image: bool = True, permutation: str = "uniform"
) -> Tensor:
    """Draw the jigsaws of ``batch`` images: (b, n, n) int64 on the CPU, with n = 2^r.

    ``cells[i, y, x]`` is the patch of image i that moves to row y, column x. ``permutation`` is "uniform" (any order)
    or "cycle" (one cycle through all patches, so that none stays, as PMG's released code draws it). With
    ``per_image=False`` one draw serves the whole batch. For one state of the generator, image i gets the same jigsaw
    whatever the batch size.
    """
    if not 0 <= r <= MAX_RECURSIONS:
        raise ConfigError(f"r = {r}: a jigsaw has 2^r patches a side, with r from 0 to {MAX_RECURSIONS}.")
    order = lookup("permutation", PERMUTATIONS, permutation)
    n = 2**r
    # In double precision no two numbers are equal in practice; the sort would not put equal ones in a random order.
    draws = torch.rand(batch if per_image else 1, n * n, generator=generator, dtype=torch.float64)
    return order(draws).expand(batch, -1).reshape(batch, n, n)


def apply(images: Images, cells: Tensor) -> Images:
    """Return the jigsaws of ``images`` (b, c, h, w), any dtype: their patches where ``cells`` (b, n, n) puts them.

    A permutation of pixels: none is changed, lost or repeated. h and w must be multiples of n (ConfigError).
    """
    if len(images) != len(cells):
        raise ConfigError(f"Expected {len(cells)} images, one for each jigsaw drawn, found {len(images)}.")
    check_divisible(images.shape[2:], cells.shape[-1].bit_length() - 1)
    return gather_cells(images, cells)


def jigsaw_patches(
    images: Images, r: int, *, generator: torch.Generator, per_image: bool = True, permutation: str = "uniform"
) -> Images:
    """Return each image with its 2^r × 2^r patches permuted; see `plan` for the draw and `apply` for the pixels."""
    return apply(images, plan(len(images), r, generator=generator, per_image=per_image, permutation=permutation))
