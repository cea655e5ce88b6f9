"""PERTURBATIONS: changes of test images that measure robustness; every model gets the same pixels.

A perturbation works on the 8-bit RGB image after resize and crop, before normalisation. ``draw`` draws a few factors
from a generator (storable, replayable); ``apply`` changes pixels by these factors only. The draw depends only on the
perturbation, its severity, a base seed and the image's key, not on batch size, order, workers or device. Importing this
package imports no torch.

    row         the type of a row
    paper       Table VII: colour jitter, Gaussian noise
    capture     effects of cameras and the web: JPEG, resolution, rotation, occlusion
    imagenet_c  the 15 + 4 corruptions of ImageNet-C
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from pmsi.base.errors import ConfigError, lookup
from pmsi.base.seeding import numpy_generator
from pmsi.perturbations import capture, imagenet_c, paper
from pmsi.perturbations.row import EFFECTS, NOISE_SEEDS, Factors, ImageOrArray, Perturbation

PERTURBATIONS: dict[str, Perturbation] = {**paper.ROWS, **capture.ROWS, **imagenet_c.ROWS}


def by_effect(names: Iterable[str] = PERTURBATIONS) -> dict[str, list[str]]:
    """Return names of rows by what they do to an image, in the order of EFFECTS; effects without any are left out."""
    known = [name for name in names if name in PERTURBATIONS]
    found = {effect: [name for name in known if PERTURBATIONS[name].effect == effect] for effect in EFFECTS}
    return {effect: some for effect, some in found.items() if some}


def draw(
    name: str, severity: float, size: tuple[int, int], *, seed: int, key: str, drawn_at: float | None = None
) -> dict[str, Any]:
    """Return the factors that `perturb` applies to the image ``key`` of ``size`` (width, height)."""
    row = lookup("perturbation", PERTURBATIONS, name)
    at = row.check(severity if drawn_at is None else drawn_at)
    return row.draw(numpy_generator("perturbation", name, at, seed, key), severity, size)


def perturb(
    image: ImageOrArray, name: str, severity: float, *, seed: int, key: str, drawn_at: float | None = None
) -> tuple[ImageOrArray, dict[str, Any]]:
    """Return the perturbed image and the factors that were drawn for it.

    ``image`` is RGB, resized and cropped: a Pillow image or a uint8 array (height, width, 3). ``key`` identifies it
    within its data set. Severity 0 changes nothing. Each severity has a draw of its own; with ``drawn_at``, it is that
    severity's draw, scaled, so that pictures with one ``drawn_at`` change more and more. Raises `UnknownName`,
    `ConfigError` (severity out of range) or `ImageError` (not 8-bit RGB).
    """
    size = image.size if isinstance(image, Image.Image) else (image.shape[1], image.shape[0])
    factors = draw(name, severity, size, seed=seed, key=key, drawn_at=drawn_at)
    return PERTURBATIONS[name].apply(image, severity, factors), factors


def pixel_hash(image: Image.Image | np.ndarray) -> str:
    """Return 16 hexadecimal digits, a hash of an image's pixels without its size."""
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=8).hexdigest()


def severities_of(entry: str, usual: Sequence[float] | None = None) -> list[tuple[str, float]]:
    """Return the (name, severity) pairs of an entry; without severities, ``usual`` or the default ones of its row.

    Raises UnknownName for the name, and ConfigError for a severity that is no number or out of the row's range.
    """
    name, equals, listed = entry.partition("=")
    row = lookup("perturbation", PERTURBATIONS, name)
    severities = row.levels if usual is None else usual
    if equals:
        severities = _numbers(entry, listed)
    return [(name, row.check(severity)) for severity in severities]


def _numbers(entry: str, listed: str) -> list[float]:
    try:
        return [float(word) for word in listed.split(",")]
    except ValueError:
        raise ConfigError(
            f"Perturbation {entry!r}: expected a name, or a name and its severities, such as rotation=10,20."
        ) from None
