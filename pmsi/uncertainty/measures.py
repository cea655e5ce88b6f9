"""How well probabilities fit what happens: NLL, Brier score, calibration error, reliability, risk against coverage.

All of them need four numbers of an image (`Answers`), which sweeps keep. Intervals are by a bootstrap over images, and
two models are compared on the same images. numpy alone.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pmsi.base.seeding import numpy_generator
from pmsi.base.statistics import proportion

BINS = 15
"""Bins of equally many images, of a calibration error and of a reliability diagram."""

RESAMPLES = 1000
COLUMNS = ("right", "top", "truth", "squares")


@dataclass(frozen=True)
class Answers:
    """What one output says of each image (n,): whether it is ``right``, the probability of its answer (``top``), the
    logarithm of that of the true class (``truth``), and the sum of the ``squares`` of all.
    """

    right: np.ndarray
    top: np.ndarray
    truth: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, log_p: np.ndarray, labels: np.ndarray) -> "Answers":
        """Return the answers that the logarithms of probabilities, (n, classes), stand for."""
        truth = log_p[np.arange(len(labels)), labels]
        return cls(log_p.argmax(axis=1) == labels, np.exp(log_p.max(axis=1)), truth, np.exp(2 * log_p).sum(axis=1))

    def take(self, images: np.ndarray) -> "Answers":
        """Return those of some images, by their numbers."""
        return Answers(self.right[images], self.top[images], self.truth[images], self.squares[images])


def joined(parts: Sequence[Answers]) -> Answers:
    """Return the answers of several groups of images, one after the other."""
    return Answers(*(np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS))


def nll(answers: Answers) -> float:
    """Return the mean negative logarithm of the true class's probability."""
    return float(-answers.truth.mean())


def brier(answers: Answers) -> float:
    """Return the Brier score of several classes, 0–2: the mean of Σ (p − y)² over all classes."""
    return float((answers.squares - 2 * np.exp(answers.truth) + 1).mean())


def ece(answers: Answers, bins: int = BINS) -> float:
    """Return the expected calibration error in bins of equally many images, 0–1."""
    top, right = _in_order(answers)
    return float(np.abs(np.add.reduceat(top - right, _starts(len(top), bins))).sum() / len(top))


def aurc(answers: Answers) -> float:
    """Return the area under risk against coverage, 0–1: the mean error of the n surest images, over all n."""
    return float(risk_coverage(answers)[1].mean())


def risk_coverage(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Return coverage (n,) and risk (n,): the share of images that are answered, the surest first, and its errors."""
    _, right = _in_order(answers)
    count = np.arange(1, len(right) + 1)
    return count / len(right), np.cumsum(1 - right[::-1]) / count


def reliability(answers: Answers, bins: int = BINS) -> list[dict[str, float]]:
    """Return for each bin of equally many images the mean probability, and the accuracy with Wilson's interval."""
    order = np.argsort(answers.top, kind="stable")
    found = []
    for images in np.array_split(order, min(bins, len(order))):
        hits = proportion(answers.right[images])
        about = {"images": hits.n, "confidence": float(answers.top[images].mean())}
        found.append(about | {"accuracy": hits.value, "low": hits.low, "high": hits.high})
    return found


def _in_order(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of the answers, rising, and their shares that are right: equal ones share theirs."""
    top, place, count = np.unique(answers.top, return_inverse=True, return_counts=True)
    right = np.bincount(place, answers.right) / count
    return np.repeat(top, count), np.repeat(right, count)


def _starts(n: int, bins: int) -> np.ndarray:
    """Return where each of the bins begins, as `numpy.array_split` puts them."""
    sizes = np.full(min(bins, n), n // min(bins, n))
    sizes[: n % len(sizes)] += 1
    return np.cumsum(sizes) - sizes


@dataclass(frozen=True)
class Measure:
    """A row of MEASURES; less is better."""

    title: str
    of: Callable[[Answers], float]
    help: str


MEASURES: dict[str, Measure] = {
    "nll": Measure("NLL", nll, "Mean negative log-likelihood of the true class."),
    "brier": Measure("Brier score", brier, "Mean squared distance of the probabilities from the truth, 0–2."),
    "ece": Measure("ECE", ece, "Expected calibration error: how far probabilities are from accuracies, by bins."),
    "aurc": Measure("AURC", aurc, "Area under risk against coverage: the errors left when the surest are answered."),
}

Statistic = Callable[[Any], float]


def numbers(answers: Answers, seed: int, names: Sequence[str] = tuple(MEASURES)) -> dict[str, dict[str, float]]:
    """Return value, low and high of each measure: 95 % basic bootstrap intervals over images.

    The basic interval reflects the draws at the value: a calibration error of few images comes out too large, and that
    of a draw from them larger still. Where all draws are larger, the interval ends at the value.
    """
    draws = list(_draws(len(answers.top), seed))
    found = {name: _interval(MEASURES[name].of, answers.take, draws) for name in names}
    return {name: about | {"low": max(0.0, about["low"])} for name, about in found.items()}


def _draws(n: int, seed: int) -> np.ndarray:
    return numpy_generator("bootstrap", seed).integers(0, n, (RESAMPLES, n))


def _interval(of: Statistic, take: Callable[[np.ndarray], Any], draws: Sequence[np.ndarray]) -> dict[str, float]:
    value = of(take(np.arange(len(draws[0]))))
    low, high = np.quantile([of(take(drawn)) for drawn in draws], [0.025, 0.975])
    return {"value": value, "low": min(value, 2 * value - float(high)), "high": max(value, 2 * value - float(low))}


def differences(
    a: Answers, b: Answers, seed: int, names: Sequence[str] = tuple(MEASURES)
) -> dict[str, dict[str, float]]:
    """Return how much more each measure is of b than of a, on the same images: value, low, high and p.

    The interval draws images, for both alike; p is that of a permutation test that exchanges a and b image by image.
    """
    n = len(a.top)
    draws = list(_draws(n, seed))
    swaps = numpy_generator("permutation", seed).integers(0, 2, (RESAMPLES, n)).astype(bool)
    found = {}
    for name in names:
        of = MEASURES[name].of

        def apart(pair: tuple[Answers, Answers], of: Statistic = of) -> float:
            return of(pair[1]) - of(pair[0])

        about = _interval(apart, lambda drawn: (a.take(drawn), b.take(drawn)), draws)
        chance = [apart(_swapped(a, b, swap)) for swap in swaps]
        more = int((np.abs(chance) >= abs(about["value"]) - 1e-12).sum())
        found[name] = about | {"p": (1 + more) / (1 + RESAMPLES)}
    return found


def _swapped(a: Answers, b: Answers, swap: np.ndarray) -> tuple[Answers, Answers]:
    one, other = ([np.where(swap, getattr(y, name), getattr(x, name)) for name in COLUMNS] for x, y in ((a, b), (b, a)))
    return Answers(*one), Answers(*other)


def packed(column: np.ndarray) -> str:
    """Return numbers (n,) as base64 of little-endian float32: a third of their digits."""
    return base64.b64encode(column.astype("<f4").tobytes()).decode()


def unpacked(text: str) -> np.ndarray:
    """Return the numbers (n,) float64 that `packed` wrote."""
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)


def stored(answers: Mapping[str, Answers]) -> dict[str, dict[str, str]]:
    """Return the answers of several outputs as JSON types; `restored` reads them."""
    return {head: {name: packed(getattr(each, name)) for name in COLUMNS} for head, each in answers.items()}


def restored(found: Mapping[str, Mapping[str, str]]) -> dict[str, Answers]:
    """Return what `stored` returned of answers."""
    return {head: Answers(*(unpacked(each[name]) for name in COLUMNS)) for head, each in found.items()}
