"""The images of `predict`, `explain` and `mosaic`: files, or images of a data set, prepared for a network."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.Image import Image

from pmsi.base.errors import ConfigError
from pmsi.cli.output import text_of
from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import open_rgb
from pmsi.graph import is_model_file
from pmsi.graph.engine import open_file
from pmsi.perturbations import perturb, severities_of
from pmsi.predictor import ImagePredictor, Predictor
from pmsi.runs import Run

if TYPE_CHECKING:
    from pmsi.export.predictor import FilePredictor

Arguments = argparse.Namespace
Pictured = tuple[Image, str | None]
"""A picture, and its class if known."""


def load_predictor(word: str, typed: Arguments) -> ImagePredictor:
    """Return the predictor of a typed run, or of an exported ONNX file, for the typed images."""
    if is_model_file(word):
        return open_model_file(word)
    return Predictor.load(Run.open(typed.runs, word), typed.device, len(typed.images))


def open_model_file(word: str) -> "FilePredictor":
    """Return the predictor of an exported ONNX file; ExportError if it cannot be opened or packages are missing."""
    model = open_file(Path(word).expanduser())
    from pmsi.export.predictor import FilePredictor  # after `open_file`, which says which packages are missing

    return FilePredictor(model)


@dataclass(frozen=True)
class Pictures:
    """Opens the typed images: files, or with ``--dataset`` keys of a data set's images."""

    dataset: Dataset | None

    @classmethod
    def of(cls, typed: Arguments) -> "Pictures":
        """Return the source that ``--dataset`` and ``--data`` name."""
        if typed.dataset is None:
            return cls(None)
        return cls(open_dataset(TrainConfig(dataset=typed.dataset, data=typed.data)))

    def open(self, word: Path) -> Pictured:
        """Return a typed picture and its class."""
        if self.dataset is None:
            return open_rgb(word), None
        sample = self.sample(word)
        return self.dataset.open_image(sample), self.dataset.classes[sample.label]

    def sample(self, word: Path) -> Sample:
        """Return the sample of a key; raises ConfigError without a data set, DataError for an unknown key."""
        if self.dataset is None:
            raise ConfigError(f"{text_of(word)} is a file, whose class is not known: give --dataset and a key.")
        return self.dataset.find(word.as_posix())

    def name(self, word: Path) -> str:
        """Return a picture's label in a figure: its class, or else its file's name."""
        return text_of(Path(word.stem)) if self.dataset is None else self.dataset.classes[self.sample(word).label]

    def key(self, word: Path) -> str:
        """Return a picture's key in seeds: a data set's key, or a file's name without its folder."""
        return text_of(word if self.dataset else Path(word.name))


@dataclass(frozen=True)
class Viewer:
    """Prepares typed pictures for a network: resized, cropped, and perturbed by one step after the other."""

    pictures: Pictures
    steps: tuple[tuple[str, float], ...]
    seed: int

    @classmethod
    def of(cls, typed: Arguments) -> "Viewer":
        """Return the viewer that ``--perturb`` and ``--seed`` describe."""
        return cls(Pictures.of(typed), tuple(_step(entry) for entry in typed.perturb), typed.seed)

    def seen(self, predictor: ImagePredictor, word: Path) -> Image:
        """Return a network's input for a typed picture."""
        image = predictor.prepare(self.pictures.open(word)[0])
        for name, severity in self.steps:
            image, _ = perturb(image, name, severity, seed=self.seed, key=self.pictures.key(word))
        return image


def _step(entry: str) -> tuple[str, float]:
    """Return the perturbation and severity of NAME=SEVERITY; raises ConfigError."""
    found = severities_of(entry)
    if len(found) != 1 or "=" not in entry:
        raise ConfigError(f"Perturbation {entry!r}: expected a name and one severity, such as rotation=10.")
    return found[0]


def how_perturbed(typed: Arguments) -> dict[str, Any]:
    """Return the perturbations for the JSON output; nothing if there are none."""
    return {"perturbed": typed.perturb, "seed": typed.seed} if typed.perturb else {}
