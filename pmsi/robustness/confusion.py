"""Which images are behind a number of a sweep: confusions of two columns of labels, and the images that flip first.

The columns are a truth and answers, or the answers of two runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Pair:
    """Row and column of a confusion matrix, and how many images are there."""

    row: int
    column: int
    count: int


def confusion(rows: np.ndarray, columns: np.ndarray, classes: int) -> np.ndarray:
    """Return how many images have label i in ``rows`` (n,) and j in ``columns`` (n,), (classes, classes) int64."""
    flat = np.bincount(np.asarray(rows) * classes + np.asarray(columns), minlength=classes * classes)
    return flat.reshape(classes, classes)


def confused_pairs(matrix: np.ndarray) -> list[Pair]:
    """Return the places off the diagonal that are not empty, the fullest first, then by row and column."""
    rows, columns = np.nonzero(matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype)))
    pairs = [Pair(int(i), int(j), int(matrix[i, j])) for i, j in zip(rows, columns, strict=True)]
    return sorted(pairs, key=lambda pair: -pair.count)


def most_confused(matrix: np.ndarray, most: int) -> list[int]:
    """Return at most ``most`` classes, those of the fullest places off the diagonal, in the order of their numbers.

    Where too few are confused, the first others fill up: a matrix of few classes is shown whole.
    """
    found: dict[int, None] = {}
    for pair in confused_pairs(matrix):
        if len(found | {pair.row: None, pair.column: None}) > most:
            break
        found |= {pair.row: None, pair.column: None}
    for number in range(len(matrix)):
        if len(found) >= most:
            break
        found[number] = None
    return sorted(found)


def images_at(rows: np.ndarray, columns: np.ndarray, row: int, column: int) -> list[int]:
    """Return the numbers of the images behind one place of the matrix."""
    return np.flatnonzero((np.asarray(rows) == row) & (np.asarray(columns) == column)).tolist()


@dataclass(frozen=True)
class Flip:
    """An image whose answer a perturbation changed, and the smallest severity of the sweep that did."""

    index: int
    severity: float


def first_to_flip(found: Mapping[str, Any], run: str, perturbation: str, clean: Sequence[bool]) -> list[Flip]:
    """Return the images that ``run`` recognises clean and loses, the least severity first, then in their own order.

    ``found`` is a sweep's report, ``clean`` (n,) whether each clean image was recognised.
    """
    severities = found["flips"][run][perturbation]
    lost = [Flip(i, at) for i, at in enumerate(severities) if at is not None and clean[i]]
    return sorted(lost, key=lambda flip: flip.severity)
