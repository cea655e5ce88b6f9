"""The work of a sweep: the predictions of every head of every run in every unfinished cell, stored and summarised.

A finished cell is one file of predictions and one record in the run's metrics; resuming a sweep does not repeat it.
`pmsi.robustness.report` summarises all cells at the end.
"""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pmsi.base.errors import ConfigError
from pmsi.base.files import LARGE, parse_json, read_file, read_json, remove_leftovers, to_json, write_atomically
from pmsi.base.seeding import derive
from pmsi.base.statistics import mcnemar, paired_bootstrap, wilson
from pmsi.config import RobustnessConfig
from pmsi.data import check_folder
from pmsi.data.cache.pixels import Pixels
from pmsi.data.dataset import Dataset
from pmsi.data.record import DataRecord
from pmsi.engine.checkpoint import check_together
from pmsi.graph import is_model_file
from pmsi.robustness.cells import CLEAN, Cell, cells_of
from pmsi.robustness.inference import Predictions, inference_threads, prefetched
from pmsi.robustness.loader import ImageBatch, ModelGroup
from pmsi.robustness.models import SweptModel, accelerated, identity, load_models, open_shared
from pmsi.robustness.report import FILE, report
from pmsi.runs import Run
from pmsi.runs.record import classes_of


def check(config: RobustnessConfig, root: Path) -> None:
    """Raise if a sweep cannot start: a run has no model or is in training, or the runs have different test images."""
    if not config.of:
        raise ConfigError("of is empty: name at least one training run. `pmsi runs list` shows those there are.")
    cells_of(config)
    for name, count in Counter(Path(id).name for id in {*config.of}).items():
        if count > 1:
            raise ConfigError(f"{count} of the models are called {name}: rename a file.")
    files = [SweptModel.of_file(Path(id)) for id in filter(is_model_file, config.of)]
    runs = [Run.open(root, id) for id in config.of if not is_model_file(id)]
    check_together(runs, config.test_per_class is not None, config.insist, "These runs cannot be swept together.")
    if not runs:
        check_folder(files[0].config.with_(data=config.data))
    for file in files:
        if runs and file.classes != (known := classes_of(runs[0])):
            raise ConfigError(
                f"{file.id} and {runs[0].id} cannot be swept together: the {len(file.classes)} classes of the one are "
                f"not the {len(known)} of the other."
            )


def sweep(config: RobustnessConfig, run: Run) -> dict[str, Any]:
    """Work on all unfinished cells, write the report, and return the result of the task "robustness".

    Raises ConfigError for unknown names, severities out of range, or runs with different data.
    """
    check(config, run.folder.parent)
    models = load_models(config, run.folder.parent)
    dataset, differs = open_shared(config, models, run)
    models = accelerated(models, len(dataset.test) * len(cells_of(config)))
    records = Sweep(config, run, dataset, models).records()
    primary = {model.id: model.primary for model in models}
    found = report(run.folder, cells_of(config), primary, dataset.classes)
    write_atomically(run.folder / FILE, to_json(found))
    return {
        "of": [*primary],
        "primary": primary,
        "images": len(dataset.test),
        "skipped": len(dataset.problems),
        "data": differs,
        "cells": records,
        "comparisons": found["comparisons"],
        "relative_error": found["relative_error"],
        "report": FILE,
    }


class Sweep:
    """A sweep in progress; `records` does the work."""

    def __init__(self, config: RobustnessConfig, run: Run, dataset: Dataset, models: Sequence[SweptModel]) -> None:
        self.config, self.run, self.samples, self.models = config, run, dataset.test, models
        self.classes, self.images = dataset.classes, DataRecord.of(dataset).test
        self.cells = cells_of(config)
        self.labels = np.array([sample.label for sample in self.samples])
        self.identity = identity(models, self.images)
        pixels = {side: Pixels(dataset, self.samples, side) for side in {model.sides[0] for model in models}}
        self.groups = [
            ModelGroup([model for model in models if model.sides == sides], pixels[sides[0]], self.cells, config)
            for sides in dict.fromkeys(model.sides for model in models)
        ]
        self.batches = sum(group.batches for group in self.groups)  # of a cell
        self.done, self.total = 0, len(self.cells) * self.batches

    def records(self) -> list[dict[str, Any]]:
        """Work on the unfinished cells, and return the records of all cells."""
        folder = self.run.folder / "predictions"
        folder.mkdir(exist_ok=True)
        remove_leftovers(folder)
        finished = self._finished()
        self.run.truncate_metrics(lambda record: record in finished.values())
        unfinished = [number for number, cell in enumerate(self.cells) if cell not in finished]
        self.done = len(finished) * self.batches
        with inference_threads(self.models[0].device) as pool, closing(self._batches(unfinished)) as batches:
            for number in unfinished:
                cell, found = self.cells[number], self._predict(number, batches, pool)
                write_atomically(self.run.folder / cell.file, to_json(found))
                finished[cell] = self._record(cell)
                self.run.log(finished[cell])
        return [finished[cell] for cell in self.cells]

    def _batches(self, numbers: Sequence[int]) -> Generator[tuple[ModelGroup, ImageBatch], None, None]:
        """Yield the batches of each group of models, for one cell after the other."""
        steps = ((number, group) for number in numbers for group in self.groups)
        batches = ((group, batch) for number, group in steps for batch in group.batches_of(number))
        yield from batches if self.config.workers else prefetched(batches)  # workers prefetch by themselves

    def _finished(self) -> dict[Cell, dict[str, Any]]:
        """Return the records of finished cells that are valid: made of the same models and images."""
        found = {}
        for record in self.run.metrics():
            cell = Cell.of(record)
            stored = read_json(self.run.folder / cell.file, LARGE) or {}
            if record["identity"] == self.identity and stored.get("identity") == self.identity:
                found[cell] = record
        return found if CLEAN in found else {}  # drops are relative to the clean images

    def _predict(
        self, number: int, batches: Iterator[tuple[ModelGroup, ImageBatch]], pool: ThreadPoolExecutor
    ) -> dict[str, Any]:
        """Return the predictions of every head of every run in a cell, as they are stored."""
        predictions = {model.id: Predictions(model, pool, self.labels) for model in self.models}
        for group, batch in islice(batches, self.batches):
            self.run.check_stop()
            for model in group.models:
                predictions[model.id].add(batch)
            self.done += 1
            self.run.progress(self.done, self.total, self.cells[number].title)
        return {
            "identity": self.identity,
            "classes": [*self.classes],
            "keys": [image.key for image in self.images],
            "digests": [image.digest for image in self.images],
            "labels": self.labels.tolist(),
            "runs": {id: each.stored() for id, each in predictions.items()},
        }

    def _record(self, cell: Cell) -> dict[str, Any]:
        """Return the metrics record of a cell: accuracies and drops with intervals, and the tests between runs."""
        seed = derive("bootstrap", self.config.seed, cell.perturbation, cell.severity)
        right, clean = self._right(cell), self._right(CLEAN)
        primary = {model.id: model.primary for model in self.models}
        first, *others = primary
        runs: dict[str, dict[str, Any]] = {
            id: {
                "primary": primary[id],
                "heads": {head: summary(hits, clean[id][head], seed) for head, hits in right[id].items()},
                "mcnemar": None,
            }
            for id in primary
        }
        for id in others:
            runs[id]["mcnemar"] = mcnemar(right[first][primary[first]], right[id][primary[id]])
        about = {"kind": "cell", "perturbation": cell.perturbation, "severity": cell.severity, "file": cell.file}
        return about | {"images": len(self.samples), "identity": self.identity, "runs": runs}

    def _right(self, cell: Cell) -> dict[str, dict[str, np.ndarray]]:
        """Return whether each image of a finished cell was recognised, (n,) bool, by run and head."""
        stored = parse_json(read_file(self.run.folder / cell.file, LARGE))
        return {
            id: {head: np.array(labels) == self.labels for head, labels in run["predicted"].items()}
            for id, run in stored["runs"].items()
        }


def summary(right: np.ndarray, clean: np.ndarray, seed: int) -> dict[str, float]:
    """Return the accuracy of one head with its Wilson interval, and its drop with a paired bootstrap interval.

    ``right`` and ``clean`` (n,) bool say whether each image was recognised. ``drop`` is clean minus perturbed accuracy.
    All are fractions; intervals are of 95 %.
    """
    correct, n = int(right.sum()), len(right)
    low, high = wilson(correct, n)
    drop = paired_bootstrap(right, clean, seed=seed)
    share = {"correct": correct, "n": n, "accuracy": correct / n, "low": low, "high": high}
    return share | {"drop": drop.value, "drop_low": drop.low, "drop_high": drop.high}
