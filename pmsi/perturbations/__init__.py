"""PERTURBATIONS: what is done to a test image to see whether it is still recognised; the same for every model.

A perturbation acts on the 8-bit RGB image after resize and crop, before normalisation. It has two halves: ``draw``
makes a few numbers from a generator (storable, replayable), ``apply`` changes pixels by them and by nothing else. The
draw depends on the perturbation, its severity, a base seed and the image's key alone, so neither batch size nor order,
workers or device can change a pixel. Importing this package imports no torch.

    row         what a row is
    paper       Table VII: colour jitter, Gaussian noise
    capture     what cameras and the web do: JPEG, resolution, rotation, occlusion
    imagenet_c  the 15 + 4 corruptions of ImageNet-C
    entries     rows as they are typed: rotation=10,20
"""

import hashlib
from typing import Any

import numpy as np
from PIL import Image

from pmsi.base.errors import lookup
from pmsi.base.seeding import numpy_generator
from pmsi.perturbations import capture, imagenet_c, paper
from pmsi.perturbations.row import NOISE_SEEDS, Factors, ImageOrArray, Perturbation

__all__ = ["NOISE_SEEDS", "PERTURBATIONS", "Factors", "Perturbation", "draw", "perturb", "pixel_hash"]

PERTURBATIONS: dict[str, Perturbation] = {**paper.ROWS, **capture.ROWS, **imagenet_c.ROWS}


def draw(name: str, severity: float, size: tuple[int, int], *, seed: int, key: str) -> dict[str, Any]:
    """Return the factors for the image ``key`` of ``size`` (width, height): those that `perturb` would apply."""
    row = lookup("perturbation", PERTURBATIONS, name)
    severity = row.check(severity)
    return row.draw(numpy_generator("perturbation", name, severity, seed, key), severity, size)


def perturb(
    image: ImageOrArray, name: str, severity: float, *, seed: int, key: str
) -> tuple[ImageOrArray, dict[str, Any]]:
    """Return the perturbed image and the factors that were drawn for it.

    ``image`` is RGB, resized and cropped, as a Pillow image or as a uint8 array (height, width, 3); ``key`` is its
    identity within its data set. Severity 0 gives the same pixels. Raises `UnknownName`, `ConfigError` (severity out of
    range) or `ImageError` (not 8-bit RGB).
    """
    size = image.size if isinstance(image, Image.Image) else (image.shape[1], image.shape[0])
    factors = draw(name, severity, size, seed=seed, key=key)
    return PERTURBATIONS[name].apply(image, severity, factors), factors


def pixel_hash(image: Image.Image | np.ndarray) -> str:
    """Return 16 hexadecimal digits that tell whether two images of one size have the same pixels."""
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).hexdigest()
