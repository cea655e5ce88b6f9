"""The images of Algorithm 1's phases: of any batch of a training run, or one picture cut as in a stage's phase.

A batch comes from the run's loader with the run's draws, so its pixels are exactly those of training: after resize,
crop and flip, before normalisation.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pmsi.base.errors import ConfigError
from pmsi.base.seeding import derive
from pmsi.base.text import percent
from pmsi.config import DATA_FIELDS, TrainConfig
from pmsi.data.dataset import Dataset
from pmsi.data.loading import TrainLoader
from pmsi.data.preprocessing import to_picture, to_tensor
from pmsi.data.sampling import sampler
from pmsi.methods import resolve
from pmsi.model.batch import Images, Labels, Phase, Target
from pmsi.pictures.sheets import grid

GAP = 8
"""Pixels between the pictures of a sheet."""

FIELDS = ("seed", *DATA_FIELDS, "image_size", "resize", "flip", "batch_size", "method", "stage_num", "augmentation",
          "permutation", "per_image", "nested")  # fmt: skip
"""Settings that decide the pixels of the first batch."""


@dataclass(frozen=True, eq=False)
class PhaseBatch:
    """The images (b, 3, h, w) uint8 of one phase, and their target.

    If ``weights_need_model``, the target's weights depend on the network's attention at that time; those given here
    assume uniform attention. The pixels are exact.
    """

    phase: Phase
    images: Images
    target: Target
    weights_need_model: bool = False


def augment_by_phase(
    config: TrainConfig,
    images: Images,
    labels: Labels,
    *,
    epoch: int = 0,
    batch: int = 0,
    attention: Callable[[], Tensor] | None = None,
) -> list[PhaseBatch]:
    """Return one batch of uint8 images as each phase shows it in a run of ``config`` on one device.

    ``epoch`` and ``batch`` count from 0. ``attention`` returns the network's maps (b, h, w), for SnapMix; by default
    they are uniform.
    """
    system = resolve(config)
    maps = attention or (lambda: torch.ones(len(images), *images.shape[2:]))
    found = []
    for number, phase in enumerate(system.phases):
        shown, target = system.augment(images, labels, number, (config.seed, epoch, batch), config, maps)
        mixed = system.augmentation.attends and phase.r > 0 and attention is None
        found.append(PhaseBatch(phase, shown, target, mixed))
    return found


def batch_by_phase(config: TrainConfig, dataset: Dataset, epoch: int = 0, batch: int = 0) -> list[PhaseBatch]:
    """Return batch ``batch`` of epoch ``epoch`` of a config's run, as each phase shows it; both count from 0.

    Images are resized, cropped at random, flipped and augmented like in the run, and not normalised. Raises
    ConfigError if there is no such batch.
    """
    # Without workers: they do not change pixels, and take time to start.
    loader = TrainLoader(dataset, config.with_(workers=0), resolve(config).method.images_per_class)
    if not (0 <= epoch < config.epochs and 0 <= batch < loader.batches):
        raise ConfigError(
            f"epoch = {epoch} and batch = {batch}, which count from 0: there is no such batch. This run has "
            f"{config.epochs} epochs of {loader.batches} batches each."
        )
    images, labels = next(loader.epoch(epoch, batch))
    return augment_by_phase(config, images, labels, epoch=epoch, batch=batch)


def batch_keys(config: TrainConfig, dataset: Dataset, epoch: int = 0) -> list[list[str]]:
    """Return the keys of the training images in every batch of an epoch, in order; no image is opened."""
    labels = [sample.label for sample in dataset.train]
    draw = sampler(labels, dataset.classes, config.batch_size, resolve(config).method.images_per_class)
    return [[dataset.train[index].key for index in batch] for batch in draw(config.seed, epoch)]


def place_of(key: str, batches: list[list[str]]) -> tuple[int, int] | None:
    """Return (batch, place in it) of an image among the `batch_keys` of an epoch; None if it is not in the epoch."""
    for number, batch in enumerate(batches):
        if key in batch:
            return number, batch.index(key)
    return None


def pictures(shown: PhaseBatch, most: int, first: int = 0) -> list[Image.Image]:
    """Return at most ``most`` images of a phase as RGB pictures, from place ``first`` of the batch on."""
    return [to_picture(image) for image in shown.images[first : first + most]]


def sheet(phases: Sequence[PhaseBatch], most: int = 8, first: int = 0) -> Image.Image:
    """Return one picture on white, with a row of `pictures` for each phase."""
    return grid([pictures(shown, most, first) for shown in phases], GAP)


def class_weights(shown: PhaseBatch, classes: Sequence[str], number: int) -> list[tuple[str, float]]:
    """Return the classes of one image of a phase with their weights > 0 in the loss."""
    target = shown.target
    weights: dict[str, float] = defaultdict(float)
    for label, weight in ((target.label_a, target.weight_a), (target.label_b, target.weight_b)):
        weights[classes[int(label[number])]] += float(weight[number])
    return [(name, weight) for name, weight in weights.items() if weight > 0]


def target_text(shown: PhaseBatch, classes: Sequence[str], number: int) -> str:
    """Return the target of one image of a phase in words: its class, or both classes with their weights.

    Weights are left out if both images have the same class, or if the weights need the model.
    """
    found = class_weights(shown, classes, number)
    if shown.weights_need_model or len(found) == 1:
        return " + ".join(name for name, _ in found)
    return " + ".join(f"{percent(weight)} {name}" for name, weight in found)


# One picture, cut as in a stage's phase


def recursions_of_stages(config: TrainConfig) -> dict[str, int]:
    """Return r of the phase that trains each head; empty if the augmentation does not cut images."""
    plan = resolve(config)
    return {phase.head: phase.r for phase in plan.phases} if plan.augmentation.cuts else {}


def phase_mosaic(picture: Image.Image, config: TrainConfig, stage: str, *, seed: int, key: str) -> Image.Image | None:
    """Return an RGB picture cut as in the phase that trains ``stage``; None if that phase does not cut.

    ``seed`` and the image's ``key`` seed the layout; in training each batch has a new one.
    """
    r = recursions_of_stages(config).get(stage, 0)
    if r == 0:
        return None
    pixels, label = to_tensor(np.asarray(picture))[None], torch.zeros(1, dtype=torch.int64)
    generator = torch.Generator().manual_seed(derive("mosaic of a phase", seed, key, r))
    # Augmentations that cut images do not use the network's attention.
    cut, _ = resolve(config).augmentation.augment(pixels, label, r, generator, config, lambda: torch.zeros(1, 1, 1))
    return to_picture(cut[0])
