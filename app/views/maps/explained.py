"""What the maps page shows of each image and run: which images there are, their maps, and the regions known of them.

Computes, and draws nothing; the widgets that say what is wanted are in `app.views.maps.form`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from app.shared.cached_data import open_builtin, open_folder, sample_image
from app.shared.cached_models import explain_once, predict_once, predictor_of
from app.shared.panels import Picked
from app.shared.wording import name_of_run
from pmsi.base.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from pmsi.data.dataset import Dataset, Sample
    from pmsi.pictures.figure import Figure
    from pmsi.predictor import Explanation, Predictor
    from pmsi.runs import Run

PREDICTED = "predicted"
OUTLINES = {"": "Nothing", "object": "The object", "telling": "The distinctive parts"}
"""Regions that are not a part of their own."""
SIDE = 384
"""Pictures are drawn at least this large, so that a map over a small image is smooth."""


@dataclass(frozen=True)
class Wanted:
    """What is to be explained, and how it is shown; see `app.views.maps.form`."""

    head: str
    label: str
    method: str
    scale: str
    strength: float
    outline: str
    mosaic: str
    layout: int


@dataclass(frozen=True)
class Place:
    """The data set that images come from, and the folder that tells it from others; none for an upload."""

    dataset: "Dataset | None"
    folder: str

    @classmethod
    def of(cls, source: str, folder: str) -> "Place":
        """Return the place of the image picker's choices."""
        if source == "upload" or (source == "data" and not folder):
            return cls(None, "")
        if source == "data":
            return cls(open_folder(folder), folder)
        return cls(open_builtin(), "plumage")

    def sample(self, key: str) -> "Sample | None":
        if self.dataset is None:
            return None
        try:
            return self.dataset.find(key)
        except DataError:
            return None

    def picked(self, key: str) -> Picked | None:
        """Return an image of this place by its key, or None where it is not there any more."""
        sample = self.sample(key)
        if sample is None or self.dataset is None:
            return None
        name = self.dataset.classes[sample.label]
        return Picked(sample_image(self.dataset, self.folder, key), key, f"{name}, {PurePath(key).stem}", name)


@dataclass(frozen=True)
class Seen:
    """One image as one run sees it. ``note`` says where something else is explained than what was asked for."""

    run: "Run"
    picked: Picked
    place: Place
    picture: "Image"
    explanation: "Explanation"
    note: str

    @property
    def predictor(self) -> "Predictor":
        return predictor_of(self.run)

    @cached_property
    def regions(self) -> dict[str, np.ndarray]:
        """The regions that are known of the image; finding them takes a while, and few ask."""
        return regions(self.run, self.picture, self.picked, self.place)

    def region(self, name: str) -> np.ndarray | None:
        """Return one region, or None where it is not known or ``name`` is empty."""
        return self.regions.get(name) if name else None

    @property
    def explained(self) -> str:
        return self.predictor.classes[self.explanation.label]


def seen(run: "Run", picked: Picked, place: Place, wanted: Wanted) -> Seen:
    """Return an image as a run sees it, for the output and class that are wanted or the nearest that it has."""
    predictor = predictor_of(run)
    head, label, note = possible(predictor, wanted.head, wanted.label)
    prepared = predictor.prepare(picked.image)
    number = None if label == PREDICTED else predictor.class_number(label)
    explanation = explain_once(run, prepared, picked.key, head, number, wanted.method)
    return Seen(run, picked, place, prepared, explanation, note)


def possible(predictor: "Predictor", head: str, label: str) -> tuple[str, str, str]:
    """Return a head and a class that this model has, and a note where that is not what was asked for."""
    notes = []
    if head not in predictor.heads:
        notes.append(f"it has no output {head}, so {predictor.primary} is explained")
        head = predictor.primary
    if label != PREDICTED and label not in predictor.classes:
        notes.append("it does not know this class, so the predicted one is explained")
        label = PREDICTED
    return head, label, f" ({'; '.join(notes)})" if notes else ""


def regions(run: "Run", prepared: "Image", picked: Picked, place: Place) -> dict[str, np.ndarray]:
    """Return the regions that the data set knows of an image, (side, side) bool on the run's pixels, by name.

    The distinctive parts are those in which the image's species differs from the sibling that the run finds likeliest.
    """
    from pmsi.explain.measures.regions import known_regions

    dataset, sample = place.dataset, place.sample(picked.key)
    if dataset is None or sample is None:
        return {}
    predictor = predictor_of(run)
    chances = np.zeros(len(dataset.classes))
    if dataset.classes == tuple(predictor.classes):
        for guess in predict_once(run, prepared, picked.key).heads[predictor.primary]:
            chances[guess.label] = guess.probability
    return known_regions(dataset, sample, predictor.config, chances)


def verdict(one: Seen, truth: str | None) -> str:
    """Return the prediction in a few words, with a mark where the truth is known to the model."""
    best = one.explanation.prediction.best
    known = truth in one.predictor.classes
    mark = "" if not known else " ✓" if best.name == truth else " ✗"
    return f"{best.name} {best.probability:.0%}{mark}"


# Which images


def more_images(run: "Run", picked: Picked, place: Place, kind: str, count: int) -> list[Picked]:
    """Return the images beside the chosen one that a row of MORE asks for, at most ``count``."""
    keys = [key for key in MORE[kind][1](run, picked, place) if key != picked.key]
    found = (place.picked(key) for key in dict.fromkeys(keys))
    return [image for image, _ in zip((image for image in found if image is not None), range(count), strict=False)]


def _none(run: "Run", picked: Picked, place: Place) -> list[str]:
    return []


def _same_class(run: "Run", picked: Picked, place: Place) -> list[str]:
    test = place.dataset.test if place.dataset else ()
    return [sample.key for sample in test if place.dataset and place.dataset.classes[sample.label] == picked.label]


def _other_classes(run: "Run", picked: Picked, place: Place) -> list[str]:
    """Return the first test image of each class, those after the chosen image's class first."""
    if place.dataset is None:
        return []
    names = place.dataset.classes
    first = {names[sample.label]: sample.key for sample in reversed(place.dataset.test)}
    start = names.index(picked.label) + 1 if picked.label in names else 0
    return [first[name] for name in (*names[start:], *names[:start]) if name in first and name != picked.label]


def _mistakes(run: "Run", picked: Picked, place: Place) -> list[str]:
    """Return the run's mistakes on its test images, the pair of classes that it confuses most first."""
    return ranked_mistakes(predictions_of(run))


def predictions_of(run: "Run") -> dict:
    """Return what a run wrote down of its answers to the test images; empty where there is nothing."""
    import json

    try:
        return json.loads((run.folder / "predictions.json").read_text())
    except (OSError, ValueError):
        return {}


def ranked_mistakes(written: dict) -> list[str]:
    """Return the keys of wrongly recognised images, those of the most frequent confusions first."""
    from collections import Counter

    if not written:
        return []
    answers = written["predicted"].get("mix") or next(iter(written["predicted"].values()))
    wrong = [
        (key, tuple(sorted((label, answer))))
        for key, label, answer in zip(written["keys"], written["labels"], answers, strict=True)
        if label != answer
    ]
    often = Counter(pair for _, pair in wrong)
    return [key for key, pair in sorted(wrong, key=lambda one: (-often[one[1]], one[1]))]


MORE = {
    "": ("No others", _none),
    "class": ("Of its class", _same_class),
    "others": ("Of other classes", _other_classes),
    "mistakes": ("The run's mistakes", _mistakes),
}
"""Which images are shown below the chosen one: a label, and what lists their keys."""


def figure_of(rows: "Sequence[tuple[Picked, Sequence[Seen]]]", wanted: Wanted) -> "Figure":
    """Return the grid as a figure for print."""
    from pmsi.explain.methods import CAM_METHODS
    from pmsi.pictures.figure import Figure, MapCell, Row, note_of

    printed = tuple(
        Row(picked.label or picked.title, tuple(
            MapCell(one.picture, one.explanation.maps, verdict(one, picked.label), one.region(wanted.outline))
            for one in sights
        ))
        for picked, sights in rows
    )  # fmt: skip
    explained = "the predicted class" if wanted.label == PREDICTED else wanted.label
    note = note_of(CAM_METHODS[wanted.method].title, explained, wanted.head, wanted.scale)
    names = tuple(name_of_run(one.run) for one in rows[0][1])
    return Figure(names, printed, wanted.scale, wanted.strength, note)
