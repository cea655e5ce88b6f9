"""Where a model ought to look: the object of an image, and its distinctive parts, which tell its class from its rival.

Regions are (side, side) bool on the pixels that the network sees. The rival of a class is the one that the model most
confuses with it, among those that known parts tell from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pmsi.config import TrainConfig
from pmsi.data.dataset import Box, Dataset, Sample
from pmsi.data.plumage.species import distinguishing_parts, find_species, siblings

OBJECT, DISTINCTIVE = "object", "telling"
"""The whole object; the distinctive parts, which tell an image's class from its rival (the key that files keep)."""

BODY = "bird"
"""The drawn species' mask of all of them, which is the object once more."""


@dataclass(frozen=True)
class Rival:
    """The class that a class is most confused with, the parts that tell the two apart, and the confusion.

    ``confusion`` is the mean probability that images of either class are given for the other, in [0, 1].
    """

    label: int
    parts: tuple[str, ...]
    confusion: float


def _distinctive_of(a: str, b: str) -> tuple[str, ...]:
    """Return the parts that tell two species apart; none where they are no siblings, which differ all over."""
    one, other = find_species(a), find_species(b)
    return distinguishing_parts(one, other) if other in siblings(one) else ()


DISTINCTIVE_PARTS: dict[str, Callable[[str, str], tuple[str, ...]]] = {"plumage": _distinctive_of}
"""By data set, (class name, class name) → the names of the parts in which the two differ, and in nothing else."""


def rivals(dataset: Dataset, labels: np.ndarray, probabilities: np.ndarray) -> dict[int, Rival]:
    """Return the rival of each class that has one; none where the distinctive parts of the data set are not known.

    ``labels`` (n,) are the true classes of images, ``probabilities`` (n, classes) what the model gives each class.
    Probabilities rather than answers, so that a model without a mistake has confusions too.
    """
    tell = DISTINCTIVE_PARTS.get(dataset.name)
    if tell is None:
        return {}
    count = len(dataset.classes)
    given = np.array([probabilities[labels == a].mean(axis=0) if (labels == a).any() else np.zeros(count)
                      for a in range(count)])  # fmt: skip
    confusion = (given + given.T) / 2
    found = {}
    for a, name in enumerate(dataset.classes):
        parts = {b: tell(name, other) for b, other in enumerate(dataset.classes) if b != a}
        known = [b for b, names in parts.items() if names]
        if known:
            b = max(known, key=lambda b: confusion[a, b])
            found[a] = Rival(b, parts[b], float(confusion[a, b]))
    return found


def most_confused(found: dict[int, Rival]) -> tuple[int, int] | None:
    """Return the two classes that are confused most of all, or None where no class has a rival."""
    if not found:
        return None
    a = max(found, key=lambda label: found[label].confusion)
    return a, found[a].label


def regions_of(dataset: Dataset, sample: Sample, config: TrainConfig, found: dict[int, Rival]) -> dict[str, np.ndarray]:
    """Return the regions of an image that are known and that the crop shows, by name."""
    resized, side = config.resize_to, config.image_size
    masks = {name: cropped_mask(mask, resized, side) for name, mask in dataset.open_parts(sample).items()}
    regions = {}
    if masks:
        regions[OBJECT] = _union(list(masks.values()))
    elif sample.box is not None:
        regions[OBJECT] = box_mask(sample.box, dataset.open_image(sample).size, resized, side)
    rival = found.get(sample.label)
    if rival is not None:
        regions[DISTINCTIVE] = _union([masks[part] for part in rival.parts])
    return {name: region for name, region in regions.items() if region.any()}


def _union(masks: Sequence[np.ndarray]) -> np.ndarray:
    return np.any(np.stack(masks), axis=0)


def cropped_mask(mask: np.ndarray, resized: int, side: int) -> np.ndarray:
    """Return a mask (h, w) of an image as stored as what becomes of it by resize and centre crop: (side, side) bool.

    A pixel belongs to it where at least half of it is covered.
    """
    image = Image.fromarray(np.asarray(mask, dtype=np.uint8) * 255)
    cover = np.asarray(image.resize((resized, resized), Image.Resampling.BILINEAR))
    edge = (resized - side) // 2
    return cover[edge : edge + side, edge : edge + side] >= 128


def box_mask(box: Box, size: tuple[int, int], resized: int, side: int) -> np.ndarray:
    """Return a box of an image of ``size`` (width, height) as what becomes of it by resize and centre crop.

    A pixel belongs to it where its centre does: (side, side) bool.
    """
    x, y, width, height = box
    centres = np.arange(side) + 0.5 + (resized - side) // 2
    across, down = centres * size[0] / resized, centres * size[1] / resized
    columns, rows = (across >= x) & (across < x + width), (down >= y) & (down < y + height)
    return rows[:, None] & columns[None, :]


def known_regions(
    dataset: Dataset, sample: Sample, config: TrainConfig, chances: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the regions that a data set knows of an image, (side, side) bool on a run's pixels, by name.

    First the object and its distinctive parts, in which the image's species differs from the sibling that the run finds
    likeliest here: ``chances`` (classes,) says how likely. Then single parts, where there are masks of them.
    """
    given = np.zeros(len(dataset.classes)) if chances is None else chances
    found = regions_of(dataset, sample, config, rivals(dataset, np.array([sample.label]), given[None]))
    parts = {
        name: cropped_mask(mask, config.resize_to, config.image_size)
        for name, mask in dataset.open_parts(sample).items()
    }
    return found | {name: mask for name, mask in parts.items() if mask.any() and name not in found and name != BODY}
