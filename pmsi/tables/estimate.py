"""Estimates of how long runs take on this machine: the time of equal finished runs, or else a trial of a few steps.

A trial trains on random images and cannot foresee how busy the machine will be. Times are in seconds. Imports torch.
"""

import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from pmsi.base.errors import PMSIError
from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.data.checking import Progress
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import Batch, TrainLoader
from pmsi.evaluation import score
from pmsi.methods import resolve
from pmsi.runs import Run, State
from pmsi.tables.matching import SAME_RESULT, Found, Runs, identity
from pmsi.training.loop import train_batch
from pmsi.training.optimizer import frozen
from pmsi.training.session import Training

IMAGES, PIXELS = 4, 8 * 224**2
"""The batch of a trial on a CPU: this many pixels, and at least this many images. On a GPU, where few images take as
long as many, a trial uses whole batches."""

REPEATS, ENOUGH_S = 3, 0.5
"""A trial repeats a step this often, or for this many seconds."""

SPEED = ("device", "threads", "precision", "devices")
"""Fields that decide how fast the same computation is."""

NEWEST = 10
"""How many finished runs a speed is measured by."""

Count = Callable[[TrainConfig, int], int]
"""(config, classes) → multiply-adds of training on one image."""

DATA = ("dataset", "data", "test_fraction", "split_seed", "train_per_class", "test_per_class")
"""Fields that decide which images a data set has."""


@dataclass(frozen=True)
class Pace:
    """Seconds per image of a training step, a training step with a frozen backbone, and a test."""

    step: float
    frozen_step: float
    test: float


@dataclass(frozen=True)
class Reading:
    """The size of a data set, and seconds per image to decode it for the first time, and to crop it later."""

    train: int
    test: int
    classes: int
    decode: float
    crop: float


class Estimator:
    """Estimates of training and test times; each data set is opened once, and one trial is made per computation."""

    def __init__(self, root: Path, progress: Progress | None = None) -> None:
        self._runs, self._progress = Runs(root), progress
        self._readings: dict[tuple[object, ...], Reading] = {}
        self._paces: dict[tuple[object, ...], Pace] = {}

    def training(self, config: TrainConfig) -> float:
        """Return the seconds of a training run from start to end."""
        known = self.known(config)
        return self._tried(config) if known is None else known

    def testing(self, config: TrainConfig) -> float:
        """Return the seconds of one pass over the test images in a robustness sweep, perturbing them included."""
        reading = self.reading(config)
        return reading.test * (self.pace(config).test + 2 * reading.crop)

    def reading(self, config: TrainConfig) -> Reading:
        """Return the size and reading time of a config's data set; raises DataError if it cannot be opened."""
        method = resolve(config).method
        names = (*DATA, "image_size", "resize", "batch_size")
        key = (*(getattr(config, name) for name in names), method.images_per_class)
        if key not in self._readings:
            dataset = open_dataset(config, self._progress)
            self._readings[key] = _read(dataset, config, method.images_per_class)
        return self._readings[key]

    def pace(self, config: TrainConfig) -> Pace:
        """Return the pace that a trial of this config measures."""
        key = identity(config)
        if key not in self._paces:
            self._paces[key] = time_trial(config, self.reading(config).classes)
        return self._paces[key]

    def known(self, config: TrainConfig) -> float | None:
        """Return the mean seconds of finished runs that differ at most in the seed, on the same device setting.

        None if there is no such run. No data set is opened and no trial is made.
        """
        found = [self._runs.training(config, seed) for seed in self._runs.seeds(config)]
        seconds = [
            each.result.get("seconds")
            for each in found
            if each is not None and each.state is State.FINISHED and _alike(each.run, config)
        ]
        numbers = [value for value in seconds if isinstance(value, (int, float))]
        return sum(numbers) / len(numbers) if numbers else None

    def speed(self, config: TrainConfig, count: Count) -> float | None:
        """Return the median multiply-adds per second of the newest finished training runs; None if there is none.

        Only runs with the same `SPEED` fields count.
        """
        found: list[float] = []
        for other in self._runs.distinct:
            if len(found) < NEWEST:
                runs = [self._runs.training(other, seed) for seed in self._runs.seeds(other)]
                done = [run for run in runs if run is not None and run.state is State.FINISHED]
                found += [speed for run in done if _alike(run.run, config, SPEED) for speed in _speed(run, count)]
        return statistics.median(found) if found else None

    def _tried(self, config: TrainConfig) -> float:
        reading, pace = self.reading(config), self.pace(config)
        batches = reading.train // config.batch_size
        cold = sum(frozen(config, epoch) for epoch in range(config.epochs))
        warm = config.epochs - cold
        crop = 0.0 if config.workers else reading.crop  # worker processes crop while the device computes
        steps = cold * (pace.frozen_step + crop) + warm * (pace.step + crop)
        tests = -(-config.epochs // config.evaluate_every) * reading.test * (pace.test + crop)
        return (reading.train + reading.test) * reading.decode + batches * config.batch_size * steps + tests


def _alike(run: Run, config: TrainConfig, names: Iterable[str] = SAME_RESULT) -> bool:
    return all(getattr(run.config, name, None) == getattr(config, name) for name in names)


def _speed(found: Found, count: Count) -> Iterator[float]:
    """Yield the multiply-adds per second of a finished run; nothing if its result lacks a number."""
    config = found.run.config
    assert isinstance(config, TrainConfig)
    with contextlib.suppress(PMSIError, KeyError, TypeError, ZeroDivisionError):
        images, classes, seconds = (found.result[name] for name in ("train_images", "classes", "seconds"))
        yield images * config.epochs * count(config, len(classes)) / seconds


def _read(dataset: Dataset, config: TrainConfig, images_per_class: int | None) -> Reading:
    """Time one batch of a data set twice: with decoding, and with decoded images from the cache."""
    loader = TrainLoader(dataset, config.with_(workers=0), images_per_class)
    first, again = (_timed(lambda: list(itertools.islice(loader.epoch(0), 1))) / config.batch_size for _ in range(2))
    return Reading(len(dataset.train), len(dataset.test), len(dataset.classes), max(0.0, first - again), again)


def time_trial(config: TrainConfig, classes: int) -> Pace:
    """Return the pace of a config, measured by a trial in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        return Trial(config, classes, Path(folder)).pace()


class Trial(Training):
    """A few timed training steps on random images, with random weights, in one process."""

    def __init__(self, config: TrainConfig, classes: int, root: Path) -> None:
        plain = config.with_(
            weights="none",
            start_from=None,
            batch_size=_batch_size(config),
            workers=0,
            devices=1,
            compile=False,
            checkpoint_every_s=1e9,
        )
        super().__init__(plain, _noise(plain, classes), Run.create(root, plain))
        self.shared_by = config.devices
        labels = torch.tensor([sample.label for sample in self.dataset.train])
        size = config.image_size
        self.batch: Batch = (torch.randint(256, (len(labels), 3, size, size), dtype=torch.uint8), labels)

    def pace(self) -> Pace:
        """Return seconds per image, divided by the number of devices that share a batch."""
        self.model.train()
        step = self._seconds(lambda: train_batch(self.learner, *self.batch, self))
        self.model.backbone.requires_grad_(False)
        frozen_step = self._seconds(lambda: train_batch(self.learner, *self.batch, self))
        test = self._seconds(lambda: score(self.model, [self.batch], self.device))
        return Pace(step / self.shared_by, frozen_step / self.shared_by, test)

    def _seconds(self, work: Callable[[], object]) -> float:
        """Return the least seconds per image of several calls, after one call that is not timed."""
        self._synchronised(work)
        times: list[float] = []
        while len(times) < REPEATS and sum(times) < ENOUGH_S:
            times.append(_timed(lambda: self._synchronised(work)))
        return min(times) / self.config.batch_size

    def _synchronised(self, work: Callable[[], object]) -> None:
        work()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _batch_size(config: TrainConfig) -> int:
    """Return the batch size of a trial, which must suit the method."""
    method = resolve(config).method
    if config.device != "cpu" and torch.cuda.is_available():
        return config.batch_size
    least = max(IMAGES, PIXELS // config.image_size**2, 2 * (method.images_per_class or 1))
    return min(config.batch_size, -(-least // method.batch_multiple) * method.batch_multiple)


def _noise(config: TrainConfig, classes: int) -> Dataset:
    """Return a data set of one batch with this number of classes; its images are not opened."""
    together = resolve(config).method.images_per_class or 1
    labels = [number // together % classes for number in range(config.batch_size)]
    samples = tuple(Sample(f"noise/{number}", label) for number, label in enumerate(labels))
    return Dataset("noise", tuple(map(str, range(classes))), samples, samples, _grey)


def _grey(sample: Sample) -> Image.Image:
    return Image.new("RGB", (32, 32))
