"""The digital corruptions of ImageNet-C, on 8-bit images: constants in, values on the 0–255 scale out."""

import io

import numpy as np
from PIL import Image

from pmsi.perturbations.filters import gaussian, sampled
from pmsi.perturbations.row import Factors, noise_of


def brightness(image: np.ndarray, added: float, _factors: Factors) -> np.ndarray:
    """Raise V of HSV, hue and saturation kept: all channels times V'/V; black, which has no hue, becomes grey."""
    value = image.max(axis=2, keepdims=True).astype(np.float64)
    raised = np.minimum(value + 255 * added, 255)
    return np.where(value > 0, image * (raised / np.maximum(value, 1)), raised)


def contrast(image: np.ndarray, factor: float, _factors: Factors) -> np.ndarray:
    """Bring every value nearer to the mean of its channel."""
    mean = image.mean(axis=(0, 1))
    return (image - mean) * factor + mean


def saturate(image: np.ndarray, constants: tuple[float, float], _factors: Factors) -> np.ndarray:
    """S of HSV times a factor plus an offset; greys, which have no hue, are taken for red, as HSV's formulas do."""
    factor, offset = constants
    value = image.max(axis=2, keepdims=True).astype(np.float64)
    short = value - image  # of full brightness: V · S for the weakest channel
    most = short.max(axis=2, keepdims=True)
    saturation = most / np.maximum(value, 1)
    share = np.where(most > 0, short / np.maximum(most, 1), [0.0, 1.0, 1.0])
    return value - value * share * np.clip(saturation * factor + offset, 0, 1)


def pixelate(image: np.ndarray, share: float, _factors: Factors) -> np.ndarray:
    """Shrink both sides to a ``share`` by averaging, and enlarge the pixels again."""
    h, w = image.shape[:2]
    small = Image.fromarray(image).resize((max(1, int(w * share)), max(1, int(h * share))), Image.Resampling.BOX)
    return np.array(small.resize((w, h), Image.Resampling.BOX))


def jpeg(image: np.ndarray, quality: float, _factors: Factors) -> np.ndarray:
    """Encode as JPEG of a quality from 1 to 100, 4:2:0 as Pillow does by default, and decode."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality))
    with Image.open(file) as encoded:
        return np.array(encoded)


def elastic_transform(image: np.ndarray, constants: tuple[float, float, float], factors: Factors) -> np.ndarray:
    """Move three points of a middle square at random, the image with them, then every pixel by a smooth noise.

    ``alpha`` · noise in [−1, 1] blurred by ``sigma`` is how far a pixel is taken from; the points move by at most
    ``corner``; all in pixels.
    """
    alpha, sigma, corner = constants
    generator, (h, w) = noise_of(factors), image.shape[:2]
    third, middle = min(h, w) // 3, np.array([h // 2, w // 2])
    points = middle + third * np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    moved = points + generator.uniform(-corner, corner, (3, 2))
    to = np.linalg.solve(np.column_stack([moved, np.ones(3)]), points)  # from a place to where its pixel comes from
    i, j = np.mgrid[:h, :w].astype(np.float64)
    rows, columns = (a * i + b * j + c for a, b, c in to.T)
    bent = sampled(image, rows, columns, "reflect")
    down, right = (alpha * gaussian(generator.uniform(-1, 1, (h, w)), sigma, "symmetric", 3.0) for _ in range(2))
    return sampled(bent, i + down, j + right, "symmetric")
