"""The task "calibrate": temperatures and thresholds of training runs, and how well their probabilities fit.

Each run's are fitted on images that it was not trained on (`calibration_images`) and stored with it. The measures are
those of its test images, without and with the temperatures; what was said of each image is kept in ``answers.json``.
"""

import itertools
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pmsi.base.files import LARGE, read_json, to_json, write_atomically
from pmsi.base.seeding import derive
from pmsi.config import CalibrateConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.record import digest_of
from pmsi.engine.device import prepare_device
from pmsi.evaluation import dataset_of
from pmsi.runs import Run
from pmsi.runs.calibration import Calibration
from pmsi.runs.mistakes import FILE as PREDICTIONS
from pmsi.runs.record import record_of
from pmsi.uncertainty.measures import Answers, differences, numbers, stored
from pmsi.uncertainty.outputs import Outputs
from pmsi.uncertainty.subject import Subject, check_subjects
from pmsi.uncertainty.temperature import fit_calibration, log_probabilities

ANSWERS = "answers.json"
"""File in the run's folder with what each output of each run said of each test image."""

FRESH = 20
"""Birds of each species that are drawn to calibrate a run on plumage that has no validation part."""

Said = Mapping[str, Mapping[str, Answers]]
"""Answers by kind ("raw", "calibrated") and output."""


def check(config: CalibrateConfig, root: Path) -> None:
    """Raise RunError if a run is missing or has no model, ConfigError for runs with different test images."""
    check_subjects([Run.open(root, id) for id in config.of], config.test_per_class is not None, config.insist)


class CalibrationImages(NamedTuple):
    """Images to calibrate a run on, and the row of IMAGES (`pmsi.runs.calibration`) that they are."""

    dataset: Dataset
    samples: tuple[Sample, ...]
    on: str


def calibration_images(run: Run, config: TrainConfig, dataset: Dataset) -> CalibrationImages:
    """Return images of a run's classes that it was not trained on; its test images only where there are no others.

    ``dataset`` is the run's, as it is now.
    """
    if dataset.validation:
        return CalibrationImages(dataset, dataset.validation, "validation")
    if config.dataset == "plumage":
        from pmsi.data.plumage import fresh  # here, because it imports all that draws

        return CalibrationImages(dataset, fresh(dataset, FRESH, config.split_seed), "fresh")
    record = record_of(run)
    if record is not None and config.train_per_class is not None:
        whole = open_dataset(replace(config, train_per_class=None))
        known = {image.digest for image in (*record.seen, *record.test)}
        others = tuple(sample for sample in whole.train if digest_of(whole, sample) not in known)
        if len(others) >= len(whole.classes):
            return CalibrationImages(whole, others, "left_out")
    return CalibrationImages(dataset, dataset.test, "test")


def calibrate(config: CalibrateConfig, run: Run) -> dict[str, Any]:
    """Return the calibration of each run and the measures of its outputs; the task "calibrate"."""
    check(config, run.folder.parent)
    device, found, said = prepare_device(config), {}, {}
    data: dict[str, list[str]] = {}
    for id in config.of:
        subject = Subject.open(run.sibling(id), run, config, device)
        limited = config.test_per_class is not None
        dataset, data[id] = dataset_of(subject.of, subject.config, subject.classes, run, config.insist, limited)
        calibration, tested, seconds = _measured(subject, dataset)
        said[id] = _answers(tested, calibration)
        keys = [sample.key for sample in dataset.test]
        if not subject.of.is_shipped:
            calibration.write(subject.of)
            _recalibrate(subject.of, keys, said[id]["calibrated"], calibration)
        found[id] = asdict(calibration) | {"primary": subject.model.primary, "seconds": seconds}
    kept = {id: {kind: stored(each) for kind, each in answers.items()} for id, answers in said.items()}
    write_atomically(run.folder / ANSWERS, to_json({"keys": keys, "labels": tested.labels.tolist(), "runs": kept}))
    return {
        "of": [*found],
        "images": len(keys),
        "primary": {id: about["primary"] for id, about in found.items()},
        "runs": {id: about | {"heads": _numbers(said[id], config.seed)} for id, about in found.items()},
        "differences": compared(said, {id: about["primary"] for id, about in found.items()}, config.seed),
        "data": data,
    }


def _measured(subject: Subject, dataset: Dataset) -> tuple[Calibration, Outputs, dict[str, float]]:
    """Return a run's calibration, its outputs for the test images, and the seconds of both."""
    images, began = calibration_images(subject.of, subject.config, dataset), time.monotonic()
    outputs = subject.outputs(images.dataset, images.samples, "images to calibrate")
    calibration, between = fit_calibration(outputs, subject.model, images.on), time.monotonic()
    tested = subject.outputs(dataset, dataset.test, "test images")
    return calibration, tested, {"fit": between - began, "test": time.monotonic() - between}


def _answers(outputs: Outputs, calibration: Calibration) -> dict[str, dict[str, Answers]]:
    def at(temperatures: Mapping[str, float]) -> dict[str, Answers]:
        return {
            head: Answers.of(log_probabilities(logits, temperatures.get(head, 1.0)), outputs.labels)
            for head, logits in outputs.logits.items()
        }

    return {"raw": at({}), "calibrated": at(calibration.temperatures)}


def _numbers(said: Said, seed: int) -> dict[str, dict[str, Any]]:
    """Return the measures with intervals by output, then by kind."""
    seed = derive(seed, "measures")
    return {
        head: {kind: numbers(answers[head], seed) for kind, answers in said.items()}
        for head in next(iter(said.values()))
    }


def compared(said: Mapping[str, Said], primary: Mapping[str, str], seed: int) -> list[dict[str, Any]]:
    """Return the differences of each pair of runs a and b at their primary outputs, b minus a, by kind and measure."""
    return [
        {"a": a, "b": b}
        | {
            kind: differences(said[a][kind][primary[a]], said[b][kind][primary[b]], derive(seed, "measures"))
            for kind in said[a]
        }
        for a, b in itertools.combinations(said, 2)
    ]


def _recalibrate(run: Run, keys: list[str], answers: Mapping[str, Answers], calibration: Calibration) -> None:
    """Put calibrated probabilities into the predictions that a run keeps of the same images."""
    kept = read_json(run.folder / PREDICTIONS, LARGE) or {}
    if kept.get("keys") != keys or set(kept.get("predicted", ())) != set(answers):
        return
    for name, of in {"truth": lambda each: np.exp(each.truth), "confidence": lambda each: each.top}.items():
        kept[name] = {head: of(each).round(4).tolist() for head, each in answers.items()}
    kept["temperatures"] = dict(calibration.temperatures)
    write_atomically(run.folder / PREDICTIONS, to_json(kept))
