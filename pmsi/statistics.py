"""Intervals and paired tests for accuracies on one set of images, in numpy and the standard library.

Two models, or a model with and without a perturbation, see the same images, so they are compared image by image: that
says much more than two intervals side by side. This module knows rights and wrongs, not models or images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pmsi.errors import PMSIError

RESAMPLES = 10_000
"""Bootstrap samples: the ends of a 95 % interval then vary by a few hundredths of its width from seed to seed."""


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson, 1927), as fractions in [0, 1]; (0, 1) for n = 0."""
    if not 0 <= successes <= n:
        raise PMSIError(f"{successes} successes of {n}: expected a number from 0 to {max(n, 0)}.")
    z = NormalDist().inv_cdf((1 + _check_confidence(confidence)) / 2)
    if n == 0:
        return 0.0, 1.0
    p, spread = successes / n, z * z / n
    middle = (p + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (p * (1 - p) + spread / 4)) / (1 + spread)
    return (0.0 if successes == 0 else middle - half), (1.0 if successes == n else middle + half)


def mcnemar(a_correct: Sequence[bool] | np.ndarray, b_correct: Sequence[bool] | np.ndarray) -> float:
    """Return the two-sided p of McNemar's exact test that a and b are right equally often.

    Both are (n,) and true where that model is right about image i. Only images about which they differ count: under
    the hypothesis either is the right one with probability 1/2. 1 where they differ about none.
    """
    a, b = _paired(a_correct, b_correct)
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    differing = only_a + only_b
    term = tail = 1  # C(differing, 0), and the sum of the terms so far: whole numbers, so nothing is rounded
    for k in range(min(only_a, only_b)):
        term = term * (differing - k) // (k + 1)
        tail += term
    return min(1.0, 2 * tail / 2**differing)


@dataclass(frozen=True)
class Difference:
    """The accuracy of b minus that of a, and the ends of its interval, as fractions in [−1, 1]."""

    value: float
    low: float
    high: float


def paired_bootstrap(
    a_correct: Sequence[bool] | np.ndarray,
    b_correct: Sequence[bool] | np.ndarray,
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Difference:
    """Return how much more often b is right than a, with the percentile interval over images drawn with replacement.

    Both are (n,), n ≥ 1, about the same images in the same order. An image counts −1, 0 or +1, and a sample of n images
    is a multinomial draw of how often each of these occurs, which is all that its mean depends on.
    """
    a, b = _paired(a_correct, b_correct)
    if not len(a):
        raise PMSIError("An accuracy difference needs at least one image.")
    gains, losses = int((~a & b).sum()), int((a & ~b).sum())
    shares = np.array([gains, losses, len(a) - gains - losses]) / len(a)
    counts = np.random.default_rng(seed).multinomial(len(a), shares, size=resamples)
    outside = (1 - _check_confidence(confidence)) / 2
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / len(a), [outside, 1 - outside])
    return Difference((gains - losses) / len(a), float(low), float(high))


def mean_std(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the mean and the sample standard deviation (divisor n − 1); that of a single value is NaN."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise PMSIError(f"Mean and deviation of {numbers.tolist()!r}: expected at least one number.")
    return float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan


def _paired(a_correct: Sequence[bool] | np.ndarray, b_correct: Sequence[bool] | np.ndarray) -> tuple[np.ndarray, ...]:
    a, b = np.asarray(a_correct, dtype=bool), np.asarray(b_correct, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise PMSIError(f"Answers of shapes {a.shape} and {b.shape} are not about the same images.")
    return a, b


def _check_confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise PMSIError(f"confidence = {confidence!r}: expected a fraction between 0 and 1, such as 0.95.")
    return confidence
