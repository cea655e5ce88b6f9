"""The theatre of a run: what it answered for a few test images while it was trained, and where its stages looked.

One small file in the run's folder, written anew at each moment that is kept: `MOMENTS` at most, however many epochs
there are.
"""

import base64
import binascii
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pmsi.base.errors import RunError
from pmsi.base.files import cached_by_files, parse_json, read_file, to_json, write_atomically
from pmsi.base.shapes import Number, Shape, misfit
from pmsi.runs.record import classes_of
from pmsi.runs.run import Run

FILE = "theatre.json"

IMAGES, GUESSES = 6, 3
"""Test images, and the guesses of each output that are kept."""

MOMENTS = 16
"""Moments of a run that are kept at most: before training, after the last epoch, and evenly between them."""

CELLS, PICTURE = 14, 112
"""Sides of the maps, at most, and of the pictures."""

MOST_BYTES = 2**20
"""Most bytes of a file that is read; one of ours has 0.25 MB at most."""

LABEL = Number(0, whole=True)
SHAPE: Shape = {
    "keys": [str],
    "labels": [LABEL],
    "pictures": [str],
    "primary": str,
    "moments": [
        {
            "epoch": LABEL,
            "labels": {str: [[LABEL]]},
            "probabilities": {str: [[Number(0, 1)]]},
            "peaks": {str: [Number(0)]},
            "maps": {str: str},
        }
    ],
}


@dataclass(frozen=True)
class Moment:
    """A run after ``epoch`` epochs.

    ``labels`` and ``probabilities`` are the best guesses by head, of each image. ``maps`` are uint8 (images, h, w) by
    stage, of the true class at the primary output; 255 stands for the image's peak in ``peaks``.
    """

    epoch: int
    labels: Mapping[str, Sequence[Sequence[int]]]
    probabilities: Mapping[str, Sequence[Sequence[float]]]
    maps: Mapping[str, np.ndarray]
    peaks: Mapping[str, Sequence[float]]

    def map(self, stage: str, image: int) -> np.ndarray:
        """Return the map of an image, float32 (h, w), at least 0."""
        return self.maps[stage][image].astype(np.float32) * np.float32(self.peaks[stage][image] / 255)


@dataclass(frozen=True)
class Theatre:
    """The images, by key, true label and JPEG, and the moments of a run.

    ``primary`` is its primary output, ``classes`` are the names of its labels.
    """

    classes: tuple[str, ...]
    keys: tuple[str, ...]
    labels: tuple[int, ...]
    pictures: tuple[bytes, ...]
    primary: str
    moments: tuple[Moment, ...] = ()

    def picture(self, image: int) -> Image.Image:
        """Return an image as the network sees it, `PICTURE` pixels wide."""
        return Image.open(io.BytesIO(self.pictures[image])).convert("RGB")

    def at(self, epoch: int) -> Moment:
        """Return the last moment up to an epoch, or the first one."""
        return [self.moments[0], *(one for one in self.moments if one.epoch <= epoch)][-1]

    def said(self, moment: Moment, image: int, head: str = "") -> tuple[str, bool]:
        """Return which class an output, by default the primary one, names, and whether that is right."""
        label = moment.labels[head or self.primary][image][0]
        return self.classes[label], label == self.labels[image]

    def right(self, moment: Moment) -> int:
        """Return how many of the images the primary output names rightly."""
        return sum(self.said(moment, image)[1] for image in range(len(self.keys)))

    def write(self, folder: Path) -> None:
        """Write the file of a run's folder."""
        about = {"keys": self.keys, "labels": self.labels, "primary": self.primary}
        moments = [vars(one) | {"maps": {stage: _text(values) for stage, values in one.maps.items()}}
                   for one in self.moments]  # fmt: skip
        pictures = [base64.b64encode(picture).decode() for picture in self.pictures]
        write_atomically(folder / FILE, to_json(about | {"pictures": pictures, "moments": moments}))


@cached_by_files(lambda run: (run.folder / FILE,), most=32)
def theatre_of(run: Run) -> Theatre | None:
    """Return the theatre of a training run; None for a run without one. Raises RunError if its file is damaged."""
    try:
        return parsed(read_file(run.folder / FILE, MOST_BYTES), classes_of(run))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RunError) as error:
        raise RunError(f"Run {run.id!r}: its {FILE} cannot be read ({error}). Remove that file.") from error


def parsed(text: bytes, classes: tuple[str, ...]) -> Theatre:
    """Return the theatre that `Theatre.write` wrote of a run with these classes; ValueError if it is damaged."""
    stored = parse_json(text)
    if wrong := misfit(stored, SHAPE):
        raise ValueError(wrong)
    count, labels = len(stored["keys"]), [*stored["labels"]]
    moments = tuple(_moment(one, count) for one in stored["moments"])
    labels += [label for one in moments for each in one.labels.values() for image in each for label in image]
    pictures = tuple(map(_bytes, stored["pictures"]))
    if not len(stored["labels"]) == len(pictures) == count or max(labels, default=0) >= len(classes):
        raise ValueError(f"it is not of {count} images of {len(classes)} classes")
    for picture in pictures:
        with Image.open(io.BytesIO(picture), formats=("JPEG",)) as opened:
            if opened.size != (PICTURE, PICTURE):
                raise ValueError(f"a picture of {opened.size} pixels")
    if any(stored["primary"] not in one.labels for one in moments):
        raise ValueError(f"no answers of {stored['primary'][:40]!r}")
    return Theatre(classes, tuple(stored["keys"]), tuple(stored["labels"]), pictures, stored["primary"], moments)


def _moment(stored: Mapping[str, Any], count: int) -> Moment:
    maps = {stage: np.frombuffer(_bytes(text), np.uint8) for stage, text in stored["maps"].items()}
    sides = {stage: round((values.size / max(count, 1)) ** 0.5) for stage, values in maps.items()}
    guesses = [*stored["labels"].values(), *stored["probabilities"].values()]
    if (
        any(values.size != count * sides[stage] ** 2 or not values.size for stage, values in maps.items())
        or {stage: len(peaks) for stage, peaks in stored["peaks"].items()} != dict.fromkeys(maps, count)
        or stored["labels"].keys() != stored["probabilities"].keys()
        or any(len(each) != count or not all(each) for each in guesses)
    ):
        raise ValueError(f"epoch {stored['epoch']} is not of {count} images")
    square = {stage: values.reshape(count, sides[stage], sides[stage]) for stage, values in maps.items()}
    return Moment(stored["epoch"], stored["labels"], stored["probabilities"], square, stored["peaks"])


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
