"""Regions of an image: the object, and its distinctive parts, in which its class differs from its rival.

Regions are (side, side) bool, on the pixels of the network's input. The rival of a class is the one that the model
confuses with it most, among those that differ from it in known parts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pmsi.config import TrainConfig
from pmsi.data.dataset import Box, Dataset, Sample
from pmsi.data.plumage.species import distinguishing_parts, find_species, siblings

OBJECT, DISTINCTIVE = "object", "telling"
"""Names of regions: the whole object, and its distinctive parts ("telling" in files, for the sake of old runs)."""

PARTS = "parts"
"""Name of the region of all known parts, where a box says what the object is."""

BODY = "bird"
"""The part of plumage images that is the whole object."""


@dataclass(frozen=True)
class Rival:
    """The class that a class is most confused with, the parts in which the two differ, and the confusion.

    ``confusion`` in [0, 1] is the mean probability that images of either class get for the other.
    """

    label: int
    parts: tuple[str, ...]
    confusion: float


def _distinctive_of(a: str, b: str) -> tuple[str, ...]:
    """Return the parts in which two sibling species differ; none if they are not siblings, and differ everywhere."""
    one, other = find_species(a), find_species(b)
    return distinguishing_parts(one, other) if other in siblings(one) else ()


DISTINCTIVE_PARTS: dict[str, Callable[[str, str], tuple[str, ...]]] = {"plumage": _distinctive_of}
"""By data set, (class name, class name) → the names of the only parts in which the two differ."""


def rivals(dataset: Dataset, labels: np.ndarray, probabilities: np.ndarray) -> dict[int, Rival]:
    """Return the rival of each class that has one; none if the data set is not in DISTINCTIVE_PARTS.

    ``labels`` (n,) are the true classes of images, ``probabilities`` (n, classes) those of the model. Probabilities
    give confusions even for a model without mistakes.
    """
    parts_between = DISTINCTIVE_PARTS.get(dataset.name)
    if parts_between is None:
        return {}
    confusion, found = _confusion(labels, probabilities, len(dataset.classes)), {}
    for a, name in enumerate(dataset.classes):
        parts = {b: parts_between(name, other) for b, other in enumerate(dataset.classes) if b != a}
        known = [b for b, names in parts.items() if names]
        if known:
            b = max(known, key=lambda b: confusion[a, b])
            found[a] = Rival(b, parts[b], float(confusion[a, b]))
    return found


def _confusion(labels: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Return (count, count): the mean probability that images of either class get for the other."""
    mean = np.zeros((count, count))
    for label in np.unique(labels):
        mean[label] = probabilities[labels == label].mean(axis=0)
    return (mean + mean.T) / 2


def most_confused_with(labels: np.ndarray, probabilities: np.ndarray) -> list[int]:
    """Return for each class the other class that it is confused with most; arguments as in `rivals`."""
    confusion = _confusion(labels, probabilities, probabilities.shape[1])
    np.fill_diagonal(confusion, -1)
    return [int(other) for other in confusion.argmax(axis=1)]


def most_confused(found: dict[int, Rival]) -> tuple[int, int] | None:
    """Return the two most confused classes, or None if no class has a rival."""
    if not found:
        return None
    a = max(found, key=lambda label: found[label].confusion)
    return a, found[a].label


def regions_of(dataset: Dataset, sample: Sample, config: TrainConfig, found: dict[int, Rival]) -> dict[str, np.ndarray]:
    """Return the regions of an image that are known and lie within the crop, by name."""
    resized, side = config.resize_to, config.image_size
    masks = part_masks(dataset, sample, config)
    regions = {}
    if sample.box is not None:
        regions[OBJECT] = box_mask(sample.box, dataset.open_image(sample).size, resized, side)
    if masks:
        regions[PARTS if OBJECT in regions else OBJECT] = np.any([*masks.values()], axis=0)
    rival = found.get(sample.label)
    if rival is not None:
        regions[DISTINCTIVE] = np.any([masks[part] for part in rival.parts], axis=0)
    return {name: region for name, region in regions.items() if region.any()}


def part_masks(dataset: Dataset, sample: Sample, config: TrainConfig) -> dict[str, np.ndarray]:
    """Return the masks of an image's known parts on the pixels of a run's input, (side, side) bool by name."""
    masks = dataset.open_parts(sample)
    return {name: cropped_mask(mask, config.resize_to, config.image_size) for name, mask in masks.items()}


def cropped_mask(mask: np.ndarray, resized: int, side: int) -> np.ndarray:
    """Return a mask (h, w) of the stored image after resize and centre crop: (side, side) bool.

    A pixel belongs to the mask if at least half of it is covered.
    """
    image = Image.fromarray(np.asarray(mask, dtype=np.uint8) * 255)
    cover = np.asarray(image.resize((resized, resized), Image.Resampling.BILINEAR))
    edge = (resized - side) // 2
    return cover[edge : edge + side, edge : edge + side] >= 128


def box_mask(box: Box, size: tuple[int, int], resized: int, side: int) -> np.ndarray:
    """Return a box of an image of ``size`` (width, height) after resize and centre crop: (side, side) bool.

    A pixel belongs to the box if its centre does.
    """
    x, y, width, height = box
    centres = np.arange(side) + 0.5 + (resized - side) // 2
    across, down = centres * size[0] / resized, centres * size[1] / resized
    columns, rows = (across >= x) & (across < x + width), (down >= y) & (down < y + height)
    return rows[:, None] & columns[None, :]


def known_regions(
    dataset: Dataset, sample: Sample, config: TrainConfig, chances: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return all known regions of an image by name, (side, side) bool on the pixels of a run's input.

    First the object and its distinctive parts, with the class that is likeliest by ``chances`` (classes,) as the rival;
    then single parts, if the data set knows them.
    """
    given = np.zeros(len(dataset.classes)) if chances is None else chances
    found = regions_of(dataset, sample, config, rivals(dataset, np.array([sample.label]), given[None]))
    parts = part_masks(dataset, sample, config)
    return found | {name: mask for name, mask in parts.items() if mask.any() and name not in found and name != BODY}
