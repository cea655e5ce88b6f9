"""Noisy linear imputation: missing pixels become the weighted mean of their eight neighbours, and a little noise.

Rong et al., ICML 2022 (ROAD). A hole of one colour tells a network by its outline what was there; a filled one does
not. The neighbours of a missing pixel may be missing too, so all are found together, from one system of equations for
each image. This module does not know why pixels are missing.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pmsi.base.errors import PMSIError

BESIDE, ACROSS = 2.0, 1.0
"""Weights, in twelfths, of the neighbours beside a pixel and across its corners; those beyond the edge do not count."""

NOISE = 0.01
"""Standard deviation of the noise, in the images' own units (normalised ones: in standard deviations of ImageNet)."""

EXACT = 1e-4
"""What is left of the equations' right side, as a share, when they count as solved: far below the noise."""

COARSEST = 8
"""Side, in pixels, below which no coarser image is asked for help."""

MOST = 100
"""Steps after which the answer is taken as it is; ten are usual."""

DAMPED = 0.8
"""Share of a step towards the neighbours' mean that smooths best."""


def imputed(images: Tensor, missing: Tensor, generator: torch.Generator, noise: float = NOISE) -> Tensor:
    """Return images (b, c, h, w) with their ``missing`` pixels (b, h, w) bool filled in; the others stay as they are.

    The CPU's ``generator`` draws the noise, the same whatever the images' device. An image without any pixel left
    has nothing to fill in from, and is refused.
    """
    if bool(missing.flatten(1).all(dim=1).any()):
        raise PMSIError("An image has no pixel left to fill in the others from: remove less than all of it.")
    filled = solved(images, missing[:, None])
    drawn = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images.device)
    return torch.where(missing[:, None], filled + (noise * drawn).to(images.dtype), images)


def solved(known: Tensor, missing: Tensor) -> Tensor:
    """Return known (b, c, h, w) with each missing pixel (b, 1, h, w) bool equal to the mean of its neighbours."""
    levels = _levels(missing.to(known.dtype))
    hole, total = levels[0]
    right = hole * _neighbours(known * (1 - hole))
    start = hole * _guess(known, missing)
    found = _conjugate_gradients(
        lambda x: hole * (total * x - _neighbours(x)), right, start, lambda rest: _smoothed(rest, levels)
    )
    return torch.where(missing, found, known)


def _levels(hole: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return what is missing (b, 1, h, w), 1 or 0, and each pixel's sum of weights (1, 1, h, w), ever coarser.

    A coarse pixel is missing where all of it is.
    """
    levels = [(hole, _neighbours(torch.ones_like(hole[:1])))]
    while min(hole.shape[2:]) >= COARSEST:
        hole = (F.avg_pool2d(hole, 2, ceil_mode=True) > 1 - 1e-6).to(hole.dtype)
        levels.append((hole, _neighbours(torch.ones_like(hole[:1]))))
    return levels


def _neighbours(x: Tensor) -> Tensor:
    """Return for each pixel the weighted sum of its neighbours within the image."""
    framed = F.pad(x, (1, 1, 1, 1))
    rows = framed[:, :, :-2] + framed[:, :, 2:]
    rows = rows.add_(framed[:, :, 1:-1], alpha=BESIDE)
    found = rows[..., :-2] + rows[..., 2:]
    return found.add_(rows[..., 1:-1], alpha=BESIDE).sub_(x, alpha=BESIDE**2).mul_(ACROSS / 12)


def _guess(known: Tensor, missing: Tensor) -> Tensor:
    """Return the answer for an image of half the side, enlarged: a first guess that is right about large holes."""
    if min(known.shape[2:]) < COARSEST or not bool(missing.any()):
        return torch.zeros_like(known)
    present = (~missing).to(known.dtype)
    share = F.avg_pool2d(present, 2, ceil_mode=True)
    smaller = F.avg_pool2d(known * present, 2, ceil_mode=True) / share.clamp(min=1e-9)
    coarse = solved(smaller, share == 0)
    return F.interpolate(coarse, known.shape[2:], mode="bilinear", align_corners=False)


def _smoothed(rest: Tensor, levels: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return about the x whose equations leave ``rest`` on their right side: one V-cycle of multigrid."""
    hole, total = levels[0]
    x = hole * rest * (DAMPED / total)
    if len(levels) > 1:
        left = hole * (rest - total * x + _neighbours(x))
        coarse = _smoothed(4 * F.avg_pool2d(left, 2, ceil_mode=True), levels[1:])
        x = x + hole * F.interpolate(coarse, x.shape[2:], mode="bilinear", align_corners=False)
    left = rest - total * x + _neighbours(x)
    return x + hole * left * (DAMPED / total)


def _conjugate_gradients(
    left: Callable[[Tensor], Tensor], right: Tensor, x: Tensor, inverse: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return the x for which left(x) = right, for each image and channel on its own; ``inverse`` is about left's.

    The flexible kind (Notay, 2000), as a V-cycle between grids of odd sides is not quite symmetric.
    """
    rest = right - left(x)
    ready = inverse(rest)
    step, product = ready, _dot(rest, ready)
    goal = EXACT**2 * _dot(right, right)
    for _ in range(MOST):
        going = _dot(rest, rest) > goal  # an image that is solved stays as it is while others go on
        if not bool(going.any()):
            break
        pushed = left(step)
        length = torch.where(going, product / _dot(step, pushed), 0)
        x = x + length * step
        before, rest = rest, rest - length * pushed
        ready = inverse(rest)
        turn = torch.where(going, _dot(rest - before, ready) / product, 0)
        step, product = ready + turn * step, _dot(rest, ready)
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=(2, 3), keepdim=True)
