"""The images of the Maps page, and for each run their maps and regions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL.Image import Image

from app.shared.cached_data import data_of_run
from app.shared.cached_models import classes_of_run, explain_once, predict_once, predictor_of
from app.shared.charts import mark
from app.shared.panels import Picked
from app.shared.wording import name_of_run
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest
from pmsi.data.record import digest_of
from pmsi.explain.measures.regions import known_regions
from pmsi.explain.methods import CAM_METHODS
from pmsi.explain.rivals import RIVALS
from pmsi.pictures.figure import Figure, MapCell, Row, note_of
from pmsi.predictor import Explanation, Predictor
from pmsi.runs import Run
from pmsi.runs.mistakes import Predictions, confusions, has_predictions, read_predictions

PREDICTED = "predicted"
OUTLINES = {"": "Nothing", "object": "The object", "telling": "The distinctive parts", "parts": "All parts"}
"""Regions that are not a part of their own."""
AGAINST = {"": "nothing", "likeliest": "the likeliest other", "similar": "the most similar by weights"}
"""Rivals that are not a class."""
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
    rival: str = ""
    """A class or a row of RIVALS that the class is explained against; "" explains it alone."""


@dataclass(frozen=True)
class Seen:
    """One image as one run sees it. ``note`` says where something else is explained than what was asked for."""

    run: Run
    picked: Picked
    picture: Image
    explanation: Explanation
    note: str

    @property
    def predictor(self) -> Predictor:
        return predictor_of(self.run)

    @cached_property
    def regions(self) -> dict[str, np.ndarray]:
        """The regions that are known of the image; finding them takes a while, and few ask."""
        return regions(self.run, self.picture, self.picked)

    def region(self, name: str) -> np.ndarray | None:
        """Return one region, or None where it is not known or ``name`` is empty."""
        return self.regions.get(name) if name else None

    @property
    def explained(self) -> str:
        return self.predictor.classes[self.explanation.label]

    @property
    def against(self) -> str:
        """The rival's name; "" without one."""
        rival = self.explanation.rival
        return "" if rival is None else self.predictor.classes[rival]


Rows = Sequence[tuple[Picked, Sequence[Seen]]]
"""The grid: each image, and how each run sees it."""


def seen(run: Run, picked: Picked, wanted: Wanted) -> Seen:
    """Return an image as a run sees it, for the output and class that are wanted or the nearest that it has."""
    predictor = predictor_of(run)
    head, label, note = possible(predictor, wanted.head, wanted.label)
    prepared = predictor.prepare(picked.image)
    number = None if label == PREDICTED else predictor.class_number(label)
    if wanted.rival in predictor.classes or wanted.rival in RIVALS:
        rival = predictor.rival_named(wanted.rival)
        if rival == (predict_once(run, prepared).heads[head][0].label if number is None else number):
            rival, note = "likeliest", f"{note} ({wanted.rival} is explained itself, so against the likeliest other)"
    else:
        rival = None
    explanation = explain_once(run, prepared, head, number, wanted.method, rival)
    return Seen(run, picked, prepared, explanation, note)


def possible(predictor: Predictor, head: str, label: str) -> tuple[str, str, str]:
    """Return a head and a class that this model has, and a note where that is not what was asked for."""
    notes = []
    if head not in predictor.heads:
        notes.append(f"it has no output {head}, so {predictor.primary} is explained")
        head = predictor.primary
    if label != PREDICTED and label not in predictor.classes:
        notes.append(f"{label} is not one of its {len(predictor.classes)} classes, so the predicted one is explained")
        label = PREDICTED
    return head, label, f" ({'; '.join(notes)})" if notes else ""


def regions(run: Run, prepared: Image, picked: Picked) -> dict[str, np.ndarray]:
    """Return the regions that the data set knows of an image, (side, side) bool on the run's pixels, by name.

    The distinctive parts are those in which the image's species differs from the sibling that the run finds likeliest.
    """
    dataset, sample = picked.dataset, picked.sample
    if dataset is None or sample is None:
        return {}
    predictor = predictor_of(run)
    chances = np.zeros(len(dataset.classes))
    if dataset.classes == tuple(predictor.classes):
        for guess in predict_once(run, prepared).heads[predictor.primary]:
            chances[guess.label] = guess.probability
    return known_regions(dataset, sample, predictor.config, chances)


def verdict(one: Seen, truth: str | None) -> str:
    """Return the prediction in a few words, with a mark where the truth is known to the model."""
    best = one.explanation.prediction.best
    known = truth if truth in one.predictor.classes else None
    return f"{best.name} {best.probability:.0%}{mark(best.name, known)}"


# Which images


def neighbours(run: Run, picked: Picked) -> Dataset | None:
    """Return the data set whose test images stand beside a picked one: the run's own where it knows the class.

    None for an upload.
    """
    if picked.dataset is None or picked.label not in classes_of_run(run):
        return picked.dataset
    return data_of_run(run).dataset


def more_images(run: Run, picked: Picked, kind: str, count: int) -> list[Picked]:
    """Return the images beside the chosen one that a row of MORE asks for, at most ``count``."""
    dataset, samples = MORE[kind][1](run, picked)
    others = (sample for sample in dict.fromkeys(samples) if digest_of(dataset, sample) != pixels_of(picked))
    return [Picked.of(dataset, sample) for sample, _ in zip(others, range(count), strict=False)]


def pixels_of(picked: Picked) -> str:
    """Return the digest of a picked image's pixels."""
    return digest_of(picked.dataset, picked.sample) if picked.dataset and picked.sample else pixels_digest(picked.image)


Listed = tuple[Dataset, list[Sample]]
"""A data set, and some of its images."""


def _same_class(run: Run, picked: Picked) -> Listed:
    dataset = neighbours(run, picked)
    assert dataset is not None
    return dataset, [sample for sample in dataset.test if dataset.classes[sample.label] == picked.label]


def _other_classes(run: Run, picked: Picked) -> Listed:
    """Return the first test image of each class, those after the chosen image's class first."""
    dataset = neighbours(run, picked)
    assert dataset is not None
    names = dataset.classes
    first = {names[sample.label]: sample for sample in reversed(dataset.test)}
    start = names.index(picked.label) + 1 if picked.label in names else 0
    return dataset, [first[name] for name in (*names[start:], *names[:start]) if name in first and name != picked.label]


def _mistakes(run: Run, picked: Picked) -> Listed:
    """Return the run's mistakes on its test images, the pair of classes that it confuses most first."""
    dataset = data_of_run(run).dataset
    by_key = {sample.key: sample for sample in dataset.test}
    wrong = ranked_mistakes(read_predictions(run)) if has_predictions(run) else []
    return dataset, [by_key[key] for key in wrong if key in by_key]


def ranked_mistakes(answers: Predictions) -> list[str]:
    """Return the keys of wrongly recognised images, those of the most frequent confusions first."""
    pairs = confusions(answers, answers.primary)
    return [key for pair in pairs for key in (*pair.a_as_b, *pair.b_as_a)]


MORE: dict[str, tuple[str, Callable[[Run, Picked], Listed]]] = {
    "": ("No others", lambda run, picked: (data_of_run(run).dataset, [])),
    "class": ("Of its class", _same_class),
    "others": ("Of other classes", _other_classes),
    "mistakes": ("The run's mistakes", _mistakes),
}
"""Which images are shown below the chosen one: a label, and what lists them with their data set."""


def figure_of(rows: Rows, wanted: Wanted) -> Figure:
    """Return the grid as a figure for print."""
    printed = tuple(
        Row(picked.label or picked.title, tuple(
            MapCell(one.picture, one.explanation.maps, verdict(one, picked.label), one.region(wanted.outline))
            for one in sights
        ))
        for picked, sights in rows
    )  # fmt: skip
    explained = "the predicted class" if wanted.label == PREDICTED else wanted.label
    explained += f" against {AGAINST.get(wanted.rival, wanted.rival)}" if wanted.rival else ""
    note = note_of(CAM_METHODS[wanted.method].title, explained, wanted.head, wanted.scale)
    names = tuple(name_of_run(one.run) for one in rows[0][1])
    other = dict.fromkeys(f"{name_of_run(one.run)}{one.note}" for _, sights in rows for one in sights if one.note)
    return Figure(names, printed, wanted.scale, wanted.strength, "; ".join([note, *other]))
