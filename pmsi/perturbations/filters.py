"""Blurs, enlargements and resampling of arrays, in numpy and Pillow alone: what several corruptions share.

Images are (h, w, 3) and fields (h, w), of any numeric type; results are float64 unless stated, so that rounding to
pixels later does not hang on the last bits of a sum. Borders are named as numpy's pad names them: "edge" repeats the
last pixel, "reflect" mirrors without it (d c b | a b c d), "symmetric" with it (c b a | a b c d). This module does not
know what the filters are for.
"""

import math
from functools import cache

import numpy as np
from PIL import Image

GREY = np.array([0.299, 0.587, 0.114])
"""Luma weights of R, G and B (ITU-R BT.601)."""


def gaussian(x: np.ndarray, sigma: float, border: str = "edge", truncate: float = 4.0) -> np.ndarray:
    """Return ``x`` blurred by a Gaussian of σ pixels that is cut off at ``truncate`` σ."""
    radius = int(truncate * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    return convolve(convolve(x, taps[:, None], border), taps[None, :], border)


def convolve(x: np.ndarray, kernel: np.ndarray, border: str) -> np.ndarray:
    """Return the convolution of each channel with a kernel (odd, odd), of the same size; by Fourier transforms."""
    (h, w), (k_y, k_x) = x.shape[:2], kernel.shape
    sides = ((k_y // 2, k_y // 2), (k_x // 2, k_x // 2))
    padded = np.pad(np.moveaxis(x, (0, 1), (-2, -1)), (*((0, 0),) * (x.ndim - 2), *sides), border)  # type: ignore[call-overload]
    axes = [axis for axis, taps in ((-2, k_y), (-1, k_x)) if taps > 1]  # along a single tap there is nothing to do
    if not axes:
        return np.moveaxis(padded * kernel[0, 0], (-2, -1), (0, 1))
    size = [fast_length(padded.shape[axis]) for axis in axes]
    product = np.fft.rfftn(padded, size, axes) * np.fft.rfftn(kernel, size, axes)
    whole = np.fft.irfftn(product, size, axes)
    return np.moveaxis(whole[..., k_y - 1 :, k_x - 1 :][..., :h, :w], (-2, -1), (0, 1))


@cache
def fast_length(n: int) -> int:
    """Return the smallest length from ``n`` on with no prime factor above 5, for which Fourier transforms are fast."""
    rest = n
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    return n if rest == 1 else fast_length(n + 1)


def neighbours(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the sum of a field's 3×3 neighbours, weighted by ``kernel`` as it lies there, mirrored at the borders."""
    (h, w), padded = x.shape, np.pad(x.astype(np.float64), 1, "reflect")
    weighted = np.zeros((h, w))
    for (i, j), weight in np.ndenumerate(kernel):
        weighted += weight * padded[i : i + h, j : j + w]
    return weighted


def motion(x: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """Return ``x`` smeared from each pixel on towards ``angle`` (degrees), with half a Gaussian of σ pixels.

    2 · radius + 1 places along the line are summed, each rounded to a pixel; the border repeats.
    """
    way = np.arange(2 * radius + 1)
    weights = np.exp(-0.5 * (way / sigma) ** 2)
    rows, columns = (
        np.ceil(way * part - 0.5).astype(int) for part in (math.sin(math.radians(angle)), math.cos(math.radians(angle)))
    )
    kernel = np.zeros((4 * radius + 1, 4 * radius + 1))
    np.add.at(kernel, (2 * radius - rows, 2 * radius - columns), weights / weights.sum())
    return convolve(x, kernel, "edge")


def enlarged(x: np.ndarray, factor: float) -> np.ndarray:
    """Return the middle 1 / factor of an image (uint8) or a field at the size of the whole, linearly interpolated.

    An image stays uint8; a field becomes float32.
    """
    picture = Image.fromarray(x if x.dtype == np.uint8 else x.astype(np.float32))
    w, h = picture.size
    left, top = (w - w / factor) / 2, (h - h / factor) / 2
    return np.asarray(picture.resize((w, h), Image.Resampling.BILINEAR, (left, top, w - left, h - top)))


def sampled(x: np.ndarray, rows: np.ndarray, columns: np.ndarray, border: str) -> np.ndarray:
    """Return an image's values (h, w, 3) at real-valued places (h, w), linearly interpolated; mirrored outside."""
    top, left = np.floor(rows), np.floor(columns)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    (i, k), (j, m) = (
        [mirrored(place.astype(int) + step, side, border) for step in (0, 1)]
        for place, side in ((top, x.shape[0]), (left, x.shape[1]))
    )
    above = x[i, j] * (1 - right) + x[i, m] * right
    below = x[k, j] * (1 - right) + x[k, m] * right
    return above * (1 - down) + below * down


def mirrored(index: np.ndarray, length: int, border: str) -> np.ndarray:
    """Return the indices in [0, length) that stand for any whole numbers, by "reflect" or "symmetric"."""
    shared = border == "reflect"  # the end pixels stand once in a period, not twice
    period = max(1, 2 * (length - shared))
    within = index % period
    return np.minimum(within, period - (not shared) - within)
