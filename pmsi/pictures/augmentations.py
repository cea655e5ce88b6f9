"""The rows of AUGMENTATIONS applied to the same image; rows that mix images get a second one as partner."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pmsi.augment import AUGMENTATIONS, Attention
from pmsi.augment.mosaic import check_divisible
from pmsi.base.errors import ConfigError, lookup
from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.data.preprocessing import to_picture, to_tensor
from pmsi.model.batch import Target

ORDER = ("rmg", "jigsaw", "cutmix", "mixup", "snapmix")
"""The rows that change an image, the paper's first."""

ATTEMPTS = 64
"""Most draws until the image is mixed with its partner; about every second draw mixes it with itself."""


@dataclass(frozen=True, slots=True)
class Augmented:
    """An augmented image, and the weights of its own label and of its partner's (0 if nothing was mixed)."""

    picture: Image.Image
    own: float
    partner: float


def augmented(
    name: str,
    image: Image.Image,
    partner: Image.Image,
    r: int = 3,
    *,
    seed: int = 0,
    permutation: str = "uniform",
    attention: Callable[[], Tensor] | None = None,
) -> Augmented:
    """Return ``image`` after row ``name`` of AUGMENTATIONS in a phase of ``r`` recursions, with its label weights.

    Both images are RGB of the same size, which 2^r must divide if the row cuts patches (ConfigError). ``attention``
    returns (2, h, w), the network's maps of the classes of the image and of its partner; by default it is uniform.
    """
    row = lookup("augmentation", AUGMENTATIONS, name)
    if image.size != partner.size:
        raise ConfigError(f"The image has {image.size} pixels and its partner {partner.size}: they must be one size.")
    if row.cuts:
        check_divisible((image.height, image.width), r)
    images = torch.stack([to_tensor(np.asarray(picture.convert("RGB"))) for picture in (image, partner)])
    config = TrainConfig(permutation=permutation)
    maps: Attention = attention or (lambda: torch.ones(2, 1, 1))
    for attempt in range(ATTEMPTS):
        draw = torch.Generator().manual_seed(derive("preview", seed, *([attempt] if attempt else [])))
        changed, target = row.augment(images, torch.arange(2), r, draw, config, maps)
        if _is_as_wanted(target):
            break
    return Augmented(to_picture(changed[0]), float(target.weight_a[0]), float(target.weight_b[0]))


def _is_as_wanted(target: Target) -> bool:
    """Return whether the first image was mixed with the second, or the row does not mix."""
    mixed = bool((target.weight_b > 0).any() or (target.label_b != target.label_a).any())
    return not mixed or bool(target.label_b[0] == 1 and target.weight_b[0] > 0)
