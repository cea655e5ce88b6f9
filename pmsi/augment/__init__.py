"""AUGMENTATIONS: what the progressive phases show instead of the raw image (Table IV).

A row turns a batch (b, c, h, w) of uint8 images, their labels and the phase's number of recursions into images and a
target. Where r is 0, the last phase, every row leaves the image as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pmsi.augment.mosaic import recursive_mosaic
from pmsi.batch import Target
from pmsi.config import TrainConfig

Attention = Callable[[], Tensor]
"""→ (b, h, w): where the network sees each image's own class, of either sign; computed when it is called."""

Augment = Callable[[Tensor, Tensor, int, torch.Generator, TrainConfig, Attention], tuple[Tensor, Target]]
"""(images, labels, r, generator, config, attention) → (images, target)."""


@dataclass(frozen=True)
class Augmentation:
    """A row of AUGMENTATIONS.

    ``progressive`` says that it needs phases (it does nothing where r is 0), ``cuts`` that 2^r must divide the images'
    sides, ``attends`` that it asks the network where it looks.
    """

    title: str
    augment: Augment
    help: str
    progressive: bool = True
    cuts: bool = False
    attends: bool = False


def none(
    images: Tensor,
    labels: Tensor,
    r: int,
    generator: torch.Generator,
    config: TrainConfig,
    attention: Attention,
) -> tuple[Tensor, Target]:
    """Return the images as they are."""
    return images, Target.plain(labels)


def rmg(
    images: Tensor,
    labels: Tensor,
    r: int,
    generator: torch.Generator,
    config: TrainConfig,
    attention: Attention,
) -> tuple[Tensor, Target]:
    """Return G(x, r) of each image, with its own label."""
    if r > 0:
        images = recursive_mosaic(
            images, r, generator=generator, per_image=config.per_image, permutation=config.permutation
        )
    return images, Target.plain(labels)


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation("None", none, "The raw image in every phase.", progressive=False),
    "rmg": Augmentation("RMG (ours)", rmg, "The paper's recursive mosaic G(x, r).", cuts=True),
}
