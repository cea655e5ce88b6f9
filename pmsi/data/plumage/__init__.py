"""plumage: a built-in data set of twelve invented birds, drawn from a seed.

Four genera of three species; siblings share shape and colours and differ in one or two small parts, whose masks are
known exactly. The data set is a list of keys; a drawing is made when its sample is opened, the same on every machine.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from pmsi.base.errors import ConfigError
from pmsi.base.seeding import derive, numpy_generator
from pmsi.data.dataset import Dataset, Distinction, Interventions, Sample
from pmsi.data.plumage.drawing import OCCLUDERS, Change, Drawing, check_size, draw, draw_image
from pmsi.data.plumage.individual import draw_individual
from pmsi.data.plumage.scenery import SETTINGS
from pmsi.data.plumage.species import PARTS, SPECIES, Genus, Species, distinctive_parts, distinguishing_parts, siblings

DRAWING = 1
"""Version of the drawings. Raise it with every change that shows in the pixels: it is part of an image's digest."""

BACKGROUNDS = 3
"""Other places in which a bird is put."""

NUMBERS = {species.slug: number for number, species in enumerate(SPECIES)}


@dataclass(frozen=True)
class _Opener(Interventions):
    """Draws the samples of one data set; a class, so that it can be pickled for a loader's worker processes."""

    seed: int
    size: int
    removable = PARTS[:-1]

    def _seed(self, sample: Sample) -> int:
        return derive(self.seed, "plumage", sample.key)

    def number(self, sample: Sample) -> int:
        """Return the species' number by the key: a label is another where classes are left out."""
        return NUMBERS[sample.key.split("/")[1]]

    def digest(self, key: str, label: int) -> str:
        """Return what stands for the pixels of a drawing without making it: all that they follow from."""
        follows_from = (DRAWING, label, derive(self.seed, "plumage", key), self.size)
        return hashlib.blake2b(repr(("plumage", *follows_from)).encode(), digest_size=16).hexdigest()

    def image(self, sample: Sample) -> Image.Image:
        return draw_image(self.number(sample), self._seed(sample), self.size)

    def parts(self, sample: Sample) -> dict[str, np.ndarray]:
        return draw(self.number(sample), self._seed(sample), self.size).parts

    def redraw(self, sample: Sample, change: Change) -> Image.Image:
        return draw_image(self.number(sample), self._seed(sample), self.size, change)

    def without(self, sample: Sample, parts: Collection[str]) -> Image.Image:
        return self.redraw(sample, Change(without=tuple(sorted(parts))))

    def swapped(self, sample: Sample) -> dict[tuple[str, str], Image.Image]:
        own = SPECIES[self.number(sample)]
        return {
            (part, other.name): self.redraw(sample, Change(((part, getattr(other.marks, part)),)))
            for other in siblings(own)
            for part in distinguishing_parts(own, other)
        }

    def surroundings(self, sample: Sample) -> dict[str, Image.Image]:
        own = draw_individual(SPECIES[self.number(sample)].genus, self._seed(sample))
        places = [setting.name for setting in SETTINGS if setting is not own.setting]
        chosen = numpy_generator(self._seed(sample), "surroundings").choice(places, BACKGROUNDS, replace=False)
        changes = {f"background {name}": Change(background=str(name)) for name in chosen}
        changes |= {f"occluder {kind}": Change(occluder=kind) for kind in OCCLUDERS if kind != own.occluder}
        return {name: self.redraw(sample, change) for name, change in changes.items()}


def species_of(dataset: Dataset, sample: Sample) -> Species | None:
    """Return the species that a sample was drawn as; None for a data set whose images are not drawn here."""
    opener = dataset.interventions
    return SPECIES[opener.number(sample)] if isinstance(opener, _Opener) else None


def redraw(dataset: Dataset, sample: Sample, change: Change) -> Image.Image:
    """Return the very same bird of a plumage sample with a change; raises ConfigError for another data set."""
    if not isinstance(dataset.interventions, _Opener):
        raise ConfigError(f"Data set {dataset.name!r} cannot be redrawn: expected plumage, whose images are drawn.")
    return dataset.interventions.redraw(sample, change)


def plumage(*, train_per_class: int = 40, test_per_class: int = 20, size: int = 256, seed: int = 0) -> Dataset:
    """Return the data set of ``size`` × ``size`` drawings; raises ConfigError for a count or size out of range.

    A sample is drawn when it is opened. Samples have no box.
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
        distinctions={species.name: _distinction(species) for species in SPECIES},
        interventions=opener,
    )


def _distinction(species: Species) -> Distinction:
    parts = {part: getattr(species.marks, part) for part in distinctive_parts(species)}
    return Distinction(parts, tuple(other.name for other in siblings(species)))


def _samples(split: str, count: int, opener: _Opener) -> tuple[Sample, ...]:
    """Return ``count`` samples of every species, those of one species together."""
    named = (
        (f"{split}/{species.slug}/{number:04d}", label)
        for label, species in enumerate(SPECIES)
        for number in range(count)
    )
    return tuple(Sample(key, label, digest=opener.digest(key, label)) for key, label in named)


def fresh(dataset: Dataset, per_class: int, seed: int = 0) -> tuple[Sample, ...]:
    """Return samples of ``per_class`` birds of every species of a plumage data set that are in neither of its splits.

    ``dataset`` opens them; ``seed`` is that of its drawings.
    """
    drawn = _samples("fresh", per_class, _Opener(seed, 256))
    number = {name: label for label, name in enumerate(dataset.classes)}
    names = [species.name for species in SPECIES]
    return tuple(replace(one, label=number[names[one.label]]) for one in drawn if names[one.label] in number)
