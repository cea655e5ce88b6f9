"""BATCHED: perturbations of a whole batch on the device where it lies, with factors of its own for each image.

A row of PERTURBATIONS changes one image at a time on a CPU. Those that are plain arithmetic have a second form here,
for a GPU, which returns the same pixels, bit by bit: so a sweep may take either, and a hash tells no difference. Noise
is no exception, as its values are those of the row's own generator, made on a CPU; only the arithmetic is done here.
On a CPU these forms are slower than the rows. This module does not know who draws, hashes or looks.

Products and sums are calls of their own throughout: fused into one, they would be rounded once instead of twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmsi.base.errors import ImageError
from pmsi.perturbations import PERTURBATIONS
from pmsi.perturbations.capture import FILL, covered, lines_of
from pmsi.perturbations.paper import ENHANCERS, unit_noise
from pmsi.perturbations.row import Factors

MakeNoise = Callable[[Factors, tuple[int, int]], np.ndarray]
ApplyAll = Callable[[Tensor, Any, Sequence[Factors], Tensor], Tensor]


def no_noise(_factors: Factors, _shape: tuple[int, int]) -> np.ndarray:
    """Make nothing, for forms that need no more than the factors."""
    return np.empty(0, np.float32)


def grey_noise(factors: Factors, shape: tuple[int, int]) -> np.ndarray:
    """Make the noise of an image of ``shape`` (height, width), one value for its three channels, (h, w, 1) float32."""
    return unit_noise(factors, shape, 1)


@dataclass(frozen=True)
class BatchForm:
    """How the row ``name`` of PERTURBATIONS changes a batch.

    ``applied`` is (images (b, 3, h, w) uint8, severity > 0, the factors of each image, noise) → values like the images.
    ``noise`` makes, of an image's factors and (height, width), what of its draw is too large to be a factor: on a CPU,
    so that it does not depend on the device. Stacked, it is what ``applied`` and `apply` are given, (b, h, w, 1 or 3)
    float32 or, where there is none, (b, 0). Rows with a table of constants are given their constant as severity.
    """

    name: str
    applied: ApplyAll
    noise: MakeNoise = no_noise

    def apply(self, images: Tensor, severity: float, factors: Sequence[Factors], noise: Tensor) -> Tensor:
        """Return a perturbed copy of a batch (b, 3, h, w) uint8, on its device: of each image what its row makes of it.

        Raises ConfigError for a severity out of range, ImageError for what is no such batch.
        """
        row = PERTURBATIONS[self.name]
        severity = row.check(severity)
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[:2] != (len(factors), 3):
            raise ImageError(
                f"A tensor of {images.dtype} {tuple(images.shape)} cannot be perturbed by the factors of "
                f"{len(factors)} images: expected uint8 ({len(factors)}, 3, height, width)."
            )
        if not severity:
            return images.clone()
        strength = row.constants[int(severity) - 1] if row.constants else severity
        return self.applied(images, strength, factors, noise).contiguous()


def there(values: Tensor | np.ndarray, images: Tensor) -> Tensor:
    """Return a few values where the images are, without waiting for what is still to be computed there."""
    return torch.as_tensor(values).to(images.device, non_blocking=True)


# Colour jitter

NUMBERS = {name: number for number, name in enumerate(ENHANCERS)}
"""The operations by name: each image has its own in each place."""


def jittered(images: Tensor, _k: float, factors: Sequence[Factors], _noise: Tensor) -> Tensor:
    """Brightness, contrast and saturation in each image's own order: the first of each image at once, then the second.

    Each is a blend of the image with a ground of its own, as Pillow has it: black, the mean grey, the grey image.
    """
    order = torch.tensor([[NUMBERS[name] for name in drawn["order"]] for drawn in factors])
    gains = torch.tensor([[drawn[name] for name in drawn["order"]] for drawn in factors], dtype=torch.float32)
    order, gains = (there(values, images)[..., None, None, None] for values in (order, gains))
    for place in range(len(NUMBERS)):
        images = blend(_ground(images, order[:, place]), images, gains[:, place])
    return images


def _ground(images: Tensor, operation: Tensor) -> Tensor:
    """Return what each image (b, 3, h, w) is blended with by its operation (b, 1, 1, 1), as (b, 1, h, w) int32."""
    grey = luma(images)
    flat = torch.where(operation == NUMBERS["contrast"], mean_level(grey), 0)
    return torch.where(operation == NUMBERS["saturation"], grey, flat)


def luma(images: Tensor) -> Tensor:
    """Return RGB (b, 3, h, w) as the grey levels (b, 1, h, w) int32 of Pillow's mode L: ITU-R 601-2 in 16 bits."""
    r, g, b = images.int().split(1, dim=1)
    return (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16


def mean_level(grey: Tensor) -> Tensor:
    """Return the mean of each image (b, 1, h, w) rounded half up, (b, 1, 1, 1) int32; whole numbers do not round."""
    count = grey[0].numel()
    total = grey.sum(dim=(1, 2, 3), keepdim=True, dtype=torch.int64)
    return ((2 * total + count) // (2 * count)).int()


def blend(ground: Tensor, images: Tensor, gain: Tensor) -> Tensor:
    """Return ground + gain · (images − ground) as uint8, clipped, and without its fraction: Pillow's ``Image.blend``.

    ``gain`` is float32, as in Pillow, and 0 or more.
    """
    values = ground + (images.int() - ground) * gain
    return values.clamp(0, 255).to(torch.uint8)


# Noise


def noisy(images: Tensor, sigma: float, noise: Tensor) -> Tensor:
    """Return x + σ · noise as float32, not yet in pixel range, for noise (b, h, w, 1 or 3)."""
    return images.float() + noise.movedim(-1, 1) * float(np.float32(sigma))


def _rounded_noise(images: Tensor, sigma: float, _factors: Sequence[Factors], noise: Tensor) -> Tensor:
    return to_pixels(noisy(images, sigma, noise))


def _wrapped_noise(images: Tensor, sigma: float, _factors: Sequence[Factors], noise: Tensor) -> Tensor:
    values = noisy(images, sigma, noise).clamp(max=255).trunc()
    return values.int().remainder(256).to(torch.uint8)


def _noise_of_255(images: Tensor, sigma: float, factors: Sequence[Factors], noise: Tensor) -> Tensor:
    return _rounded_noise(images, 255 * sigma, factors, noise)


# ImageNet-C's arithmetic, in float64 as its rows have it


def brighter(images: Tensor, added: float, _factors: Sequence[Factors], _noise: Tensor) -> Tensor:
    """Raise V of HSV: all channels times V'/V; black becomes grey."""
    value = images.amax(dim=1, keepdim=True).double()
    raised = (value + 255 * added).clamp(max=255)
    return to_pixels(torch.where(value > 0, images * (raised / value.clamp(min=1)), raised))


def flatter(images: Tensor, factor: float, _factors: Sequence[Factors], _noise: Tensor) -> Tensor:
    """Bring every value nearer to the mean of its channel."""
    total = images.sum(dim=(2, 3), keepdim=True, dtype=torch.int64).double()
    mean = total / torch.full_like(total, images[0, 0].numel())  # by a plain number, a GPU takes the inverse times it
    return to_pixels((images - mean) * factor + mean)


def saturated(images: Tensor, constants: tuple[float, float], _factors: Sequence[Factors], _noise: Tensor) -> Tensor:
    """S of HSV times a factor plus an offset; greys are taken for red."""
    factor, offset = constants
    value = images.amax(dim=1, keepdim=True).double()
    short = value - images
    most = short.amax(dim=1, keepdim=True)
    red = torch.arange(3, device=images.device).clamp(max=1).view(3, 1, 1).double()
    share = torch.where(most > 0, short / most.clamp(min=1), red)
    return to_pixels(value - value * share * (most / value.clamp(min=1) * factor + offset).clamp(0, 1))


def to_pixels(values: Tensor) -> Tensor:
    """Return values on the 0–255 scale as uint8, rounded, halves to even, and clipped."""
    return values.round().clamp(0, 255).to(torch.uint8)


# Occlusion


def occluded(images: Tensor, _share: float, factors: Sequence[Factors], _noise: Tensor) -> Tensor:
    """Put ImageNet's mean colour on the drawn cells."""
    rows, columns = (there(line, images) for line in lines_of(*images.shape[2:]))
    where = there(np.stack([covered(drawn) for drawn in factors]), images)[:, rows][:, :, columns]
    return torch.where(where[:, None], there(FILL, images).view(3, 1, 1), images)


BATCHED: dict[str, BatchForm] = {
    form.name: form
    for form in (
        BatchForm("color_jitter", jittered),
        BatchForm("gaussian_noise", _rounded_noise, unit_noise),
        BatchForm("gaussian_noise_mono", _rounded_noise, grey_noise),
        BatchForm("gaussian_noise_legacy", _wrapped_noise, grey_noise),
        BatchForm("occlusion", occluded),
        BatchForm("c_gaussian_noise", _noise_of_255, unit_noise),
        BatchForm("c_brightness", brighter),
        BatchForm("c_contrast", flatter),
        BatchForm("c_saturate", saturated),
    )
}
"""The forms there are, by the names of their rows; a row that has none is applied image by image."""
