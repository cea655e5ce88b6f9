"""Noisy linear imputation: missing pixels become the weighted mean of their eight neighbours, and a little noise.

Rong et al., ICML 2022 (ROAD). A hole of one colour tells a network by its outline what was there; a filled one does
not. The neighbours of a missing pixel may be missing too, so all are found together, from one system of equations for
each image. This module does not know why pixels are missing.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pmsi.errors import PMSIError

NEIGHBOURS = torch.tensor([[1.0, 2.0, 1.0], [2.0, 0.0, 2.0], [1.0, 2.0, 1.0]], dtype=torch.float64) / 12
"""Weights of a pixel's neighbours: 1/6 beside it, 1/12 across a corner; those beyond the image's edge do not count."""

NOISE = 0.01
"""Standard deviation of the noise, in the images' own units (normalised ones: in standard deviations of ImageNet)."""

EXACT = 1e-4
"""What is left of the equations' right side, as a share, when they count as solved: far below the noise."""

COARSEST = 8
"""Side, in pixels, below which no coarser image is asked for a first guess."""


def imputed(images: Tensor, missing: Tensor, generator: torch.Generator, noise: float = NOISE) -> Tensor:
    """Return images (b, c, h, w) with their ``missing`` pixels (b, h, w) bool filled in; the others stay as they are.

    The CPU's ``generator`` draws the noise, the same whatever the images' device. An image without any pixel left
    has nothing to fill in from, and is refused.
    """
    if bool(missing.flatten(1).all(dim=1).any()):
        raise PMSIError("An image has no pixel left to fill in the others from: remove less than all of it.")
    filled = solved(images.double(), missing[:, None])
    drawn = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images.device)
    return torch.where(missing[:, None], filled + noise * drawn, images.double()).to(images.dtype)


def solved(known: Tensor, missing: Tensor) -> Tensor:
    """Return known (b, c, h, w) float64 with each missing pixel (b, 1, h, w) equal to the mean of its neighbours."""
    total = _neighbours(torch.ones_like(known[:, :1]))
    right = torch.where(missing, _neighbours(known.masked_fill(missing, 0)), 0)
    start = torch.where(missing, _guess(known, missing), 0)

    def left(x: Tensor) -> Tensor:
        return torch.where(missing, total * x - _neighbours(x), 0)

    return torch.where(missing, _conjugate_gradients(left, right, start, total), known)


def _neighbours(x: Tensor) -> Tensor:
    """Return for each pixel the weighted sum of its neighbours within the image."""
    kernel = NEIGHBOURS.to(x.device)[None, None]
    return F.conv2d(x.flatten(0, 1)[:, None], kernel, padding=1)[:, 0].unflatten(0, x.shape[:2])


def _guess(known: Tensor, missing: Tensor) -> Tensor:
    """Return the answer for an image of half the side, enlarged: large holes would take thousands of steps without."""
    if min(known.shape[2:]) < COARSEST or not bool(missing.any()):
        return torch.zeros_like(known)
    present = (~missing).to(known.dtype)
    share = F.avg_pool2d(present, 2, ceil_mode=True)
    smaller = F.avg_pool2d(known * present, 2, ceil_mode=True) / share.clamp(min=1e-9)
    coarse = solved(smaller, share == 0)
    return F.interpolate(coarse, known.shape[2:], mode="bilinear", align_corners=False)


def _conjugate_gradients(left: Callable[[Tensor], Tensor], right: Tensor, x: Tensor, scale: Tensor) -> Tensor:
    """Return the x for which left(x) = right, for each image and channel on its own; ``scale`` is left's diagonal."""
    rest = right - left(x)
    step = ready = rest / scale
    product = _dot(rest, ready)
    goal = EXACT**2 * _dot(right, right / scale).clamp(min=1e-30)
    for _ in range(right[0, 0].numel()):
        if bool((product <= goal).all()):
            break
        pushed = left(step)
        length = product / _dot(step, pushed).clamp(min=1e-300)
        x = x + length * step
        rest = rest - length * pushed
        ready = rest / scale
        product, former = _dot(rest, ready), product
        step = ready + product / former.clamp(min=1e-300) * step
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(2, 3), keepdim=True)
