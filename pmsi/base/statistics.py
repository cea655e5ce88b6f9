"""Intervals and paired tests for accuracies on one set of images.

Two models, or one model with and without a perturbation, see the same images, so they are compared image by image,
which has more power than comparing two intervals. scipy.stats takes about a second to import, so it is imported inside
the functions that need it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pmsi.base.errors import PMSIError

RESAMPLES = 10_000
"""Bootstrap samples: the ends of a 95 % interval then vary by a few hundredths of its width from seed to seed."""


@lru_cache(16384)  # a report of a sweep asks for some thousand, many of them alike
def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion (Wilson, 1927), as fractions in [0, 1]; (0, 1) for n = 0."""
    from scipy.stats import binomtest

    if not 0 <= successes <= n:
        raise PMSIError(f"{successes} successes of {n}: expected a number from 0 to {max(n, 0)}.")
    _check_confidence(confidence)
    if n == 0:
        return 0.0, 1.0
    ends = binomtest(successes, n, successes / n).proportion_ci(confidence, method="wilson")
    return float(ends.low), float(ends.high)


def mcnemar(a_correct: Sequence[bool] | np.ndarray, b_correct: Sequence[bool] | np.ndarray) -> float:
    """Return the two-sided p of McNemar's exact test that a and b are right equally often.

    Both are (n,), true where that model is right about image i. Only images on which exactly one is right count; under
    the null hypothesis it is a or b with probability 1/2. Returns 1 where there is no such image.
    """
    from scipy.stats import binomtest

    a, b = _paired(a_correct, b_correct)
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def holm(p_values: Sequence[float] | np.ndarray) -> list[float]:
    """Return Holm's adjusted p of each of several tests (Holm, 1979), in the order given.

    To reject where it is at most α rejects a true hypothesis, any of them, with probability at most α. The smallest p
    of n is multiplied by n, the next by n − 1, …; none falls below one before it, nor rises above 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not np.all((p >= 0) & (p <= 1)):  # NaN compares false
        raise PMSIError(f"p-values {p.tolist()!r}: expected a list of numbers from 0 to 1.")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p)))))
    return adjusted.tolist()


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


@dataclass(frozen=True)
class Proportion:
    """``count`` of ``n`` and the ends of Wilson's 95 % interval of that share, as fractions."""

    count: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself; NaN where there is nothing to count."""
        return self.count / self.n if self.n else math.nan


def proportion(hits: Sequence[bool] | np.ndarray) -> Proportion:
    """Return the share of hits, (n,)."""
    hits = np.asarray(hits, dtype=bool)
    return _proportion(int(hits.sum()), hits.size)


def _proportion(count: int, n: int) -> Proportion:
    return Proportion(count, n, *wilson(count, n))


def survival(fell: Sequence[float] | np.ndarray, levels: Sequence[float]) -> list[Proportion]:
    """Return for each level the share that has not fallen at it or below.

    ``fell`` (n,) is the level at which each falls, infinity for those that stand at the last: censored there and
    nowhere before, so that Kaplan and Meier's estimate (1958) is this plain share, and its interval Wilson's.
    """
    fell = np.asarray(fell, dtype=np.float64)
    return [proportion(fell > level) for level in levels]


def by_bin(
    values: Sequence[float] | np.ndarray, hits: Sequence[bool] | np.ndarray, edges: Sequence[float] | np.ndarray
) -> list[Proportion]:
    """Return the share of hits among the values of each bin between neighbouring ``edges``, which rise.

    A value on an edge belongs to the bin above it, and on the last edge to the last bin; others are left out.
    """
    numbers, hits = np.asarray(values, dtype=np.float64), np.asarray(hits, dtype=bool)
    if numbers.ndim != 1 or numbers.shape != hits.shape:
        raise PMSIError(f"Values of shape {numbers.shape} and hits of {hits.shape} are not about the same images.")
    counts = zip(np.histogram(numbers[hits], edges)[0], np.histogram(numbers, edges)[0], strict=True)
    return [_proportion(int(count), int(n)) for count, n in counts]


def mean_std(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the mean and the sample standard deviation (divisor n − 1); that of a single value is NaN."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise PMSIError(f"Mean and deviation of {numbers.tolist()!r}: expected at least one number.")
    return float(numbers.mean()), float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan


def _paired(a_correct: Sequence[bool] | np.ndarray, b_correct: Sequence[bool] | np.ndarray) -> tuple[np.ndarray, ...]:
    a, b = np.asarray(a_correct, dtype=bool), np.asarray(b_correct, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise PMSIError(f"Predictions of shapes {a.shape} and {b.shape} are not about the same images.")
    return a, b


def _check_confidence(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise PMSIError(f"confidence = {confidence!r}: expected a fraction between 0 and 1, such as 0.95.")
    return confidence
