"""`Dataset`: class names, training and test samples, and a function that opens a sample's image.

A part of the training images can be held back to validate on, and classes left out to be unknown.
"""

import math
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
from PIL import Image

from pmsi.base.errors import DataError, Fix, lookup
from pmsi.base.seeding import derive

Box = tuple[float, float, float, float]
"""x, y, width and height in pixels of the upright image, as it is opened; x to the right, y down, from the top left."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image.

    ``key`` identifies the image within its data set, on every machine; it seeds augmentation and perturbation.
    ``path`` is None if the image is drawn rather than read. ``digest`` is that of the pixels
    (`pmsi.data.images.pixels_digest`), ``look`` that by which similar images are found (`pmsi.data.duplicates`); both
    are "" if not known. ``bits`` is how many the grey or colour values of the file use at most.
    """

    key: str
    label: int
    path: Path | None = None
    box: Box | None = None
    digest: str = ""
    look: str = ""
    bits: int = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """An image that was left out, and the reason."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Distinction:
    """What distinguishes a class from the classes most like it, ``others``: the form of each part in ``parts``."""

    parts: Mapping[str, str]
    others: tuple[str, ...]


class Interventions(ABC):
    """What can be changed in the images of a data set, all else equal; ``removable`` are the parts that can go."""

    removable: tuple[str, ...]

    @abstractmethod
    def without(self, sample: Sample, parts: Collection[str]) -> Image.Image:
        """Return an image with some of its removable parts left out; without parts, the image as it is."""

    def swapped(self, sample: Sample) -> dict[tuple[str, str], Image.Image]:
        """Return the image with a part in the form of another class, by (part, name of that class)."""
        return {}

    @abstractmethod
    def surroundings(self, sample: Sample) -> dict[str, Image.Image]:
        """Return the same object in other surroundings, by what was changed."""


@dataclass(frozen=True)
class Dataset:
    """A labelled image collection with its official or seeded split.

    ``open_image`` returns the RGB image of a sample at its stored size. ``open_parts`` returns boolean masks
    (height, width) by part name; none by default. ``problems`` are the images that were left out. ``passed_over``
    counts other unused files by reason and suffix: "not an image (.txt)".
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    open_image: Callable[[Sample], Image.Image]
    open_parts: Callable[[Sample], dict[str, np.ndarray]] = field(default=lambda sample: {})
    part_names: tuple[str, ...] = ()
    """Parts that ``open_parts`` can return besides the whole object, in the order to offer them."""
    distinctions: Mapping[str, Distinction] = field(default_factory=dict)
    """What distinguishes each class, by its name; empty where nobody has said it."""
    interventions: Interventions | None = None
    problems: tuple[Problem, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    layout: str = ""
    """How a reader found the split, if it had to guess: "split train/ and test/"."""
    tested_on: str = ""
    """The split of its own that is tested on, "test" or "val"; "" if the test images are drawn."""
    notes: tuple[str, ...] = ()
    """Other decisions of the reader, in sentences."""
    validation: tuple[Sample, ...] = ()
    """Training images that are held back (`hold_back`)."""

    def split(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of "train", "test" or "validation"; DataError for other names."""
        splits = {"train": self.train, "test": self.test, "validation": self.validation}
        if name not in splits:
            raise DataError(f"Unknown split {name!r}: a data set has 'train', 'test' and 'validation'.")
        return splits[name]

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples, the test images first."""
        return (*self.test, *self.validation, *self.train)

    def find(self, key: str) -> Sample:
        """Return the sample with this key from either split; DataError if there is none."""
        for sample in self.samples:
            if sample.key == key:
                return sample
        raise DataError(f"Data set {self.name!r} has no image {key!r}. `pmsi data images` lists those it has.")


def count_by_class(samples: Sequence[Sample], classes: Sequence[str]) -> dict[str, int]:
    """Return the number of samples of each class, in the order of the classes."""
    counts = dict.fromkeys(classes, 0)
    for sample in samples:
        counts[classes[sample.label]] += 1
    return counts


def drawn_of_each(
    samples: Iterable[Sample],
    count: Callable[[int], int],
    *seed: object,
    by: Callable[[Sample], str] = attrgetter("key"),
) -> set[str]:
    """Return ``count(n)`` of the n names of each class, by default the images' keys: the first by their hash.

    So they do not depend on the order, and those of a smaller count are among those of a larger one.
    """
    by_class: dict[int, set[str]] = defaultdict(set)
    for sample in samples:
        by_class[sample.label].add(by(sample))
    order = lambda name: derive(*seed, name)  # noqa: E731
    return {name for names in by_class.values() for name in sorted(names, key=order)[: count(len(names))]}


def hold_back(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Return the data set with that share of each class's training images, rounded, in its validation part.

    Which ones follows from their pixels alone, not from order or names; equal images are on one side.
    """
    if not share:
        return dataset
    by_pixels = lambda sample: sample.digest or sample.key  # noqa: E731
    held = drawn_of_each(dataset.train, lambda count: math.floor(share * count + 0.5), seed, "validation", by=by_pixels)
    validation = tuple(sample for sample in dataset.train if by_pixels(sample) in held)
    if not validation:
        raise DataError(
            f"validation = {share:g}: no class of {dataset.name} has enough training images for that share. Raise "
            "validation, or set it to 0.",
            fixes=[Fix("Hold nothing back", {"validation": 0.0})],
        )
    train = tuple(sample for sample in dataset.train if by_pixels(sample) not in held)
    return replace(dataset, train=train, validation=validation)


def leave_out(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """Return the data set without some classes, the others numbered anew; UnknownName for a class that it has not."""
    if not classes:
        return dataset
    for name in classes:
        lookup("class", dict.fromkeys(dataset.classes), name)
    kept = tuple(name for name in dataset.classes if name not in classes)
    number = {dataset.classes.index(name): label for label, name in enumerate(kept)}

    def of(samples: Sequence[Sample]) -> tuple[Sample, ...]:
        return tuple(replace(one, label=number[one.label]) for one in samples if one.label in number)

    return replace(
        dataset, classes=kept, train=of(dataset.train), test=of(dataset.test), validation=of(dataset.validation)
    )
