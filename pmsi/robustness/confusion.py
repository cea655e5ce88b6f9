"""Confusion matrices of two columns of labels, the images behind their numbers, and the images that flip first.

The columns are true labels and predictions, or the predictions of two runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Pair:
    """Row and column of a confusion matrix, and the number of images there."""

    row: int
    column: int
    count: int


def confusion(rows: np.ndarray, columns: np.ndarray, classes: int) -> np.ndarray:
    """Return the number of images with label i in ``rows`` (n,) and j in ``columns`` (n,): (classes, classes) int64."""
    flat = np.bincount(np.asarray(rows) * classes + np.asarray(columns), minlength=classes * classes)
    return flat.reshape(classes, classes)


def confused_pairs(matrix: np.ndarray) -> list[Pair]:
    """Return the nonzero entries off the diagonal, the largest first, then by row and column."""
    rows, columns = np.nonzero(matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype)))
    pairs = [Pair(int(i), int(j), int(matrix[i, j])) for i, j in zip(rows, columns, strict=True)]
    return sorted(pairs, key=lambda pair: -pair.count)


def most_confused(matrix: np.ndarray, most: int) -> list[int]:
    """Return at most ``most`` classes in increasing order: those of the largest entries off the diagonal.

    If fewer classes are confused, the first other classes fill up, so a small matrix is shown whole.
    """
    found: set[int] = set()
    for pair in confused_pairs(matrix):
        if len(found | {pair.row, pair.column}) > most:
            break
        found |= {pair.row, pair.column}
    others = [number for number in range(len(matrix)) if number not in found]
    return sorted([*found, *others[: most - len(found)]])


def images_at(rows: np.ndarray, columns: np.ndarray, row: int, column: int) -> list[int]:
    """Return the indices of the images at one entry of the matrix."""
    return np.flatnonzero((np.asarray(rows) == row) & (np.asarray(columns) == column)).tolist()


@dataclass(frozen=True)
class Flip:
    """An image whose prediction a perturbation changed, and the smallest severity of the sweep that did."""

    index: int
    severity: float


def first_to_flip(found: Mapping[str, Any], run: str, perturbation: str, clean: Sequence[bool]) -> list[Flip]:
    """Return the images that ``run`` recognises when clean and not when perturbed, the smallest severity first.

    ``found`` is a sweep's report, ``clean`` (n,) says whether each clean image was recognised.
    """
    severities = found["flips"][run][perturbation]
    lost = [Flip(i, at) for i, at in enumerate(severities) if at is not None and clean[i]]
    return sorted(lost, key=lambda flip: flip.severity)
