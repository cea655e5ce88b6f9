"""Mixup, CutMix and SnapMix: each image of a batch is mixed with another one, its partner, and so are the labels.

`plan_blend`, `plan_cut` and `plan_snap` draw, on the CPU; `mixup`, `cutmix` and `snapmix` change pixels and weight
labels, on the images' device.

A box is (top, left, bottom, right) in pixels, the last two exclusive, as (b, 4) int64; its sides may be 0. Partners are
a permutation of the batch, so an image may be its own partner.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from pmsi.model.batch import Images, Labels, Target

PIECE = 1_000_000
"""Values that a CPU computes at a time: a whole batch as float32 would exceed the caches, and allocating its memory
would take longer than filling it."""


@dataclass(frozen=True, slots=True)
class Blend:
    """A draw of Mixup: each image's ``partner`` (b,) int64, and the image's share ``lam`` (b,) in [0, 1] (λ)."""

    partner: Tensor
    lam: Tensor


@dataclass(frozen=True, slots=True)
class Paste:
    """A draw of CutMix or SnapMix: each image's ``partner`` (b,) int64, and two boxes.

    The pixels of the partner in ``source`` (b, 4) go into ``onto`` (b, 4) of the image; in CutMix these are equal.
    """

    partner: Tensor
    onto: Tensor
    source: Tensor


# Drawing


def symmetric_beta(a: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` numbers from Beta(a, a) for a whole number a: (count,) float64; uniform if a = 1."""
    # torch's Beta takes no generator; the a-th smallest of 2a − 1 uniform numbers has exactly this distribution.
    return torch.rand(count, 2 * a - 1, generator=generator, dtype=torch.float64).kthvalue(a, dim=1).values


def plan_blend(batch: int, *, generator: torch.Generator, per_image: bool = True) -> Blend:
    """Draw Mixup's partners and λ ~ Beta(1, 1), one for each image or one for the batch."""
    partner = torch.randperm(batch, generator=generator)
    return Blend(partner, symmetric_beta(1, batch if per_image else 1, generator).expand(batch))


def plan_cut(batch: int, size: Sequence[int], *, generator: torch.Generator, per_image: bool = True) -> Paste:
    """Draw CutMix's partners and boxes in images of ``size`` (height, width), with λ ~ Beta(1, 1)."""
    partner = torch.randperm(batch, generator=generator)
    box = _boxes(1, batch if per_image else 1, size, generator).expand(batch, -1)
    return Paste(partner, box, box)


def plan_snap(batch: int, size: Sequence[int], *, generator: torch.Generator, per_image: bool = True) -> Paste:
    """Draw SnapMix's partners and two boxes each in images of ``size`` (height, width), with two λ ~ Beta(5, 5)."""
    partner = torch.randperm(batch, generator=generator)
    onto, source = (_boxes(5, batch if per_image else 1, size, generator).expand(batch, -1) for _ in range(2))
    return Paste(partner, onto, source)


def _boxes(a: int, count: int, size: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw boxes (count, 4) with √(1 − λ) of the image's sides, λ ~ Beta(a, a), a uniform centre, clipped."""
    lam = symmetric_beta(a, count, generator)
    edges = []
    for side in size:
        length = (side * (1 - lam).sqrt()).long()
        start = torch.randint(side, (count,), generator=generator) - length // 2
        edges.append((start.clamp(min=0), (start + length).clamp(max=side)))
    (top, bottom), (left, right) = edges
    return torch.stack([top, left, bottom, right], dim=1)


# Mixing


def mixup(images: Images, labels: Labels, blend: Blend) -> tuple[Images, Target]:
    """Return λ x_a + (1 − λ) x_b of uint8 images, and both labels with these weights (Zhang et al., ICLR 2018).

    Pixels are rounded to uint8, which changes them by at most half a grey level.
    """
    partner, lam = blend.partner.to(images.device), blend.lam.to(images.device, torch.float32)
    mixed = _piecewise(_blended, _piece(images), images, images.index_select(0, partner), lam)
    return mixed, Target(labels, labels[partner], lam, 1 - lam)


def cutmix(images: Images, labels: Labels, paste: Paste) -> tuple[Images, Target]:
    """Return uint8 images with their partner's pixels in the box, both labels by area (Yun et al., ICCV 2019).

    λ is the image's share of the area, after the box was clipped.
    """
    partner, box = paste.partner.to(images.device), paste.onto.to(images.device)
    mixed = _pasted(images, images.index_select(0, partner), box)
    share = _area(box) / (images.shape[2] * images.shape[3])
    return mixed, Target(labels, labels[partner], 1 - share, share)


def snapmix(images: Images, labels: Labels, paste: Paste, maps: Tensor) -> tuple[Images, Target]:
    """Return uint8 images with a resized box of their partner, both labels weighted by the maps.

    Huang et al., AAAI 2021. ``maps`` (b, h_n, w_n) are the network's maps of each image's class, of either sign.
    ``weight_a`` is 1 − the mass of the image's map in the covered box, ``weight_b`` is the mass of the partner's map in
    the box taken; they need not sum to 1. If a box is empty, the image does not change and has the weights 1 and 0.
    """
    partner, onto, source = (part.to(images.device) for part in (paste.partner, paste.onto, paste.source))
    possible = (_area(onto) * _area(source) > 0)[:, None]
    onto, source = onto * possible, source * possible
    piece, mass = _piece(images), partial(semantic_mass, size=images.shape[2:])
    resized = _piecewise(_resized, piece, images.index_select(0, partner), onto, source)
    weight_a = (1 - _piecewise(mass, piece, maps, onto)).clamp(min=0)
    weight_b = _piecewise(mass, piece, maps[partner], source)
    return _pasted(images, resized, onto), Target(labels, labels[partner], weight_a, weight_b)


def semantic_mass(maps: Tensor, box: Tensor, size: Sequence[int]) -> Tensor:
    """Return the share (b,) of each map (b, h_n, w_n) in its box (b, 4), for images of ``size`` (height, width).

    A map of either sign is resized bilinearly to the image's size, shifted to a minimum of 0, and scaled to a sum of 1.
    A constant map counts as uniform: the share is that of the box's area.
    """
    sized = F.interpolate(maps.unsqueeze(1).float(), size=size, mode="bilinear", align_corners=False).squeeze(1)
    least, most = sized.amin(dim=(1, 2)), sized.amax(dim=(1, 2))
    density = sized - least[:, None, None]
    total = density.sum(dim=(1, 2))
    share = (density * _inside(box, size)).sum(dim=(1, 2)) / total
    # Resizing a constant map leaves rounding differences, which must not count as a map.
    pixels = size[0] * size[1]
    flat = total <= 1e-6 * pixels * torch.maximum(least.abs(), most.abs())
    return torch.where(flat, _area(box) / pixels, share)


def _piece(images: Images) -> int:
    """Return the number of images to process at a time; see `PIECE`."""
    return len(images) if images.device.type != "cpu" else max(1, PIECE // images[0].numel())


def _piecewise(work: Callable[..., Tensor], piece: int, *parts: Tensor) -> Tensor:
    """Return ``work(*parts)``, computed for ``piece`` images at a time."""
    return torch.cat([work(*some) for some in zip(*(part.split(piece) for part in parts), strict=True)])


def _blended(images: Images, others: Images, lam: Tensor) -> Images:
    return _to_pixels(torch.lerp(others.float(), images.float(), lam[:, None, None, None]))


def _resized(images: Images, onto: Tensor, source: Tensor) -> Images:
    """Return uint8 images with their box ``source`` resized bilinearly into their box ``onto``; the rest is undefined.

    The corner pixels of the boxes coincide (align_corners), as in the authors' code.
    """
    positions = []
    for axis, side in enumerate(images.shape[2:]):
        to_first, to_last = onto[:, axis, None], onto[:, axis + 2, None] - 1
        first, last = source[:, axis, None], source[:, axis + 2, None] - 1
        along = torch.arange(side, device=images.device) - to_first
        position = first + along * ((last - first) / (to_last - to_first).clamp(min=1))
        positions.append(position * (2 / max(side - 1, 1)) - 1)  # grid_sample counts from −1 to 1
    y, x = positions
    b, h, w = len(images), *images.shape[2:]
    grid = torch.stack([x[:, None, :].expand(b, h, w), y[:, :, None].expand(b, h, w)], dim=3)
    return _to_pixels(F.grid_sample(images.float(), grid, padding_mode="border", align_corners=True))


def _to_pixels(values: Tensor) -> Tensor:
    return values.round_().to(torch.uint8)


def _pasted(images: Images, others: Images, box: Tensor) -> Images:
    """Return uint8 images with the pixels of ``others`` in the box."""
    # a ^ ((a ^ b) & mask) is many times faster on a CPU than torch.where.
    differences = others ^ images
    differences &= _inside(box, images.shape[2:]).neg()[:, None]
    return differences.bitwise_xor_(images)


def _inside(box: Tensor, size: Sequence[int]) -> Tensor:
    """Return (b, h, w) uint8 for images of ``size``: 1 in the box of each, 0 elsewhere."""
    y, x = (torch.arange(side, device=box.device) for side in size)
    top, left, bottom, right = box.unsqueeze(2).unbind(1)
    rows, columns = (y >= top) & (y < bottom), (x >= left) & (x < right)
    return rows.byte()[:, :, None] & columns.byte()[:, None, :]


def _area(box: Tensor) -> Tensor:
    return (box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])
