"""The task "unknowns": whether trained models tell images that are of none of their classes.

Known are a run's test images; unknown are images of other classes, drawn birds, noise (`UNKNOWNS`). The threshold of
every score is fitted on the images that a run is calibrated on, and stored with it. The scores of each image are kept
beside the result, in ``scores.json``.
"""

import io
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pmsi.base.errors import ConfigError, lookup
from pmsi.base.files import to_json, write_atomically
from pmsi.base.seeding import derive, numpy_generator
from pmsi.calibrate import calibration_images
from pmsi.config import TrainConfig, UnknownsConfig
from pmsi.data import limit, open_dataset
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.record import digest_of
from pmsi.engine.device import prepare_device
from pmsi.evaluation import dataset_of
from pmsi.runs import Run
from pmsi.runs.record import record_of
from pmsi.uncertainty.measures import packed
from pmsi.uncertainty.outputs import Outputs, digest_of_model
from pmsi.uncertainty.scores import SCORES, nearest, threshold
from pmsi.uncertainty.separation import separation, separation_apart
from pmsi.uncertainty.subject import Subject, check_subjects
from pmsi.uncertainty.temperature import fit_calibration

SCORED = "scores.json"
"""File in the run's folder with the scores of each image."""

FEATURES = "features.npz"
"""File of a training run with features of its training images, in half precision, and the digest of its model."""

NEIGHBOURS_PER_CLASS = 50
"""Training images of each class whose features are kept."""

Images = tuple[Dataset, tuple[Sample, ...]]


@dataclass(frozen=True)
class Unknown:
    """A row of UNKNOWNS: images that are of none of a run's classes; None where it has no such images."""

    title: str
    help: str
    images: Callable[[TrainConfig, UnknownsConfig], Images | None]


def _held_out(trained: TrainConfig, config: UnknownsConfig) -> Images | None:
    if not trained.held_out:
        return None
    whole = open_dataset(replace(trained, held_out=(), validation=0.0))
    return whole, tuple(sample for sample in whole.test if whole.classes[sample.label] in trained.held_out)


def _other_data(trained: TrainConfig, config: UnknownsConfig) -> Images | None:
    if config.other is None:
        return None
    other = open_dataset(TrainConfig(dataset=config.other, data=config.other_data))
    return other, other.test


def _birds(trained: TrainConfig, config: UnknownsConfig) -> Images | None:
    if trained.dataset == "plumage":
        return None
    drawn = open_dataset(TrainConfig(dataset="plumage"))
    return drawn, drawn.test


def _noise(trained: TrainConfig, config: UnknownsConfig) -> Images:
    side = trained.resize_to

    def open_image(sample: Sample) -> Image.Image:
        pixels = numpy_generator(config.seed, "noise", sample.key).integers(0, 256, (side, side, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    samples = tuple(Sample(f"noise/{number:04}", 0) for number in range(config.most))
    return Dataset("noise", ("noise",), (), samples, open_image), samples


UNKNOWNS: dict[str, Unknown] = {
    "held_out": Unknown("Classes left out", "Test images of the classes that held_out names.", _held_out),
    "other": Unknown("Another data set", "Test images of the data set that other names.", _other_data),
    "plumage": Unknown("Drawn birds", "Birds that the program draws, for a run on photos.", _birds),
    "noise": Unknown("Noise", "Pixels drawn evenly, each by itself.", _noise),
}


def check(config: UnknownsConfig, root: Path) -> None:
    """Raise RunError if a run is missing or has no model, ConfigError for runs or images that do not go together."""
    runs = [Run.open(root, id) for id in config.of]
    check_subjects(runs, config.test_per_class is not None, config.insist)
    for name in config.against:
        lookup("kind of unknown images", UNKNOWNS, name)
    if config.other is None and (config.other_data is not None or "other" in config.against):
        raise ConfigError("other is empty: name the data set whose images are unknown, such as cub.")
    for run in runs:
        assert isinstance(run.config, TrainConfig)
        if "held_out" in config.against and not run.config.held_out:
            raise ConfigError(f"Run {run.id} was trained on all classes: leave held_out out of against.")


def measure_unknowns(config: UnknownsConfig, run: Run) -> dict[str, Any]:
    """Return how well each run's scores tell unknown images; the task "unknowns"."""
    check(config, run.folder.parent)
    device, found, kept = prepare_device(config), {}, {}
    data: dict[str, list[str]] = {}
    for id in config.of:
        subject, began = Subject.open(run.sibling(id), run, config, device), time.monotonic()
        limited = config.test_per_class is not None
        dataset, data[id] = dataset_of(subject.of, subject.config, subject.classes, run, config.insist, limited)
        scored = _Scored(subject, dataset, config.head or subject.model.primary)
        kept[id] = scored.scores(config)
        found[id] = scored.about() | {"seconds": time.monotonic() - began}
    seed = derive(config.seed, "unknowns")
    for id, scores in kept.items():
        known = scores["known"]
        found[id]["kept"] = {name: float((known[name] >= found[id]["limits"][name]).mean()) for name in SCORES}
        found[id]["unknown"] = {
            kind: {
                name: separation((known[name], values), seed)
                | {"passed": float((values >= found[id]["limits"][name]).mean()), "images": len(values)}
                for name, values in each.items()
            }
            for kind, each in scores.items()
            if kind != "known"
        }
    packs = {
        id: {kind: {name: packed(values) for name, values in each.items()} for kind, each in scores.items()}
        for id, scores in kept.items()
    }
    write_atomically(run.folder / SCORED, to_json({"runs": packs}))
    return {
        "of": [*found],
        "images": len(next(iter(kept.values()))["known"][next(iter(SCORES))]),
        "primary": {id: about["head"] for id, about in found.items()},
        "runs": found,
        "differences": _differences(kept, seed),
        "data": data,
    }


class _Scored:
    """The scores that one run gives to known and unknown images, and the limits that its calibration images set."""

    def __init__(self, subject: Subject, dataset: Dataset, head: str) -> None:
        lookup("output", dict.fromkeys(subject.model.heads), head)
        self.subject, self.dataset, self.head = subject, dataset, head
        self.features = _features(subject, dataset)
        images = calibration_images(subject.of, subject.config, dataset)
        outputs = subject.outputs(images.dataset, images.samples, "images to calibrate")
        calibration = fit_calibration(outputs, subject.model, images.on)
        self.limits = {name: threshold(values) for name, values in self._all(outputs).items()}
        thresholds = {**calibration.thresholds, "nearest": {"": self.limits["nearest"]}}
        self.calibration = replace(calibration, thresholds=thresholds)
        if not subject.of.is_shipped:
            self.calibration.write(subject.of)

    def about(self) -> dict[str, Any]:
        return {"head": self.head, "on": self.calibration.on, "fitted": self.calibration.images, "limits": self.limits}

    def scores(self, config: UnknownsConfig) -> dict[str, dict[str, np.ndarray]]:
        """Return the scores of the test images ("known") and of every kind of unknown ones, by score."""
        found = {"known": self._all(self.subject.outputs(self.dataset, self.dataset.test, "test images"))}
        for kind in config.against or UNKNOWNS:
            images = UNKNOWNS[kind].images(self.subject.config, config)
            if images is None:
                continue
            dataset, samples = images
            record = record_of(self.subject.of)
            own = {image.digest for image in (*record.seen, *record.test)} if record and samples[0].digest else set()
            others = [sample for sample in samples if not own or digest_of(dataset, sample) not in own]
            chosen = limit([replace(one, label=0) for one in others], config.most, (config.seed, "unknowns"))
            found[kind] = self._all(self.subject.outputs(dataset, chosen, UNKNOWNS[kind].title.lower()))
        return found

    def _all(self, outputs: Outputs) -> dict[str, np.ndarray]:
        logits = outputs.logits[self.head]
        return {
            name: nearest(outputs.features, self.features) if row.of is None else row.of(logits)
            for name, row in SCORES.items()
        }


def _features(subject: Subject, dataset: Dataset) -> np.ndarray:
    """Return features of a run's training images, as they are kept with it, or computed and then kept."""
    path, digest = subject.of.folder / FEATURES, digest_of_model(subject.model)
    try:
        with np.load(path) as stored:
            if str(stored["model"]) == digest:
                return stored["features"].astype(np.float32)
    except (OSError, ValueError, KeyError):
        pass  # there is none, or a damaged one
    samples = limit(dataset.train, NEIGHBOURS_PER_CLASS, ("features",))
    features = subject.outputs(dataset, samples, "training images").features.astype(np.float16)
    if not subject.of.is_shipped:
        file = io.BytesIO()
        np.savez_compressed(file, features=features, model=np.array(digest))
        write_atomically(path, file.getvalue())
    return features.astype(np.float32)


def _differences(kept: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], seed: int) -> list[dict[str, Any]]:
    """Return how much better each pair of runs a and b tells the same unknown images, b minus a, by kind and score."""
    return [
        {"a": a, "b": b, "unknown": kind, "score": score}
        | separation_apart(
            (kept[a]["known"][score], kept[a][kind][score]), (kept[b]["known"][score], kept[b][kind][score]), seed
        )
        for a, b in itertools.combinations(kept, 2)
        for kind in kept[a]
        if kind != "known" and kind in kept[b]
        for score in SCORES
    ]
