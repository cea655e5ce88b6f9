"""The jigsaw of PMG (Du et al., ECCV 2020): the n × n patches of the whole image, permuted.

`plan` draws the permutation (small, storable), `apply` moves the pixels. All patches have the same size; n is 2^r, so
the smallest patch is that of the recursive mosaic with the same r. Patches are numbered in reading order, 0 to n² − 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from pmsi.augment.mosaic import MAX_RECURSIONS, check_divisible, gather_cells
from pmsi.base.errors import ConfigError, lookup
from pmsi.model.batch import Images


def _any_order(draws: Tensor) -> Tensor:
    """Return a uniformly drawn order of the patches for each row of uniform numbers."""
    return draws.argsort(dim=1)


def _one_cycle(draws: Tensor) -> Tensor:
    """Return a uniformly drawn cycle through all patches for each row of uniform numbers."""
    along = draws.argsort(dim=1)
    return torch.empty_like(along).scatter_(1, along, along.roll(-1, dims=1))


PERMUTATIONS: dict[str, Callable[[Tensor], Tensor]] = {"uniform": _any_order, "cycle": _one_cycle}


def plan(
    batch: int, r: int, *, generator: torch.Generator, per_image: bool = True, permutation: str = "uniform"
) -> Tensor:
    """Draw the jigsaws of ``batch`` images: (b, n, n) int64 on the CPU, with n = 2^r.

    ``cells[i, y, x]`` is the patch of image i that moves to row y, column x. ``permutation`` is "uniform" (any order)
    or "cycle" (one cycle through all patches, so that none stays, as in PMG's released code). With
    ``per_image=False`` the whole batch shares one draw. The draw of image i does not depend on the batch size.
    """
    if not 0 <= r <= MAX_RECURSIONS:
        raise ConfigError(f"r = {r}: a jigsaw has 2^r patches a side, with r from 0 to {MAX_RECURSIONS}.")
    order = lookup("permutation", PERMUTATIONS, permutation)
    n = 2**r
    # In double precision, because the sort would not order equal numbers at random.
    draws = torch.rand(batch if per_image else 1, n * n, generator=generator, dtype=torch.float64)
    return order(draws).expand(batch, -1).reshape(batch, n, n)


def apply(images: Images, cells: Tensor) -> Images:
    """Return the jigsaws of ``images`` (b, c, h, w), any dtype, with their patches moved by ``cells`` (b, n, n).

    An exact permutation of the pixels. h and w must be multiples of n (ConfigError).
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
