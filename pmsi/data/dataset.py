"""What a data set is to the rest of the package: class names, two lists of samples, and a way to open one.

It does not know where images come from (the readers beside it do), nor how they are cropped or batched
(`pmsi.data.loading`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pmsi.base.errors import DataError

Box = tuple[float, float, float, float]
"""x, y, width and height in pixels of the upright image, as it is opened; x to the right, y down, from the top left."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image.

    ``key`` is the image's identity within its data set, the same on every machine: it seeds augmentation and
    perturbation. ``path`` is None where the image is drawn rather than read. ``digest`` stands for its pixels, wherever
    they lie (`pmsi.data.images.pixels_digest`); "" where it is not known.
    """

    key: str
    label: int
    path: Path | None = None
    box: Box | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One image that was left out, and why."""

    key: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """A labelled image collection with its official or seeded split.

    ``open_image`` returns the RGB image of a sample at its stored size; ``open_parts`` returns boolean masks
    (height, width) by part name, and nothing where a data set has no part masks. ``problems`` names the images that
    were left out; ``passed_over`` counts the other files that are not used, by reason and suffix: "not an image
    (.txt)".
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    open_image: Callable[[Sample], Image.Image]
    open_parts: Callable[[Sample], dict[str, np.ndarray]] = field(default=lambda sample: {})
    problems: tuple[Problem, ...] = ()
    passed_over: Mapping[str, int] = field(default_factory=dict)
    layout: str = ""
    """How the split was found, in words, where a reader had to guess it: "split train/ and test/"."""
    notes: tuple[str, ...] = ()
    """What else a reader decided by itself, in sentences."""

    def split(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of ``"train"`` or ``"test"``."""
        splits = {"train": self.train, "test": self.test}
        if name not in splits:
            raise DataError(f"Unknown split {name!r}: a data set has 'train' and 'test'.")
        return splits[name]

    def find(self, key: str) -> Sample:
        """Return the sample with this key, from either split."""
        for sample in (*self.test, *self.train):
            if sample.key == key:
                return sample
        raise DataError(f"Data set {self.name!r} has no image {key!r}. `pmsi data images` lists those it has.")


def count_by_class(samples: Sequence[Sample], classes: Sequence[str]) -> dict[str, int]:
    """Return the number of samples of each class, in the order of the classes."""
    counts = dict.fromkeys(classes, 0)
    for sample in samples:
        counts[classes[sample.label]] += 1
    return counts
