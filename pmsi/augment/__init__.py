"""AUGMENTATIONS: the augmentations of the progressive phases (Table IV).

A row turns a batch (b, c, h, w) of uint8 images, their labels and the phase's number of recursions r into images and a
target. In the last phase r is 0, and every row returns the images unchanged.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pmsi.augment import mixing
from pmsi.augment.jigsaw import jigsaw_patches
from pmsi.augment.mosaic import recursive_mosaic
from pmsi.config import TrainConfig
from pmsi.model.batch import Target

Attention = Callable[[], Tensor]
"""() → (b, h, w): the network's map of each image's class, of either sign; computed when called."""

Augment = Callable[[Tensor, Tensor, int, torch.Generator, TrainConfig, Attention], tuple[Tensor, Target]]
"""(images, labels, r, generator, config, attention) → (images, target)."""


@dataclass(frozen=True)
class Augmentation:
    """A row of AUGMENTATIONS.

    ``progressive`` says that it needs phases, because it does nothing if r is 0; ``cuts`` that 2^r must divide the
    images' sides; ``attends`` that it uses the network's attention.
    """

    title: str
    augment: Augment
    help: str
    progressive: bool = True
    cuts: bool = False
    attends: bool = False


def none(
    images: Tensor, labels: Tensor, r: int, generator: torch.Generator, config: TrainConfig, attention: Attention
) -> tuple[Tensor, Target]:
    """Return the images unchanged."""
    return images, Target.plain(labels)


def cutmix(
    images: Tensor, labels: Tensor, r: int, generator: torch.Generator, config: TrainConfig, attention: Attention
) -> tuple[Tensor, Target]:
    """Return each image with a box of another one, and both labels weighted by area."""
    if r == 0:
        return images, Target.plain(labels)
    drawn = mixing.plan_cut(len(images), images.shape[2:], generator=generator, per_image=config.per_image)
    return mixing.cutmix(images, labels, drawn)


def mixup(
    images: Tensor, labels: Tensor, r: int, generator: torch.Generator, config: TrainConfig, attention: Attention
) -> tuple[Tensor, Target]:
    """Return the weighted mean of each image and another one, and both labels with the same weights."""
    if r == 0:
        return images, Target.plain(labels)
    drawn = mixing.plan_blend(len(images), generator=generator, per_image=config.per_image)
    return mixing.mixup(images, labels, drawn)


def snapmix(
    images: Tensor, labels: Tensor, r: int, generator: torch.Generator, config: TrainConfig, attention: Attention
) -> tuple[Tensor, Target]:
    """Return each image with a resized box of another one, and both labels weighted by the attention in the boxes."""
    if r == 0:
        return images, Target.plain(labels)
    drawn = mixing.plan_snap(len(images), images.shape[2:], generator=generator, per_image=config.per_image)
    return mixing.snapmix(images, labels, drawn, attention())


def permuted(permute: Callable[..., Tensor]) -> Augment:
    """Return the function of a row that only moves patches, so that images keep their labels.

    ``permute`` is (images, r, generator, per_image, permutation) → images, the last three by keyword.
    """

    def augment(
        images: Tensor, labels: Tensor, r: int, generator: torch.Generator, config: TrainConfig, attention: Attention
    ) -> tuple[Tensor, Target]:
        if r > 0:
            images = permute(images, r, generator=generator, per_image=config.per_image, permutation=config.permutation)
        return images, Target.plain(labels)

    return augment


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation("None", none, "The raw image in every phase.", progressive=False),
    "cutmix": Augmentation("CutMix", cutmix, "A box of another image is pasted; the labels count by area."),
    "mixup": Augmentation("Mixup", mixup, "Two images are blended, and their labels with the same weights."),
    "snapmix": Augmentation(
        "SnapMix",
        snapmix,
        "A resized box of another image is pasted; the labels count by what the network sees in the boxes.",
        attends=True,
    ),
    "jigsaw": Augmentation(
        "Jigsaw", permuted(jigsaw_patches), "All patches of the image are permuted: 2^r × 2^r, as in PMG.", cuts=True
    ),
    "rmg": Augmentation("RMG", permuted(recursive_mosaic), "The paper's recursive mosaic G(x, r).", cuts=True),
}
