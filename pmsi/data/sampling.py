"""The batches of an epoch as lists of item numbers: shuffled, or with a few images of each of a few classes.

Draws are seeded by (seed, epoch), so a resumed epoch has the same batches as the interrupted one.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from pmsi.base.errors import ConfigError
from pmsi.base.seeding import numpy_generator

Batches = list[list[int]]
"""The batches of one epoch, each a list of item numbers in [0, count)."""

Sampler = Callable[[int, int], Batches]
"""(seed, epoch) → all batches of that epoch."""


def sampler(labels: Sequence[int], names: Sequence[str], batch_size: int, images_per_class: int | None) -> Sampler:
    """Return `shuffled`, or `balanced` if ``images_per_class`` is given, for items with these labels.

    Raises ConfigError, with the ``names`` of classes, if the labels do not allow such batches.
    """
    if images_per_class is None:
        return partial(shuffled, len(labels), batch_size)
    check_balanced(labels, names, batch_size, images_per_class)
    return partial(balanced, labels, batch_size, images_per_class)


def shuffled(count: int, batch_size: int, seed: int, epoch: int) -> Batches:
    """Return ``count`` // ``batch_size`` batches of items in random order, without an incomplete last batch."""
    order = numpy_generator("shuffle", seed, epoch).permutation(count).tolist()
    return [order[start : start + batch_size] for start in range(0, count - batch_size + 1, batch_size)]


def balanced(labels: Sequence[int], batch_size: int, images_per_class: int, seed: int, epoch: int) -> Batches:
    """Return as many batches as `shuffled`, of ``batch_size`` / ``images_per_class`` classes each, class after class.

    The sampler of API-Net (Zhuang et al., AAAI 2020): each batch draws different classes, and each class deals its
    images from a shuffled pack. All images of a class are dealt before one comes again. Within a batch they differ,
    unless the class has fewer than ``images_per_class`` images. See `check_balanced` for the requirements.
    """
    draw = numpy_generator("balanced", seed, epoch)
    classes = np.unique(labels)
    packs = {label: _Pack(np.flatnonzero(np.asarray(labels) == label), draw) for label in classes.tolist()}
    batches = []
    for _ in range(len(labels) // batch_size):
        chosen = draw.choice(classes, batch_size // images_per_class, replace=False).tolist()
        batches.append([item for label in chosen for item in packs[label].deal(images_per_class)])
    return batches


class _Pack:
    """The items of one class, dealt in shuffled order, over and over."""

    def __init__(self, items: np.ndarray, draw: np.random.Generator) -> None:
        self._items, self._draw = items, draw
        self._left: list[int] = []

    def deal(self, count: int) -> list[int]:
        dealt: list[int] = []
        while len(dealt) < count:
            if not self._left:
                # Images of this batch go to the end of the new pack, so that a batch has no image twice.
                self._left = sorted(self._draw.permutation(self._items).tolist(), key=dealt.__contains__)
            dealt.append(self._left.pop(0))
        return dealt


def check_balanced(labels: Sequence[int], names: Sequence[str], batch_size: int, images_per_class: int) -> None:
    """Raise ConfigError if `balanced` cannot fill a batch, or a class has only one image and hence no pair.

    Classes without images do not matter, as they are never drawn.
    """
    counts = Counter(labels)
    if batch_size % images_per_class:
        raise ConfigError(
            f"batch_size = {batch_size}: with {images_per_class} images of each class, batch_size must be a multiple "
            f"of {images_per_class}."
        )
    if batch_size // images_per_class > len(counts):
        raise ConfigError(
            f"batch_size = {batch_size} with {images_per_class} images of each class asks for "
            f"{batch_size // images_per_class} classes in a batch, but only {len(counts)} have training images. "
            f"Lower batch_size to {len(counts) * images_per_class} or less."
        )
    alone = sorted(label for label, count in counts.items() if count == 1)
    if alone:
        raise ConfigError(
            f"Class {names[alone[0]]!r} has one training image, and this method compares images of one class in pairs. "
            "Give each class at least 2 (see train_per_class), or choose another method."
        )
