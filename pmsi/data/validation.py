"""The validation part of the training images, and classes that are left out to be unknown."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from pmsi.base.errors import DataError, Fix, lookup
from pmsi.base.seeding import derive
from pmsi.data.dataset import Dataset, Sample


def hold_back(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Return the data set with that share of each class's training images, rounded, in its validation part.

    Which ones follows from their pixels alone, not from order or names; equal images are on one side.
    """
    if not share:
        return dataset
    by_class: dict[int, set[str]] = defaultdict(set)
    for sample in dataset.train:
        by_class[sample.label].add(sample.digest or sample.key)
    held = {
        digest
        for digests in by_class.values()
        for digest in sorted(digests, key=lambda one: derive(seed, "validation", one))[
            : math.floor(share * len(digests) + 0.5)
        ]
    }
    validation = tuple(sample for sample in dataset.train if (sample.digest or sample.key) in held)
    if not validation:
        raise DataError(
            f"validation = {share:g}: no class of {dataset.name} has enough training images for that share. Raise "
            "validation, or set it to 0.",
            fixes=[Fix("Hold nothing back", {"validation": 0.0})],
        )
    train = tuple(sample for sample in dataset.train if (sample.digest or sample.key) not in held)
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
