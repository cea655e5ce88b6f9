"""What the phases of Algorithm 1 show: any batch of a training run, or one picture cut as a stage's phase cuts it.

A batch is made by the run's own loader with the run's own draws, so its pixels are exactly those of training: after
resize, crop and flip, before normalisation.
"""

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
from pmsi.data.preprocessing import to_picture
from pmsi.data.sampling import sampler
from pmsi.methods import resolve
from pmsi.model.batch import Images, Labels, Phase, Target
from pmsi.pictures.sheets import grid

GAP = 8
"""Pixels between the pictures of a sheet."""

FIELDS = (
    "seed",
    *DATA_FIELDS,
    *("image_size", "resize", "flip", "batch_size"),
    *("method", "stage_num", "augmentation", "permutation", "per_image", "nested"),
)
"""Settings that decide what the first batch shows."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What one phase shows: (b, 3, h, w) uint8 images, and what they should be recognised as.

    Where ``weighs_by_model`` is true, the target's weights depend on where the network looks by then, and those given
    here are only what an even look gives; the pixels are exact.
    """

    phase: Phase
    images: Images
    target: Target
    weighs_by_model: bool = False


def shown_in_phases(
    config: TrainConfig,
    images: Images,
    labels: Labels,
    *,
    epoch: int = 0,
    batch: int = 0,
    attention: Callable[[], Tensor] | None = None,
) -> list[Shown]:
    """Return what each phase shows of one batch of uint8 images, as a run of ``config`` on one device does it.

    ``epoch`` and ``batch`` count from 0. ``attention`` is where the network looks, for the one augmentation that asks
    (SnapMix); without it the network is taken to look everywhere alike.
    """
    system = resolve(config)
    look = attention or (lambda: torch.ones(len(images), *images.shape[2:]))
    found = []
    for number, phase in enumerate(system.phases):
        shown, target = system.augment(images, labels, number, (config.seed, epoch, batch), config, look)
        mixed = system.augmentation.attends and phase.r > 0 and attention is None
        found.append(Shown(phase, shown, target, mixed))
    return found


def shown_phases(config: TrainConfig, dataset: Dataset, epoch: int = 0, batch: int = 0) -> list[Shown]:
    """Return what the run of a config shows in batch ``batch`` of epoch ``epoch``, phase by phase; both count from 0.

    Images are resized, cropped at random, flipped and augmented as the run does it, and not yet normalised. Raises
    ConfigError where there is no such batch.
    """
    # This process makes the batch: workers change no pixel, and starting them would take longer.
    loader = TrainLoader(dataset, config.with_(workers=0), resolve(config).method.images_per_class)
    if not (0 <= epoch < config.epochs and 0 <= batch < loader.batches):
        raise ConfigError(
            f"epoch = {epoch} and batch = {batch}, which count from 0: there is no such batch. This run has "
            f"{config.epochs} epochs of {loader.batches} batches each."
        )
    images, labels = next(loader.epoch(epoch, batch))
    return shown_in_phases(config, images, labels, epoch=epoch, batch=batch)


def batch_keys(config: TrainConfig, dataset: Dataset, epoch: int = 0) -> list[list[str]]:
    """Return the keys of the training images of every batch of an epoch, in their order; no image is opened."""
    labels = [sample.label for sample in dataset.train]
    draw = sampler(labels, dataset.classes, config.batch_size, resolve(config).method.images_per_class)
    return [[dataset.train[index].key for index in batch] for batch in draw(config.seed, epoch)]


def place_of(key: str, batches: list[list[str]]) -> tuple[int, int] | None:
    """Return (batch, place in it) of an image among the `batch_keys` of an epoch; None where it is not shown."""
    places = {name: (number, place) for number, batch in enumerate(batches) for place, name in enumerate(batch)}
    return places.get(key)


def pictures(shown: Shown, most: int, first: int = 0) -> list[Image.Image]:
    """Return images of a phase as RGB pictures: at most ``most``, from place ``first`` of the batch on."""
    return [to_picture(image) for image in shown.images[first : first + most]]


def sheet(phases: Sequence[Shown], most: int = 8, first: int = 0) -> Image.Image:
    """Return one picture on white: a row for each phase, of the images that `pictures` returns."""
    return grid([pictures(shown, most, first) for shown in phases], GAP)


def named(shown: Shown, classes: Sequence[str], number: int) -> list[tuple[str, float]]:
    """Return the classes of one image of a phase, each with its weight in the loss; those without any are left out."""
    target = shown.target
    sides = ((target.label_a, target.weight_a), (target.label_b, target.weight_b))
    weights: dict[str, float] = {}
    for label, weight in sides:
        name = classes[int(label[number])]
        weights[name] = weights.get(name, 0.0) + float(weight[number])
    return [(name, weight) for name, weight in weights.items() if weight > 0]


def in_words(shown: Shown, classes: Sequence[str], number: int) -> str:
    """Return what one image of a phase counts as: its class, or both classes, with their weights where these are known.

    The weights of an image that was mixed with one of its own class need not be told, nor can those be that depend on
    a model.
    """
    found = named(shown, classes, number)
    if shown.weighs_by_model or len(found) == 1:
        return " + ".join(name for name, _ in found)
    return " + ".join(f"{percent(weight)} {name}" for name, weight in found)


# One picture, as a stage's phase cuts it


def recursions_of_stages(config: TrainConfig) -> dict[str, int]:
    """Return r of the phase that trained each head (S3, say); empty where no phase cuts the image."""
    plan = resolve(config)
    return {phase.head: phase.r for phase in plan.phases} if plan.augmentation.cuts else {}


def phase_mosaic(picture: Image.Image, config: TrainConfig, stage: str, *, seed: int, key: str) -> Image.Image | None:
    """Return an RGB picture cut as in the phase that trained ``stage``; None where that phase did not cut.

    The layout is drawn by ``seed`` and the image's ``key``, as one of those that training draws anew each time.
    """
    r = recursions_of_stages(config).get(stage, 0)
    if r == 0:
        return None
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).unsqueeze(0)
    generator = torch.Generator().manual_seed(derive("mosaic of a phase", seed, key, r))
    nowhere = torch.zeros(1, *pixels.shape[2:])
    cut, _ = resolve(config).augmentation.augment(
        pixels, torch.zeros(1, dtype=torch.int64), r, generator, config, lambda: nowhere
    )
    return to_picture(cut[0])
