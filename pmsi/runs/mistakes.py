"""The mistakes of a run: its hardest images, its confident mistakes, and the classes that it confuses.

They are computed from the predictions that a run keeps of its test images (``predictions.json``). Without
probabilities, images are ranked by how many heads are right.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pmsi.base.errors import RunError, lookup
from pmsi.base.files import LARGE, read_json
from pmsi.runs.record import classes_of, record_of, trained_by
from pmsi.runs.run import Run

if TYPE_CHECKING:
    from pmsi.data.dataset import Dataset, Sample

FILE = "predictions.json"


@dataclass(frozen=True)
class Predictions:
    """The predicted label of each image by head; images are in the order of ``keys``.

    ``labels`` are the true labels, indices into ``classes``, the class names that the run was trained on. ``truth`` and
    ``confidence`` are, by head, the probabilities, 0–1, of the true and of the predicted class; both are empty for runs
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
class ImagePrediction:
    """The true and the predicted label of one image by one head, and their probabilities, 0–1, if known.

    ``heads_right`` of ``heads`` heads are right.
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
    """Two classes, ``a`` < ``b``, the keys of images of one predicted as the other, and how many images both have."""

    a: int
    b: int
    a_as_b: tuple[str, ...]
    b_as_a: tuple[str, ...]
    images: int

    @property
    def count(self) -> int:
        """How many images of one class were predicted as the other."""
        return len(self.a_as_b) + len(self.b_as_a)


def has_predictions(run: Run) -> bool:
    """Return whether a run has kept its predictions."""
    return (run.folder / FILE).is_file()


def read_predictions(run: Run) -> Predictions:
    """Return the predictions of a run; raises RunError if the file is missing or damaged."""
    stored = read_json(run.folder / FILE, LARGE)
    if stored is None:
        raise RunError(f"Run {run.id!r} has no {FILE}: it is written when a run finishes. Finish it: pmsi runs resume.")
    try:
        keys, labels = tuple(map(str, stored["keys"])), tuple(map(int, stored["labels"]))
        predicted = {str(head): tuple(map(int, found)) for head, found in stored["predicted"].items()}
        truth, confidence = (_probabilities(stored.get(name), predicted) for name in ("truth", "confidence"))
        columns = (labels, *predicted.values(), *truth.values(), *confidence.values())
        if not predicted or any(len(column) != len(keys) for column in columns):
            raise ValueError("its lists are not of one length")
        classes = tuple(map(str, stored.get("classes") or classes_of(trained_by(run))))
        if any(not 0 <= label < len(classes) for column in (labels, *predicted.values()) for label in column):
            raise ValueError(f"a label is none of the {len(classes)} classes of the run")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"Run {run.id!r}: its {FILE} cannot be read ({error}). Evaluate it: pmsi evaluate.") from error
    primary = (run.result() or {}).get("primary")
    primary = primary if primary in predicted else list(predicted)[-1]
    return Predictions(classes, keys, labels, predicted, truth, confidence, primary)


def shown_in(run: Run, answers: Predictions, dataset: "Dataset") -> "dict[str, Sample]":
    """Return {key in the answers: sample} of the images that are in a data set now, found by their pixels.

    Of a run without a record, whose images are known by their keys alone, those are looked for among the test images.
    """
    record = record_of(trained_by(run))
    if record is None:
        by_key = {sample.key: sample for sample in dataset.test}
        return {key: by_key[key] for key in answers.keys if key in by_key}
    by_digest = {sample.digest: sample for sample in dataset.samples}
    digests = {image.key: image.digest for image in (*record.seen, *record.test)}
    found = {key: by_digest.get(digests.get(key, "?")) for key in answers.keys}
    return {key: sample for key, sample in found.items() if sample is not None}


def _probabilities(stored: Any, predicted: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Return the probabilities of every head; empty if a head has none, since ranks would not be comparable."""
    if not isinstance(stored, dict) or not all(stored.get(head) for head in predicted):
        return {}
    return {head: tuple(map(float, stored[head])) for head in predicted}


def predictions_of(predictions: Predictions, head: str) -> list[ImagePrediction]:
    """Return each image with the prediction of one head, in order; raises UnknownName if there is no such head."""
    lookup("output", predictions.predicted, head)
    truth, confidence = predictions.truth.get(head), predictions.confidence.get(head)
    return [
        ImagePrediction(
            key,
            label,
            predictions.predicted[head][i],
            sum(given[i] == label for given in predictions.predicted.values()),
            len(predictions.predicted),
            truth[i] if truth else None,
            confidence[i] if confidence else None,
        )
        for i, (key, label) in enumerate(zip(predictions.keys, predictions.labels, strict=True))
    ]


def hardest(predictions: Predictions, head: str) -> list[ImagePrediction]:
    """Return the images, hardest first: by the probability of the true class, or by how many heads are right."""

    def ease(image: ImagePrediction) -> tuple[float, bool]:
        known = image.heads_right / image.heads if image.truth is None else image.truth
        return known, image.is_right

    return sorted(predictions_of(predictions, head), key=ease)


def confidently_wrong(predictions: Predictions, head: str) -> list[ImagePrediction]:
    """Return the images that a head got wrong, by falling confidence.

    Without probabilities, confidence is the number of heads that agree.
    """
    wrong = [(i, image) for i, image in enumerate(predictions_of(predictions, head)) if not image.is_right]

    def doubt(item: tuple[int, ImagePrediction]) -> float:
        i, image = item
        if image.confidence is not None:
            return -image.confidence
        return -sum(given[i] == image.predicted for given in predictions.predicted.values())

    return [image for _, image in sorted(wrong, key=doubt)]


def rescued(predictions: Predictions, head: str) -> list[ImagePrediction]:
    """Return the images that a head got right and the first head wrong, the worst answers of the first head first.

    Without probabilities they come by how few heads are right.
    """
    first = next(iter(predictions.predicted))
    failed = {image.key: image for image in predictions_of(predictions, first) if not image.is_right}
    found = [image for image in predictions_of(predictions, head) if image.is_right and image.key in failed]
    known = all(image.truth is not None for image in failed.values())
    return sorted(found, key=lambda image: (failed[image.key].truth or 0.0) if known else image.heads_right)


RANKINGS: dict[str, tuple[str, Callable[[Predictions, str], list[ImagePrediction]]]] = {
    "hardest": ("Hardest", hardest),
    "sure": ("Sure and wrong", confidently_wrong),
    "rescued": ("Right after a wrong first output", rescued),
}
"""Rankings of images: the title, and the function that returns the ranked images of a head."""


def confusions(predictions: Predictions, head: str) -> list[Confusion]:
    """Return the pairs of classes that a head confuses, the pair with the most images first."""
    found: dict[tuple[int, int], tuple[list[str], list[str]]] = {}
    for image in predictions_of(predictions, head):
        if not image.is_right:
            a, b = sorted((image.label, image.predicted))
            a_as_b, b_as_a = found.setdefault((a, b), ([], []))
            (a_as_b if image.label == a else b_as_a).append(image.key)
    of_class = Counter(predictions.labels)
    pairs = [
        Confusion(a, b, tuple(forth), tuple(back), of_class[a] + of_class[b]) for (a, b), (forth, back) in found.items()
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, pair.a, pair.b))
