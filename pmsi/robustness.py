"""A sweep: the accuracy of one or more training runs on perturbed test images, the same pixels for each of them.

A sweep is a list of cells, each one perturbation at one severity; the first is the clean images. Each image is decoded,
resized and cropped once (as far as memory allows), perturbed once for each cell, and shown to every run that sees
images of that size. A cell that is finished is one file of predictions and one record of the run's metrics, and is not
repeated when the sweep is resumed. This module does not know how a perturbation draws, nor how a run was trained.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from pmsi.checkpoints import find_checkpoint, load_model
from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset
from pmsi.data.loading import Plan, planned_loader
from pmsi.data.pixels import Pixels
from pmsi.data.preprocessing import centre_crop, normalize, to_tensor
from pmsi.device import prepare_device
from pmsi.errors import ConfigError, lookup
from pmsi.evaluation import while_checking
from pmsi.files import read_json, remove_leftovers, to_json, write_atomically
from pmsi.model import Recognizer
from pmsi.perturbations import PERTURBATIONS, perturb, pixel_hash
from pmsi.runs import Run
from pmsi.seeding import derive
from pmsi.statistics import mcnemar, paired_bootstrap, wilson

SAME = ("dataset", "data", "test_fraction", "split_seed", "test_per_class")
"""Settings that decide which test images a run is judged by; those of the runs of a sweep agree."""


@dataclass(frozen=True)
class Cell:
    """One perturbation at one severity; the clean images are ``Cell(None, 0.0)``."""

    perturbation: str | None
    severity: float

    @property
    def title(self) -> str:
        """What a status line says."""
        if self.perturbation is None:
            return "clean images"
        row = PERTURBATIONS[self.perturbation]
        return f"{row.title}, {row.symbol} = {self.severity:g}"

    @property
    def file(self) -> str:
        """Where the predictions are, relative to the run's folder."""
        name = "clean" if self.perturbation is None else f"{self.perturbation}-{self.severity}"
        return f"predictions/{name}.json"

    def pixels(self, crop: np.ndarray, seed: int, key: str) -> np.ndarray:
        """Return what the runs are shown of an image, (h, w, 3) uint8."""
        if self.perturbation is None:
            return crop
        return perturb(crop, self.perturbation, self.severity, seed=seed, key=key)[0]


CLEAN = Cell(None, 0.0)


@dataclass(frozen=True)
class Entrant:
    """A training run that takes part: its id, its model in eval mode, and what it was trained on."""

    id: str
    model: Recognizer
    config: TrainConfig
    classes: tuple[str, ...]

    @property
    def view(self) -> tuple[int, int]:
        """The sides, in pixels, of the resized image and of its crop: runs that share them share pixels."""
        return self.config.resize_to, self.config.image_size


def check(config: RobustnessConfig, root: Path) -> None:
    """Raise what would keep a sweep from starting: no runs or runs without a model, or cells that do not exist."""
    if not config.of:
        raise ConfigError("of is empty: name at least one training run. `pmsi runs list` shows those there are.")
    cells_of(config)
    for id in config.of:
        find_checkpoint(Run.open(root, id))


def sweep(config: RobustnessConfig, run: Run) -> dict[str, Any]:
    """The task "robustness": every cell of ``config`` for every run that it names, from the first unfinished cell on.

    Raises ConfigError where names or severities do not exist, or the runs were not trained on the same data.
    """
    check(config, run.folder.parent)  # what is wrong shall not wait for models and images
    entrants = _entrants(config, run)
    dataset = _open(config, entrants, run)
    records = Sweep(config, run, dataset, entrants).records()
    return {
        "of": [entrant.id for entrant in entrants],
        "primary": {entrant.id: entrant.model.primary for entrant in entrants},
        "images": len(dataset.test),
        "skipped": len(dataset.problems),
        "cells": records,
    }


def cells_of(config: RobustnessConfig) -> tuple[Cell, ...]:
    """Return the cells of a sweep, the clean images first; severity 0 is the same as clean and not repeated."""
    cells = [CLEAN]
    for name in config.perturbations:
        row = lookup("perturbation", PERTURBATIONS, name)
        severities = row.levels if config.severities is None else config.severities
        cells += [Cell(name, severity) for severity in map(row.check, severities) if severity > 0]
    return tuple(dict.fromkeys(cells))


def _entrants(config: RobustnessConfig, run: Run) -> tuple[Entrant, ...]:
    device = prepare_device(config)
    named = dict.fromkeys(run.sibling(id) for id in config.of)
    return tuple(Entrant(of.id, *load_model(of, device)) for of in named)


def _open(config: RobustnessConfig, entrants: Sequence[Entrant], run: Run) -> Dataset:
    """Return the data set that all entrants were trained on, or raise ConfigError that says where they differ."""
    first, *others = [_judged(entrant.config, config) for entrant in entrants]
    for entrant, other in zip(entrants[1:], others, strict=True):
        for name in SAME:
            if getattr(first, name) != getattr(other, name):
                raise ConfigError(
                    f"Runs {entrants[0].id} and {entrant.id} have other test images: {name} = {getattr(first, name)!r} "
                    f"in the one, {getattr(other, name)!r} in the other. Name runs that agree in it."
                )
    dataset = open_dataset(first, while_checking(run))
    for entrant in entrants:
        if entrant.classes != dataset.classes:
            raise ConfigError(
                f"The {len(entrant.classes)} classes of run {entrant.id} are not the {len(dataset.classes)} of "
                f"{dataset.name} now. Name runs with the same classes, or bring the data back as it was."
            )
    return dataset


def _judged(trained: TrainConfig, config: RobustnessConfig) -> TrainConfig:
    """Return a run's config with the sweep's limit on test images, and its folder as one that can be compared."""
    folder = trained.data and str(Path(trained.data).expanduser().absolute())
    return replace(trained, data=folder, test_per_class=config.test_per_class or trained.test_per_class)


class _Perturbed(TorchDataset):
    """Items are asked for as (cell, index): the perturbed crop (3, h, w) uint8 of one image, and its hash."""

    def __init__(self, pixels: Pixels, side: int, cells: Sequence[Cell], seed: int) -> None:
        self.source, self.side, self.cells, self.seed = pixels, side, cells, seed

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, str]:
        cell, index = item
        crop = centre_crop(self.source[index], self.side)
        pixels = self.cells[cell].pixels(crop, self.seed, self.source.samples[index].key)
        return to_tensor(pixels), pixel_hash(pixels)


class View:
    """The runs that see images of one size, and the loader that makes these images for all of them."""

    def __init__(self, entrants: Sequence[Entrant], pixels: Pixels, cells: Sequence[Cell], config: RobustnessConfig):
        self.entrants, self.count, self.batch_size = entrants, len(pixels), config.batch_size
        self.batches = -(-self.count // self.batch_size)
        self._plan: Plan = []
        items = _Perturbed(pixels, entrants[0].config.image_size, cells, config.seed)
        device = next(entrants[0].model.parameters()).device
        self._loader = planned_loader(items, self._plan, config.workers, device)

    def batches_of(self, cell: int) -> Iterator[tuple[Tensor, Sequence[str]]]:
        """Yield the images (b, 3, h, w) uint8 of a cell and their hashes, in the order of the test images."""
        items = [(cell, index) for index in range(self.count)]
        self._plan[:] = [items[start : start + self.batch_size] for start in range(0, self.count, self.batch_size)]
        yield from self._loader


class Sweep:
    """A sweep in progress. ``records`` does the work."""

    def __init__(self, config: RobustnessConfig, run: Run, dataset: Dataset, entrants: Sequence[Entrant]) -> None:
        self.config, self.run, self.samples, self.entrants = config, run, dataset.test, entrants
        self.cells = cells_of(config)
        self.labels = np.array([sample.label for sample in self.samples])
        self.identity = _identity(entrants, [sample.key for sample in self.samples])
        pixels = {side: Pixels(dataset, self.samples, side) for side in {entrant.view[0] for entrant in entrants}}
        self.views = [
            View([entrant for entrant in entrants if entrant.view == view], pixels[view[0]], self.cells, config)
            for view in dict.fromkeys(entrant.view for entrant in entrants)
        ]
        self.done, self.total = 0, len(self.cells) * sum(view.batches for view in self.views)  # batches

    def records(self) -> list[dict[str, Any]]:
        """Return a record for each cell, after working on those that are not finished yet."""
        folder = self.run.folder / "predictions"
        folder.mkdir(exist_ok=True)
        remove_leftovers(folder)
        finished = self._finished()
        self.run.truncate_metrics(lambda record: record in finished.values())
        for number, cell in enumerate(self.cells):
            if cell in finished:
                self.done += self.total // len(self.cells)
                continue
            write_atomically(self.run.folder / cell.file, to_json(self._predict(number)))
            finished[cell] = self._record(cell)
            self.run.log(finished[cell])
        return [finished[cell] for cell in self.cells]

    def _finished(self) -> dict[Cell, dict[str, Any]]:
        """Return the records of an earlier attempt that still hold: the same models, images and predictions file."""
        found = {}
        for record in self.run.metrics():
            cell = Cell(record["perturbation"], record["severity"])
            stored = read_json(self.run.folder / cell.file) or {}
            if record["identity"] == stored.get("identity") == self.identity:
                found[cell] = record
        return found if CLEAN in found else {}  # without it, no drop can be told

    @torch.inference_mode()
    def _predict(self, number: int) -> dict[str, Any]:
        """Return what every head of every run answers for each image of a cell, as it is stored."""
        runs: dict[str, dict[str, Any]] = {
            entrant.id: {"pixels": [], "predicted": {head: [] for head in entrant.model.heads}}
            for entrant in self.entrants
        }
        device = next(self.entrants[0].model.parameters()).device
        for view in self.views:
            for images, hashes in view.batches_of(number):
                self.run.check_stop()
                x = normalize(images.to(device, non_blocking=True))
                for entrant in view.entrants:
                    runs[entrant.id]["pixels"] += hashes
                    for head, logits in entrant.model(x).items():
                        runs[entrant.id]["predicted"][head] += logits.argmax(dim=1).tolist()
                self.done += 1
                self.run.progress(self.done, self.total, self.cells[number].title)
        keys = [sample.key for sample in self.samples]
        return {"identity": self.identity, "keys": keys, "labels": self.labels.tolist(), "runs": runs}

    def _record(self, cell: Cell) -> dict[str, Any]:
        """Return what is logged of a cell: accuracies with intervals, what was lost, and the test between runs."""
        seed = derive("bootstrap", self.config.seed, cell.perturbation, cell.severity)
        right, clean = self._right(cell), self._right(CLEAN)
        primary = {entrant.id: entrant.model.primary for entrant in self.entrants}
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
        """Return by run and head whether each image of a finished cell was recognised, (n,) bool."""
        stored = json.loads((self.run.folder / cell.file).read_bytes())
        return {
            id: {head: np.array(labels) == self.labels for head, labels in answers["predicted"].items()}
            for id, answers in stored["runs"].items()
        }


def summary(right: np.ndarray, clean: np.ndarray, seed: int) -> dict[str, float]:
    """Return the accuracy of one head with its Wilson interval, and what it lost against clean with a paired interval.

    Both arguments are (n,) bool, about the same images. ``drop`` is clean minus perturbed: positive where accuracy is
    lost. All are fractions; intervals are of 95 %.
    """
    correct, n = int(right.sum()), len(right)
    low, high = wilson(correct, n)
    drop = paired_bootstrap(right, clean, seed=seed)
    share = {"correct": correct, "n": n, "accuracy": correct / n, "low": low, "high": high}
    return share | {"drop": drop.value, "drop_low": drop.low, "drop_high": drop.high}


def _identity(entrants: Sequence[Entrant], keys: Sequence[str]) -> str:
    """Return what a cell depends on beside itself: which images, and every number of every model."""
    digest = hashlib.blake2b(repr((keys, [(e.id, e.view) for e in entrants])).encode(), digest_size=8)
    for entrant in entrants:
        for value in entrant.model.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
