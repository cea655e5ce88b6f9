"""What a run got wrong, image by image: the hardest images, those it was sure about and wrong, the classes it confuses.

All of it is read off the answers that a run keeps of its test images (``predictions.json``). Runs that kept no
probabilities are ranked by how many of their heads were right. Pictures are not opened here, and no model is.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pmsi.base.errors import RunError, lookup
from pmsi.base.files import read_json
from pmsi.runs.record import classes_of, record_of, trained_by
from pmsi.runs.run import Run

if TYPE_CHECKING:
    from pmsi.data.dataset import Dataset, Sample

FILE = "predictions.json"


@dataclass(frozen=True)
class Answers:
    """What each head answered for each image, the images in the order of ``keys``.

    ``labels`` are the true classes, numbers of the names ``classes``: those that the run was trained on. ``truth`` and
    ``confidence`` have by head the probabilities, 0–1, of the true class and of the answer; both are empty for runs
    that did not keep them. ``primary`` is the head that the model predicts with.
    """

    classes: tuple[str, ...]
    keys: tuple[str, ...]
    labels: tuple[int, ...]
    predicted: Mapping[str, tuple[int, ...]]
    truth: Mapping[str, tuple[float, ...]]
    confidence: Mapping[str, tuple[float, ...]]
    primary: str


@dataclass(frozen=True, slots=True)
class Answer:
    """One image: its true class, what one head answered, and the probabilities of both where they are known.

    ``heads_right`` of ``heads`` recognised it.
    """

    key: str
    label: int
    predicted: int
    heads_right: int
    heads: int
    truth: float | None = None
    confidence: float | None = None

    @property
    def is_right(self) -> bool:
        """Whether the head recognised the image."""
        return self.label == self.predicted


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two classes, ``a`` < ``b``, and how often images of either were taken for the other, with their keys."""

    a: int
    b: int
    a_as_b: tuple[str, ...]
    b_as_a: tuple[str, ...]
    images: int

    @property
    def count(self) -> int:
        """Images of the two that were taken for the other one; ``images`` is how many there are of both."""
        return len(self.a_as_b) + len(self.b_as_a)


def has_answers(run: Run) -> bool:
    """Return whether a run has kept what it answered."""
    return (run.folder / FILE).is_file()


def read_answers(run: Run) -> Answers:
    """Return what a run answered; raises RunError where it has kept nothing that can be read."""
    stored = read_json(run.folder / FILE)
    if stored is None:
        raise RunError(f"Run {run.id!r} has no {FILE}: it is written when a run finishes. Finish it: pmsi runs resume.")
    try:
        keys, labels = tuple(map(str, stored["keys"])), tuple(map(int, stored["labels"]))
        predicted = {str(head): tuple(map(int, answers)) for head, answers in stored["predicted"].items()}
        truth, confidence = (_probabilities(stored.get(name), predicted) for name in ("truth", "confidence"))
        columns = (labels, *predicted.values(), *truth.values(), *confidence.values())
        if not predicted or any(len(column) != len(keys) for column in columns):
            raise ValueError("its lists are not of one length")
        classes = classes_of(trained_by(run))
        if any(not 0 <= label < len(classes) for column in (labels, *predicted.values()) for label in column):
            raise ValueError(f"a label is none of the {len(classes)} classes of the run")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"Run {run.id!r}: its {FILE} cannot be read ({error}). Evaluate it: pmsi evaluate.") from error
    primary = (run.result() or {}).get("primary")
    primary = primary if primary in predicted else list(predicted)[-1]
    return Answers(classes, keys, labels, predicted, truth, confidence, primary)


def shown_in(run: Run, answers: Answers, dataset: "Dataset") -> "dict[str, Sample]":
    """Return {key in the answers: sample} of the images that are in a data set now, found by their pixels.

    Of a run without a record, whose images are known by their keys alone, those are looked for among the test images.
    """
    record = record_of(trained_by(run))
    if record is None:
        by_key = {sample.key: sample for sample in dataset.test}
        return {key: by_key[key] for key in answers.keys if key in by_key}
    by_digest = {sample.digest: sample for sample in (*dataset.train, *dataset.test)}
    digests = {image.key: image.digest for image in (*record.train, *record.test)}
    found = {key: by_digest.get(digests.get(key, "?")) for key in answers.keys}
    return {key: sample for key, sample in found.items() if sample is not None}


def _probabilities(stored: Any, predicted: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Return the probabilities of every head; nothing where one is missing, since rankings would not compare."""
    if not isinstance(stored, dict) or not all(stored.get(head) for head in predicted):
        return {}
    return {head: tuple(map(float, stored[head])) for head in predicted}


def answers_for(answers: Answers, head: str) -> list[Answer]:
    """Return each image with the answer of one head, in their order; UnknownName where there is no such head."""
    lookup("output", answers.predicted, head)
    truth, confidence = answers.truth.get(head), answers.confidence.get(head)
    return [
        Answer(
            key,
            label,
            answers.predicted[head][i],
            sum(given[i] == label for given in answers.predicted.values()),
            len(answers.predicted),
            truth[i] if truth else None,
            confidence[i] if confidence else None,
        )
        for i, (key, label) in enumerate(zip(answers.keys, answers.labels, strict=True))
    ]


def hardest(answers: Answers, head: str) -> list[Answer]:
    """Return the images, the hardest first: by the probability of the truth, or else by how many heads knew it."""

    def ease(answer: Answer) -> tuple[float, bool]:
        known = answer.heads_right / answer.heads if answer.truth is None else answer.truth
        return known, answer.is_right

    return sorted(answers_for(answers, head), key=ease)


def surely_wrong(answers: Answers, head: str) -> list[Answer]:
    """Return the images that a head got wrong, those it was surest about first.

    Without probabilities, sure is what many heads agree on.
    """
    wrong = [(i, answer) for i, answer in enumerate(answers_for(answers, head)) if not answer.is_right]

    def doubt(item: tuple[int, Answer]) -> float:
        i, answer = item
        if answer.confidence is not None:
            return -answer.confidence
        return -sum(given[i] == answer.predicted for given in answers.predicted.values())

    return [answer for _, answer in sorted(wrong, key=doubt)]


RANKINGS: dict[str, tuple[str, Callable[[Answers, str], list[Answer]]]] = {
    "hardest": ("Hardest", hardest),
    "sure": ("Sure and wrong", surely_wrong),
}
"""Orders of images: title, and what makes the list for a head."""


def confusions(answers: Answers, head: str) -> list[Confusion]:
    """Return the pairs of classes that a head takes for each other, the most images first."""
    found: dict[tuple[int, int], tuple[list[str], list[str]]] = {}
    for answer in answers_for(answers, head):
        if not answer.is_right:
            a, b = sorted((answer.label, answer.predicted))
            found.setdefault((a, b), ([], []))[answer.label != a].append(answer.key)
    of_class = Counter(answers.labels)
    pairs = [
        Confusion(a, b, tuple(forth), tuple(back), of_class[a] + of_class[b]) for (a, b), (forth, back) in found.items()
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, pair.a, pair.b))
