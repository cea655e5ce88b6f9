"""The rounds of the game and its score: which images, which names to choose from, who was right on which mosaic.

A game follows from its number: the same test images, names and mosaics for everybody who plays it on a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pmsi.base.errors import DataError
from pmsi.base.seeding import derive, numpy_generator
from pmsi.data.dataset import Dataset, Sample
from pmsi.predictor import Prediction

ROUNDS = 5
NAMES = 6
DEPTHS = (3, 2, 1, 0)
"""r of the pictures of a round, in the order in which they are shown."""

Said = Mapping[str, Sequence[str]]
"""By player, the name said for each picture of a round."""


@dataclass(frozen=True)
class Round:
    """A test image, its class, the names to choose from in the order of the classes, and the seed of its mosaics."""

    sample: Sample
    truth: str
    names: tuple[str, ...]
    seed: int


def draw_rounds(dataset: Dataset, game: int) -> tuple[Round, ...]:
    """Return the rounds of a game: test images, of different classes as far as there are so many.

    The names are the true one, then those most like it, then any others. Raises DataError if there is no choice.
    """
    by_class: dict[int, list[Sample]] = {}
    for sample in dataset.test:
        by_class.setdefault(sample.label, []).append(sample)
    if len(dataset.classes) < 2 or not by_class:
        raise DataError("A game needs test images and two classes. Choose a run on other images.")
    rng = numpy_generator("game", game)
    labels: list[int] = []
    while len(labels) < ROUNDS:
        labels += rng.permutation(sorted(by_class)).tolist()
    found = []
    for number, label in enumerate(labels[:ROUNDS]):
        some = by_class[label]
        sample = some[int(rng.integers(len(some)))]
        found.append(Round(sample, dataset.classes[label], _names(dataset, label, rng), derive("game", game, number)))
    return tuple(found)


def _names(dataset: Dataset, label: int, rng: np.random.Generator) -> tuple[str, ...]:
    truth = dataset.classes[label]
    known = dataset.distinctions.get(truth)
    first = [truth, *(known.others if known else ())]
    others = [name for name in dataset.classes if name not in first]
    chosen = {*first, *rng.permutation(others).tolist()[: max(0, NAMES - len(first))]}
    return tuple(name for name in dataset.classes if name in chosen)


def network_says(predictions: Sequence[Prediction], heads: Sequence[str], names: Sequence[str]) -> Said:
    """Return by head what it says of each picture: of the names to choose from, the one most probable to it."""
    return {
        head: tuple(next(guess.name for guess in one.heads[head] if guess.name in names) for one in predictions)
        for head in heads
    }


def points(said: Said, truth: str) -> dict[str, int]:
    """Return by player on how many of a round's pictures the name was right."""
    return {player: sum(name == truth for name in names) for player, names in said.items()}


def total(rounds: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Return the points of all rounds by player."""
    return {player: sum(one[player] for one in rounds) for player in rounds[0]} if rounds else {}


def verdict(scores: Mapping[str, int], you: str) -> str:
    """Return in a sentence whom a player has beaten."""
    beaten = [player for player, score in scores.items() if player != you and score < scores[you]]
    level = [player for player, score in scores.items() if player != you and score == scores[you]]
    if not beaten:
        return f"Level with {' and '.join(level)}." if level else "The network wins this time."
    return f"Ahead of {' and '.join(beaten)}{', level with ' + ' and '.join(level) if level else ''}."
