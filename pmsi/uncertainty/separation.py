"""How well a score tells known images from unknown ones: AUROC, and the unknown ones that pass for known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pmsi.base.seeding import numpy_generator
from pmsi.uncertainty.scores import KEPT, threshold

RESAMPLES = 1000


def auroc(known: np.ndarray, unknown: np.ndarray) -> float:
    """Return the probability that a known image scores above an unknown one, ties counting half."""
    from scipy.stats import rankdata  # takes a while to import

    n, ranks = len(known), rankdata(np.concatenate([known, unknown]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(unknown)))


def fpr(known: np.ndarray, unknown: np.ndarray, kept: float = KEPT) -> float:
    """Return the share of unknown images that score as high as the threshold which keeps a share of known ones."""
    return float((unknown >= threshold(known, kept)).mean())


@dataclass(frozen=True)
class Separation:
    """A row of SEPARATIONS: a number of (known, unknown) scores, and whether more of it is better."""

    title: str
    of: Callable[[np.ndarray, np.ndarray], float]
    more_is_better: bool


SEPARATIONS: dict[str, Separation] = {
    "auroc": Separation("AUROC", auroc, True),
    "fpr": Separation(f"Unknown images kept with {KEPT:.0%} of the known", fpr, False),
}

Scores = tuple[np.ndarray, np.ndarray]
"""Scores of known and of unknown images."""


def separation(scores: Scores, seed: int) -> dict[str, dict[str, float]]:
    """Return value, low and high of each number; 95 % percentile intervals over both kinds of images."""
    return {name: _interval(row.of, [scores], seed) for name, row in SEPARATIONS.items()}


def separation_apart(a: Scores, b: Scores, seed: int) -> dict[str, dict[str, float]]:
    """Return how much more each number is of b than of a, on the same images: value, low, high, and a bootstrap's p."""
    return {name: _interval(row.of, [b, a], seed) for name, row in SEPARATIONS.items()}


def _interval(of: Callable[[np.ndarray, np.ndarray], float], pair: Sequence[Scores], seed: int) -> dict[str, float]:
    """Return the number of the first scores, less that of the second if there are some."""

    def value(*drawn: np.ndarray | slice) -> float:
        first, *others = (of(known[drawn[0]], unknown[drawn[1]]) for known, unknown in pair)
        return first - sum(others)

    generator = numpy_generator("bootstrap", seed)
    sizes = [len(each) for each in pair[0]]
    drawn = np.array([value(*(generator.integers(0, n, n) for n in sizes)) for _ in range(RESAMPLES)])
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = {"value": value(slice(None), slice(None)), "low": float(low), "high": float(high)}
    if len(pair) > 1:
        rare = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
        found["p"] = min(1.0, 2 * (rare + 1) / (RESAMPLES + 1))
    return found
