"""The sentence that says whether a published data set is complete, by its published size."""

from collections.abc import Iterable
from dataclasses import dataclass

from pmsi.data.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Official:
    """The published size of a data set: the numbers of classes, training images and test images."""

    classes: int
    train: int
    test: int


def completeness(dataset: Dataset, official: Official) -> str:
    """Return the sentence: ``dataset`` is complete, a subset (also by a limit per class), or lacks listed images."""
    parts = (
        (len(dataset.classes), official.classes, "classes"),
        (len(dataset.train), official.train, "training images"),
        (len(dataset.test), official.test, "test images"),
    )
    if all(have == expected for have, expected, _ in parts):
        return f"Complete: all {_and(f'{expected:,} {what}' for _, expected, what in parts)}."
    counts = _and(f"{have:,} of {expected:,} {what}" for have, expected, what in parts)
    left_out = len(dataset.problems)
    listed = len(dataset.train) + len(dataset.test) + left_out
    if any(have > expected for have, expected, _ in parts):
        return f"Not the published data set, but more: {counts}."
    if left_out and listed >= official.train + official.test:
        return f"Incomplete: {counts}. The others are among the images left out; unpack the archive again."
    return f"A subset: {counts}." + (f" {left_out:,} of its images are left out." if left_out else "")


def _and(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}"
