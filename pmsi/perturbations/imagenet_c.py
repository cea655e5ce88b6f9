"""The 15 + 4 common corruptions of ImageNet-C (Hendrycks & Dietterich, ICLR 2019), with their published constants.

Images can have any size. Each image has a draw of its own, as ImageNet-C has no canonical seed. Lengths are in pixels,
as published for 224 × 224, and do not scale with the image. Values are rounded, where ImageNet-C truncates: up to one
level of 255 brighter. Other differences are in the rows' help. Keys are "c_" + ImageNet-C's name, because other rows
have some of these names.

A corruption is a function of an image (h, w, 3) uint8, the constant of the severity, and the drawn factors. It returns
values (h, w, 3) on the 0–255 scale, not yet rounded and clipped. The decorator `corruption` makes its row.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from pmsi.perturbations.capture import jpeg
from pmsi.perturbations.paper import noisy
from pmsi.perturbations.row import (
    BLUR,
    COMPRESSION,
    EXTRA,
    GEOMETRY,
    IMAGENET_C,
    LIGHT,
    NOISE,
    WEATHER,
    Draw,
    Factors,
    Perturbation,
    noise_of,
    nothing_drawn,
    seed_drawn,
    to_pixels,
)

ROWS: dict[str, Perturbation] = {}
LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)
GREY = np.array([0.299, 0.587, 0.114])
"""Luma weights of R, G and B (ITU-R BT.601)."""

Corrupt = Callable[[np.ndarray, Any, Factors], np.ndarray]


def corruption(
    effect: str, constants: Sequence[Any], help: str, drawn: Draw = nothing_drawn, family: str = IMAGENET_C
) -> Callable[[Corrupt], Corrupt]:
    """Return a decorator that adds a corruption to ROWS; severity s gives it the s-th of the five ``constants``."""
    assert len(constants) == len(LEVELS)

    def add(corrupt: Corrupt) -> Corrupt:
        def applied(image: np.ndarray, severity: float, factors: Factors) -> np.ndarray:
            return to_pixels(corrupt(image, constants[int(severity) - 1], factors))

        name = corrupt.__name__
        ROWS[f"c_{name}"] = Perturbation(
            title=f"{name.replace('_', ' ').capitalize().replace('Jpeg', 'JPEG')} (ImageNet-C)",
            family=family,
            effect=effect,
            symbol="s",
            unit="severity of ImageNet-C",
            maximum=LEVELS[-1],
            levels=LEVELS,
            whole=True,
            help=f"{help} On the cropped 8-bit image.",
            drawn=drawn,
            applied=applied,
        )
        return corrupt

    return add


# Noise


@corruption(
    NOISE,
    [0.08, 0.12, 0.18, 0.26, 0.38],
    help="N(0, σ²) added to every value, σ from 8 % to 38 % of 255.",
    drawn=seed_drawn,
)
def gaussian_noise(image: np.ndarray, sigma: float, factors: Factors) -> np.ndarray:
    """x + N(0, σ²), σ as a fraction of 255."""
    return noisy(image, 255 * sigma, factors)


@corruption(NOISE, [60, 25, 12, 5, 3], help="Poisson noise of 60 down to 3 photons for white.", drawn=seed_drawn)
def shot_noise(image: np.ndarray, photons: float, factors: Factors) -> np.ndarray:
    """Poisson noise for ``photons`` photons in a white value."""
    return noise_of(factors).poisson(image * (photons / 255)) * (255 / photons)


@corruption(
    NOISE, [0.03, 0.06, 0.09, 0.17, 0.27], help="From 3 % to 27 % of all values become 0 or 255.", drawn=seed_drawn
)
def impulse_noise(image: np.ndarray, share: float, factors: Factors) -> np.ndarray:
    """Set a ``share`` of the values to 0 or 255 with equal probability, independently in each channel."""
    drawn = noise_of(factors).random(image.shape)
    return np.where(drawn < share / 2, 0, np.where(drawn < share, 255, image))


# Blur


@corruption(BLUR, [(3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)], help="A disc with a radius from 3 to 10 pixels.")
def defocus_blur(image: np.ndarray, constants: tuple[int, float], _factors: Factors) -> np.ndarray:
    """Blur by a disc, its rim softened by a Gaussian of σ that is cut to 3×3, or to 5×5 above a radius of 8."""
    from scipy.signal import fftconvolve  # here, because it takes a second

    radius, sigma = constants
    soft = 1 if radius <= 8 else 2
    reach = radius + soft  # so that the whole blurred disc is kept
    way = np.arange(-reach, reach + 1)
    disc = (way[:, None] ** 2 + way**2 <= radius**2).astype(np.float64)
    kernel = ndimage.gaussian_filter(disc / disc.sum(), sigma, radius=soft)
    padded = np.pad(image.astype(np.float64), ((reach, reach), (reach, reach), (0, 0)), "reflect")
    return fftconvolve(padded, kernel[..., None], mode="valid", axes=(0, 1))


@corruption(
    BLUR,
    [(0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)],
    help="Each pixel replaced by one up to 4 pixels away, between two blurs.",
    drawn=seed_drawn,
)
def glass_blur(image: np.ndarray, constants: tuple[float, int, int], factors: Factors) -> np.ndarray:
    """Blur, replace each pixel by one at most ``reach`` away, repeat that ``times`` times, and blur again."""
    sigma, reach, times = constants
    x, generator = blurred(image, sigma), noise_of(factors)
    for _ in range(times):
        x = scattered(x, reach, generator)
    return blurred(x, sigma)


def scattered(x: np.ndarray, reach: int, generator: np.random.Generator) -> np.ndarray:
    """Return ``x`` (h, w, c) with each pixel, except near the border, replaced by one from [−reach, reach) away.

    Pixels are replaced in place, from the last to the first. ImageNet-C's code looks as if it swapped two pixels, but
    it swaps views of one numpy array: after the first assignment both views have the same values.
    """
    h, w = x.shape[:2]
    place = np.arange(h * w)
    source = place.copy()
    inner = source.reshape(h, w)[reach + 1 : h - reach + 1, reach + 1 : w - reach + 1]
    down, right = generator.integers(-reach, reach, (2, *inner.shape))
    inner += down * w + right
    replaced = source > place  # the source was itself replaced before: follow it to its own source
    while replaced.any():
        before = source[replaced]
        source[replaced], replaced[replaced] = source[before], replaced[before]
    return x.reshape(h * w, -1)[source].reshape(x.shape)


def draw_motion(generator: np.random.Generator, _severity: float, _size: tuple[int, int]) -> dict[str, Any]:
    """Draw the direction of the motion, in degrees."""
    return {"angle": float(generator.uniform(-45, 45))}


@corruption(
    BLUR,
    [(10, 3), (15, 5), (15, 8), (15, 12), (20, 15)],
    help="A smear of 21 to 41 pixels, fading out, towards an angle drawn from [−45°, 45°].",
    drawn=draw_motion,
)
def motion_blur(image: np.ndarray, constants: tuple[int, float], factors: Factors) -> np.ndarray:
    """Smear towards the drawn angle; see `smeared`."""
    return smeared(image, *constants, factors["angle"])


@corruption(
    BLUR,
    [(0.01, 12), (0.01, 16), (0.02, 11), (0.02, 13), (0.03, 11)],
    help="The mean of enlargements by up to 1.11, 1.15, 1.2, 1.24 or 1.3.",
)
def zoom_blur(image: np.ndarray, constants: tuple[float, int], _factors: Factors) -> np.ndarray:
    """The mean of the image and of ``count`` enlargements: by 1, 1 + step, 1 + 2 · step, …"""
    step, count = constants
    total = image.astype(np.float64)
    for number in range(count):
        total += enlarged(image, 1 + number * step)
    return total / (count + 1)


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    """Return an image or a field (h, w) blurred by a Gaussian of σ pixels, cut off at 4σ; the border repeats."""
    return ndimage.gaussian_filter(x.astype(np.float64), sigma, mode="nearest", axes=(0, 1))


def smeared(x: np.ndarray, radius: int, sigma: float, angle: float) -> np.ndarray:
    """Return an image or a field (h, w) with motion blur in the direction ``angle`` (degrees); the border repeats.

    The mean of 2 · radius + 1 pixels along the line, weighted by half a Gaussian of σ pixels.
    """
    h, w = x.shape[:2]
    room = 2 * radius
    padded = np.pad(x.astype(np.float64), ((room, room), (room, room), (0, 0))[: x.ndim], "edge")
    way = np.arange(2 * radius + 1)
    weights = np.exp(-0.5 * (way / sigma) ** 2)
    rows = room + np.ceil(way * math.sin(math.radians(angle)) - 0.5).astype(int)
    columns = room + np.ceil(way * math.cos(math.radians(angle)) - 0.5).astype(int)
    total = np.zeros(x.shape)
    for weight, i, j in zip(weights / weights.sum(), rows, columns, strict=True):
        total += weight * padded[i : i + h, j : j + w]
    return total


def enlarged(x: np.ndarray, factor: float) -> np.ndarray:
    """Return the middle 1 / factor of an image (uint8) or a field (float32) at the size of the whole, interpolated."""
    picture = Image.fromarray(x)
    w, h = picture.size
    left, top = (w - w / factor) / 2, (h - h / factor) / 2
    return np.asarray(picture.resize((w, h), Image.Resampling.BILINEAR, (left, top, w - left, h - top)))


# Weather


def draw_snow(generator: np.random.Generator, severity: float, size: tuple[int, int]) -> dict[str, Any]:
    """Draw the flakes, and the direction in which they fall, in degrees."""
    return {**seed_drawn(generator, severity, size), "angle": float(generator.uniform(-135, -45))}


@corruption(
    WEATHER,
    [
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    ],
    help="A whitened image behind falling flakes.",
    drawn=draw_snow,
)
def snow(
    image: np.ndarray, constants: tuple[float, float, float, float, int, float, float], factors: Factors
) -> np.ndarray:
    """Whiten the image, and add a layer of falling flakes and the same layer turned by 180°.

    Flakes are noise N(mean, sd), enlarged ``size`` times, set to 0 below ``least``, with motion blur along their fall.
    """
    mean, sd, size, least, radius, sigma, kept = constants
    flakes = enlarged(noise_of(factors).normal(mean, sd, image.shape[:2]).astype(np.float32), size)
    layer = smeared(np.where(flakes < least, 0, flakes).clip(0, 1), radius, sigma, factors["angle"])
    layer = np.rint(255 * layer)[..., None]
    white = np.maximum(image, 1.5 * (image @ GREY)[..., None] + 0.5 * 255)
    return kept * image + (1 - kept) * white + layer + np.rot90(layer, 2)


FROST_COLOUR, FROST_DEVIATION = np.array([146.0, 167.0, 179.0]), 28.0
"""Mean colour of the five photographs of frost that ImageNet-C lays over images, and their usual deviation."""


@corruption(
    WEATHER,
    [(1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)],
    help="A dimmed image under frost. The frost is drawn, in the mean colour and contrast of ImageNet-C's photographs, "
    "which are not here: accuracies are not to be compared with published ones.",
    drawn=seed_drawn,
)
def frost(image: np.ndarray, constants: tuple[float, float], factors: Factors) -> np.ndarray:
    """The image, dimmed, plus frost."""
    dimmed, added = constants
    return dimmed * image + added * frost_texture(image.shape[:2], noise_of(factors))


def frost_texture(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return a drawn frost (h, w, 3) on the 0–255 scale: sharp ridges of smooth noise, of fine and of coarse grain."""
    h, w = shape
    ridges = np.zeros(shape)
    for cell, weight in ((4, 0.5), (8, 0.7), (16, 1.0), (32, 1.0), (64, 0.7)):
        grid = generator.standard_normal((h // cell + 3, w // cell + 3)).astype(np.float32)
        # A cell more than needed on each side: beyond the middle of the last one nothing would vary.
        box = (1.0, 1.0, 1.0 + w / cell, 1.0 + h / cell)
        smooth = np.asarray(Image.fromarray(grid).resize((w, h), Image.Resampling.BICUBIC, box))
        ridges += weight * np.exp(-4 * np.abs(smooth))
    ridges = (ridges - ridges.mean()) / max(ridges.std(), 1e-9)
    return (FROST_COLOUR + FROST_DEVIATION * ridges[..., None]).clip(0, 255)


@corruption(
    WEATHER,
    [(1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)],
    help="A plasma fractal added, then scaled back.",
    drawn=seed_drawn,
)
def fog(image: np.ndarray, constants: tuple[float, float], factors: Factors) -> np.ndarray:
    """Add fog of a density to the image, and scale the sum back to the image's brightest value."""
    density, decay = constants
    h, w = image.shape[:2]
    clouds = plasma(1 << (max(h, w) - 1).bit_length(), decay, noise_of(factors))[:h, :w, None]
    brightest = image.max() / 255
    return (image + 255 * density * clouds) * (brightest / (brightest + density))


def plasma(side: int, decay: float, generator: np.random.Generator) -> np.ndarray:
    """Return a plasma fractal (side, side) from 0 to 1, side a power of two, that continues at its opposite border.

    Diamond–square: points between known ones get their mean and a noise, which is ``decay``² smaller at each level.
    """
    field, step, spread = np.zeros((side, side)), side, 1.0

    def between(total: np.ndarray) -> np.ndarray:
        return total / 4 + generator.uniform(-spread, spread, total.shape)

    while step > 1:
        half = step // 2
        corners, middles = field[::step, ::step], field[half::step, half::step]
        pairs = corners + np.roll(corners, -1, 1)  # a corner and the next in its row
        middles[:] = between(pairs + np.roll(pairs, -1, 0))
        field[::step, half::step] = between(pairs + middles + np.roll(middles, 1, 0))
        columns = corners + np.roll(corners, -1, 0)
        field[half::step, ::step] = between(columns + middles + np.roll(middles, 1, 1))
        step, spread = half, spread / decay**2
    field -= field.min()
    return field / max(field.max(), 1e-12)


# Digital


@corruption(LIGHT, [0.1, 0.2, 0.3, 0.4, 0.5], help="Value of HSV raised by 10 % to 50 % of its range.")
def brightness(image: np.ndarray, added: float, _factors: Factors) -> np.ndarray:
    """Raise V of HSV, hue and saturation kept: all channels times V'/V; black, which has no hue, becomes grey."""
    value = image.max(axis=2, keepdims=True).astype(np.float64)
    raised = np.minimum(value + 255 * added, 255)
    return np.where(value > 0, image * (raised / np.maximum(value, 1)), raised)


@corruption(LIGHT, [0.4, 0.3, 0.2, 0.1, 0.05], help="Contrast about each channel's mean lowered to 40 % down to 5 %.")
def contrast(image: np.ndarray, factor: float, _factors: Factors) -> np.ndarray:
    """Scale every value's distance from the mean of its channel."""
    mean = image.mean(axis=(0, 1))
    return (image - mean) * factor + mean


@corruption(
    GEOMETRY,
    [(488, 170.8, 24.4), (488, 19.52, 48.8), (12.2, 2.44, 4.88), (17.08, 2.44, 4.88), (29.28, 2.44, 4.88)],
    help="A random affine map, then a smooth random shift of every pixel.",
    drawn=seed_drawn,
)
def elastic_transform(image: np.ndarray, constants: tuple[float, float, float], factors: Factors) -> np.ndarray:
    """Apply an affine map that moves three points of a central square at random, then shift pixels by a smooth noise.

    The shift is ``alpha`` · noise in [−1, 1], blurred by ``sigma``; the points move by at most ``corner``; in pixels.
    """
    alpha, sigma, corner = constants
    generator, (h, w) = noise_of(factors), image.shape[:2]
    third, middle = min(h, w) // 3, np.array([h // 2, w // 2])
    points = middle + third * np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    moved = points + generator.uniform(-corner, corner, (3, 2))
    to = np.linalg.solve(np.column_stack([moved, np.ones(3)]), points)  # from a place to where its pixel comes from
    noises = generator.uniform(-1, 1, (2, h, w))
    shifts = [alpha * ndimage.gaussian_filter(noise, sigma, mode="reflect", truncate=3) for noise in noises]
    places = np.mgrid[:h, :w] + shifts
    channels = []
    for channel in np.moveaxis(image.astype(np.float64), 2, 0):
        bent = ndimage.affine_transform(channel, to[:2].T, to[2], order=1, mode="mirror")
        channels.append(ndimage.map_coordinates(bent, places, order=1, mode="reflect"))
    return np.stack(channels, axis=2)


@corruption(COMPRESSION, [0.6, 0.5, 0.4, 0.3, 0.25], help="Shrunk to 60 % down to 25 % and enlarged again.")
def pixelate(image: np.ndarray, share: float, _factors: Factors) -> np.ndarray:
    """Shrink both sides to a ``share`` by averaging, and enlarge the pixels again."""
    h, w = image.shape[:2]
    small = Image.fromarray(image).resize((max(1, int(w * share)), max(1, int(h * share))), Image.Resampling.BOX)
    return np.array(small.resize((w, h), Image.Resampling.BOX))


@corruption(COMPRESSION, [25, 18, 15, 10, 7], help="JPEG of quality 25 down to 7.")
def jpeg_compression(image: np.ndarray, quality: int, _factors: Factors) -> np.ndarray:
    """Encode as JPEG of a quality, and decode."""
    return jpeg(image, quality)


# Extra: ImageNet-C's four corruptions for validation


@corruption(
    NOISE,
    [0.15, 0.2, 0.35, 0.45, 0.6],
    help="Noise in proportion to each value, σ from 15 % to 60 % of it.",
    drawn=seed_drawn,
    family=EXTRA,
)
def speckle_noise(image: np.ndarray, sigma: float, factors: Factors) -> np.ndarray:
    """x + x · N(0, σ²)."""
    return image * (1 + sigma * noise_of(factors).standard_normal(image.shape))


@corruption(BLUR, [1, 2, 3, 4, 6], help="A Gaussian with σ from 1 to 6 pixels.", family=EXTRA)
def gaussian_blur(image: np.ndarray, sigma: float, _factors: Factors) -> np.ndarray:
    """Blur by a Gaussian of σ."""
    return blurred(image, sigma)


WATER, MUD = np.array([175.0, 238.0, 238.0]), np.array([63.0, 42.0, 20.0])
"""Pale turquoise and brown, RGB."""

RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
"""Weights of a pixel's neighbours that light a height from one corner."""


@corruption(
    WEATHER,
    [
        (0.65, 0.3, 4, 0.69, 0.6, False),
        (0.65, 0.3, 3, 0.68, 0.6, False),
        (0.65, 0.3, 2, 0.68, 0.5, False),
        (0.65, 0.3, 1, 0.65, 1.5, True),
        (0.67, 0.4, 1, 0.65, 1.5, True),
    ],
    help="Drops of water (severities 1 to 3) or mud (4 and 5). Distances from the edges of the water are exact, where "
    "ImageNet-C approximates them, which makes about 1 % of a difference.",
    drawn=seed_drawn,
    family=EXTRA,
)
def spatter(
    image: np.ndarray, constants: tuple[float, float, float, float, float, bool], factors: Factors
) -> np.ndarray:
    """Add drops of water or mud, where noise N(mean, sd), blurred by σ pixels, is above a threshold."""
    mean, sd, sigma, threshold, amount, is_mud = constants
    liquid = blurred(noise_of(factors).normal(mean, sd, image.shape[:2]), sigma)
    liquid = np.where(liquid < threshold, 0, liquid)
    return _mud(image, liquid, amount) if is_mud else _water(image, liquid, amount)


def _mud(image: np.ndarray, liquid: np.ndarray, sigma: float) -> np.ndarray:
    """Cover the image with brown drops, blurred by σ and set to 0 where they are thin."""
    cover = blurred(liquid > 0, sigma)[..., None]
    cover = np.where(cover < 0.8, 0, cover)
    return image * (1 - cover) + MUD * cover


def _water(image: np.ndarray, liquid: np.ndarray, strength: float) -> np.ndarray:
    """Add pale drops whose brightness is that of a relief, lit from one corner."""
    liquid = np.floor(255 * liquid)
    edges = canny(liquid, 50, 150)
    far = np.full(edges.shape, 20.0)  # pixels from which on the relief is flat
    distance = np.minimum(ndimage.distance_transform_edt(~edges), far) if edges.any() else far
    height = equalized(mean_of_nine(distance).astype(np.uint8))
    relief = ndimage.correlate(height, RELIEF, mode="mirror").clip(0, 255)
    light = liquid * np.rint(mean_of_nine(relief))
    return image + WATER * (strength / max(light.max(), 1e-12)) * light[..., None]


def mean_of_nine(x: np.ndarray) -> np.ndarray:
    """Return the mean of each 3 × 3 pixels of a field (h, w); sums of integers are exact, unlike in a running mean."""
    return ndimage.correlate(x, np.ones((3, 3)), mode="mirror") / 9


def canny(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the edges (h, w) bool of a field (h, w) by Canny's method, with OpenCV's choices.

    Edges are local maxima, in one of four directions, of the gradient (Sobel; |∂x| + |∂y|) above ``low`` that are
    connected to one above ``high``.
    """
    dy, dx = (ndimage.sobel(x, axis, mode="nearest") for axis in (0, 1))
    steep = np.abs(dy) + np.abs(dx)
    padded, (h, w) = np.pad(steep, 1), x.shape

    def largest(down: int, right: int) -> np.ndarray:
        before, after = (padded[1 + i : 1 + i + h, 1 + j : 1 + j + w] for i, j in ((-down, -right), (down, right)))
        return (steep > before) & (steep >= after if 0 in (down, right) else steep > after)

    sideways = np.abs(dy) < math.tan(math.pi / 8) * np.abs(dx)
    upright = np.abs(dy) > math.tan(3 * math.pi / 8) * np.abs(dx)
    across = np.select([sideways, upright, dy * dx < 0], [largest(0, 1), largest(1, 0), largest(1, -1)], largest(1, 1))
    parts, _ = ndimage.label((steep > low) & across, np.ones((3, 3)))
    return (parts > 0) & np.isin(parts, parts[steep > high])


def equalized(values: np.ndarray) -> np.ndarray:
    """Return 8-bit values after histogram equalisation; a constant image does not change."""
    counts = np.bincount(values.ravel(), minlength=256)
    below = counts.cumsum()
    first = counts[counts > 0][0]
    if first == values.size:
        return values.astype(np.float64)
    return np.rint((below - first).clip(0) * (255 / (values.size - first)))[values]


@corruption(
    LIGHT,
    [(0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)],
    help="Saturation lowered to 30 % and 10 %, then raised 2, 5 and 20 times; greys turn red at 4 and 5.",
    family=EXTRA,
)
def saturate(image: np.ndarray, constants: tuple[float, float], _factors: Factors) -> np.ndarray:
    """S of HSV times a factor plus an offset; greys, which have no hue, are taken for red, as HSV's formulas do."""
    factor, offset = constants
    value = image.max(axis=2, keepdims=True).astype(np.float64)
    short = value - image  # of full brightness: V · S for the weakest channel
    most = short.max(axis=2, keepdims=True)
    saturation = most / np.maximum(value, 1)
    share = np.where(most > 0, short / np.maximum(most, 1), [0.0, 1.0, 1.0])
    return value - value * share * np.clip(saturation * factor + offset, 0, 1)
