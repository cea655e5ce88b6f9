"""plumage: a built-in data set of twelve invented birds, drawn from a seed.

Four genera of three species; siblings share shape and colours and differ in one or two small parts, whose masks are
known exactly. The data set is a list of keys; a drawing is made when its sample is opened, the same on every machine.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pmsi.base.errors import ConfigError
from pmsi.base.seeding import derive
from pmsi.data.dataset import Box, Dataset, Sample
from pmsi.data.plumage.drawing import Drawing, box_around, check_size, draw, draw_image
from pmsi.data.plumage.species import PARTS, SPECIES, Genus, Species, distinctive_parts, distinguishing_parts, siblings

DRAWING = 1
"""Version of the drawings. Raise it with every change that shows in the pixels: it is part of an image's digest."""


@dataclass(frozen=True)
class _Opener:
    """Draws the samples of one data set; a class, so that it can be pickled for a loader's worker processes."""

    seed: int
    size: int

    def _seed(self, sample: Sample) -> int:
        return derive(self.seed, "plumage", sample.key)

    def digest(self, key: str, label: int) -> str:
        """Return what stands for the pixels of a drawing without making it: all that they follow from."""
        follows_from = (DRAWING, label, derive(self.seed, "plumage", key), self.size)
        return hashlib.blake2b(repr(("plumage", *follows_from)).encode(), digest_size=16).hexdigest()

    def image(self, sample: Sample) -> Image.Image:
        return draw_image(sample.label, self._seed(sample), self.size)

    def parts(self, sample: Sample) -> dict[str, np.ndarray]:
        return draw(sample.label, self._seed(sample), self.size).parts


def plumage(*, train_per_class: int = 40, test_per_class: int = 20, size: int = 256, seed: int = 0) -> Dataset:
    """Return the data set of ``size`` × ``size`` drawings; raises ConfigError for a count or size out of range.

    A sample is drawn when it is opened. Samples have no box: see `box_of`.
    """
    check_size(size)
    for name, count in (("train_per_class", train_per_class), ("test_per_class", test_per_class)):
        if count < 1:
            raise ConfigError(f"{name} is {count!r}: plumage needs at least 1 drawing of each species.")
    opener = _Opener(seed, size)
    return Dataset(
        name="plumage",
        classes=tuple(species.name for species in SPECIES),
        train=_samples("train", train_per_class, opener),
        test=_samples("test", test_per_class, opener),
        open_image=opener.image,
        open_parts=opener.parts,
        part_names=PARTS[:-1],
    )


def _samples(split: str, count: int, opener: _Opener) -> tuple[Sample, ...]:
    """Return ``count`` samples of every species, those of one species together."""
    named = (
        (f"{split}/{species.slug}/{number:04d}", label)
        for label, species in enumerate(SPECIES)
        for number in range(count)
    )
    return tuple(Sample(key, label, digest=opener.digest(key, label)) for key, label in named)


def box_of(dataset: Dataset, sample: Sample) -> Box:
    """Return the smallest box around the visible bird of a sample, in pixels; this draws the sample."""
    return box_around(dataset.open_parts(sample)["bird"])
