"""The 15 + 4 common corruptions of ImageNet-C (Hendrycks & Dietterich, ICLR 2019), with their published constants.

Written anew after the paper's definitions, for images of any size, each image with a draw of its own: ImageNet-C has no
canonical seed. Lengths are in pixels, as published for 224 × 224, and do not grow with the image. Everywhere, values
are rounded to pixels, where ImageNet-C drops the fraction: up to one level of 255 brighter. Other departures are in the
rows' help. Rows carry a "c_" before ImageNet-C's name, as some names mean something else here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pmsi.perturbations import blurs, digital, noises, weather
from pmsi.perturbations.row import (
    EXTRA,
    IMAGENET_C,
    Apply,
    Draw,
    Factors,
    Perturbation,
    nothing_drawn,
    seed_drawn,
    to_pixels,
)
from pmsi.perturbations.spatter import spatter

LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)


def _applied(corrupt: Callable[[np.ndarray, Any, Factors], np.ndarray], constants: Sequence[Any]) -> Apply:
    """Return how severity s changes pixels: with the s-th of the five constants."""
    assert len(constants) == len(LEVELS)

    def apply(image: np.ndarray, severity: float, factors: Factors) -> np.ndarray:
        values = corrupt(image, constants[int(severity) - 1], factors)
        return values if values.dtype == np.uint8 else to_pixels(values)

    return apply


def _row(
    corrupt: Callable[[np.ndarray, Any, Factors], np.ndarray],
    help: str,
    *constants: Any,
    drawn: Draw = nothing_drawn,
    family: str = IMAGENET_C,
) -> Perturbation:
    name = corrupt.__name__
    title = {"jpeg": "JPEG compression"}.get(name, name.replace("_", " ").capitalize())
    return Perturbation(
        title=f"{title} (ImageNet-C)",
        family=family,
        symbol="s",
        unit="severity of ImageNet-C",
        maximum=LEVELS[-1],
        levels=LEVELS,
        whole=True,
        help=f"{help} On the cropped 8-bit image.",
        drawn=drawn,
        applied=_applied(corrupt, constants),
        constants=constants,
    )


ROWS: dict[str, Perturbation] = {
    "c_gaussian_noise": _row(
        noises.gaussian_noise,
        "N(0, σ²) added to every value, σ from 8 % to 38 % of 255.",
        *(0.08, 0.12, 0.18, 0.26, 0.38),
        drawn=seed_drawn,
    ),
    "c_shot_noise": _row(
        noises.shot_noise, "Poisson noise of 60 down to 3 photons for white.", *(60, 25, 12, 5, 3), drawn=seed_drawn
    ),
    "c_impulse_noise": _row(
        noises.impulse_noise,
        "From 3 % to 27 % of all values become 0 or 255.",
        *(0.03, 0.06, 0.09, 0.17, 0.27),
        drawn=seed_drawn,
    ),
    "c_defocus_blur": _row(
        blurs.defocus_blur,
        "A disc with a radius from 3 to 10 pixels.",
        *((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "c_glass_blur": _row(
        blurs.glass_blur,
        "Each pixel swapped with one up to 4 pixels away, between two blurs; pixels take turns in another order than "
        "ImageNet-C's, not row by row, which mixes a little less.",
        *((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        drawn=seed_drawn,
    ),
    "c_motion_blur": _row(
        blurs.motion_blur,
        "A smear of 21 to 41 pixels, fading out, towards an angle drawn from [−45°, 45°].",
        *((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
        drawn=blurs.motion_draw,
    ),
    "c_zoom_blur": _row(
        blurs.zoom_blur,
        "The mean of enlargements by up to 1.11, 1.15, 1.2, 1.24 or 1.3.",
        *((0.01, 12), (0.01, 16), (0.02, 11), (0.02, 13), (0.03, 11)),
    ),
    "c_snow": _row(
        weather.snow,
        "A whitened image behind falling flakes.",
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        drawn=weather.snow_draw,
    ),
    "c_frost": _row(
        weather.frost,
        "A dimmed image under frost. The frost is drawn, in the mean colour and contrast of ImageNet-C's photographs, "
        "which are not here: accuracies are not to be compared with published ones.",
        *((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
        drawn=seed_drawn,
    ),
    "c_fog": _row(
        weather.fog,
        "A plasma fractal added, then scaled back.",
        *((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
        drawn=seed_drawn,
    ),
    "c_brightness": _row(
        digital.brightness, "Value of HSV raised by 10 % to 50 % of its range.", *(0.1, 0.2, 0.3, 0.4, 0.5)
    ),
    "c_contrast": _row(
        digital.contrast, "Contrast about each channel's mean lowered to 40 % down to 5 %.", *(0.4, 0.3, 0.2, 0.1, 0.05)
    ),
    "c_elastic_transform": _row(
        digital.elastic_transform,
        "A random affine map, then a smooth random shift of every pixel.",
        (488, 170.8, 24.4),
        (488, 19.52, 48.8),
        (12.2, 2.44, 4.88),
        (17.08, 2.44, 4.88),
        (29.28, 2.44, 4.88),
        drawn=seed_drawn,
    ),
    "c_pixelate": _row(
        digital.pixelate, "Shrunk to 60 % down to 25 % and enlarged again.", *(0.6, 0.5, 0.4, 0.3, 0.25)
    ),
    "c_jpeg_compression": _row(digital.jpeg, "JPEG of quality 25 down to 7.", *(25, 18, 15, 10, 7)),
    "c_speckle_noise": _row(
        noises.speckle_noise,
        "Noise in proportion to each value, σ from 15 % to 60 % of it.",
        *(0.15, 0.2, 0.35, 0.45, 0.6),
        drawn=seed_drawn,
        family=EXTRA,
    ),
    "c_gaussian_blur": _row(
        blurs.gaussian_blur, "A Gaussian with σ from 1 to 6 pixels.", *(1, 2, 3, 4, 6), family=EXTRA
    ),
    "c_spatter": _row(
        spatter,
        "Drops of water (severities 1 to 3) or mud (4 and 5); edges of the water are the outlines of its drops, where "
        "ImageNet-C looks for edges by Canny's method.",
        (0.65, 0.3, 4, 0.69, 0.6, False),
        (0.65, 0.3, 3, 0.68, 0.6, False),
        (0.65, 0.3, 2, 0.68, 0.5, False),
        (0.65, 0.3, 1, 0.65, 1.5, True),
        (0.67, 0.4, 1, 0.65, 1.5, True),
        drawn=seed_drawn,
        family=EXTRA,
    ),
    "c_saturate": _row(
        digital.saturate,
        "Saturation lowered to 30 % and 10 %, then raised 2, 5 and 20 times; greys turn red at 4 and 5.",
        *((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
        family=EXTRA,
    ),
}
