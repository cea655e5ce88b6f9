"""SCORES: how familiar an image is to a model; an unknown one should score low."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

KEPT = 0.95
"""Share of known images whose score is at least the threshold."""


@dataclass(frozen=True)
class Score:
    """A row of SCORES. ``of`` takes logits (n, classes), and is None for the score that goes by features."""

    title: str
    help: str
    of: Callable[[np.ndarray], np.ndarray] | None = None


def energy(logits: np.ndarray) -> np.ndarray:
    """Return the logarithm of the sum of the exponentials of logits (n, classes): the negative energy."""
    most = logits.max(axis=1).astype(np.float64)
    return np.asarray(most + np.log(np.exp(logits - most[:, None]).sum(axis=1)))


SCORES: dict[str, Score] = {
    "max_logit": Score(
        "Maximum logit", "Vaze et al., Open-Set Recognition, ICLR 2022.", lambda logits: logits.max(axis=1)
    ),
    "energy": Score("Energy", "Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020.", energy),
    "nearest": Score(
        "Nearest neighbour", "Sun et al., Deep Nearest Neighbors, ICML 2022; of the last stage's mean features."
    ),
}

OF_LOGITS = {name: row.of for name, row in SCORES.items() if row.of is not None}
"""The scores that need logits alone."""

SAID_BY = "max_logit"
"""The score by which the app, the command line and the phone page say that an image is of none of the classes."""

NEIGHBOUR = 5
"""The nearest neighbour whose similarity counts; one alone may be a stray."""


def nearest(features: np.ndarray, known: np.ndarray, neighbour: int = NEIGHBOUR) -> np.ndarray:
    """Return the cosine similarity (n,) of features (n, c) to their so-manieth nearest among ``known`` (m, c).

    All features have length 1.
    """
    place = max(0, len(known) - neighbour)
    blocks = np.array_split(features, -(-len(features) // 512))
    return np.concatenate([np.partition(block @ known.T, place, axis=1)[:, place] for block in blocks])


def threshold(known: np.ndarray, kept: float = KEPT) -> float:
    """Return the largest of the scores that a share ``kept`` of known images reaches."""
    return float(np.sort(known)[int((1 - kept) * len(known) + 1e-9)])
