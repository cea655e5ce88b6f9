"""What the network is shown: a batch in each phase of Algorithm 1, with the draws that training makes for it.

The same places in training give the same pixels: after resize, crop and flip, before normalisation. Nothing is trained
here, and no model is made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from pmsi.augment.preview import side_by_side
from pmsi.batch import Images, Labels, Phase, Target
from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset
from pmsi.data.loading import TrainLoader
from pmsi.methods import resolve

GAP = 8
"""Pixels between the rows of a picture."""


FIELDS = (
    *("seed", "dataset", "data", "test_fraction", "split_seed", "train_per_class", "test_per_class"),
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
    plan = resolve(config)
    look = attention or (lambda: torch.ones(len(images), *images.shape[2:]))
    found = []
    for number, phase in enumerate(plan.phases):
        shown, target = plan.shown(images, labels, number, (config.seed, epoch, batch), config, look)
        mixed = plan.augmentation.attends and phase.r > 0 and attention is None
        found.append(Shown(phase, shown, target, mixed))
    return found


def first_batch(config: TrainConfig, dataset: Dataset) -> list[Shown]:
    """Return what the first batch of a training run shows in each phase; raises what making the batches does."""
    loader = TrainLoader(dataset, config.with_(workers=0), resolve(config).method.images_per_class)
    images, labels = next(loader.epoch(0))
    return shown_in_phases(config, images, labels)


def pictures(shown: Shown, most: int) -> list[Image.Image]:
    """Return the first images of a phase as RGB pictures, at most ``most``."""
    return [Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()) for image in shown.images[:most]]


def sheet(phases: Sequence[Shown], most: int = 8) -> Image.Image:
    """Return one picture: a row for each phase, of its first images, at most ``most``, on white."""
    rows = [side_by_side(pictures(shown, most), GAP) for shown in phases]
    height = sum(row.height + GAP for row in rows) - GAP
    whole = Image.new("RGB", (rows[0].width, height), "white")
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height + GAP
    return whole


def named(shown: Shown, classes: Sequence[str], number: int) -> list[tuple[str, float]]:
    """Return the classes of one image of a phase, each with its weight in the loss; those without any are left out."""
    target = shown.target
    sides = ((target.label_a, target.weight_a), (target.label_b, target.weight_b))
    weights: dict[str, float] = {}
    for label, weight in sides:
        name = classes[int(label[number])]
        weights[name] = weights.get(name, 0.0) + float(weight[number])
    return [(name, weight) for name, weight in weights.items() if weight > 0]
