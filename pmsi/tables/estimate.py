"""How long runs will take on this machine: what an equal run took, or else a trial of a few steps on random images.

An estimate, and no more: a trial knows neither how busy the machine will be, nor what a longer run brings. Times are
in seconds. Importing this imports torch; this module does not know what the runs are for.
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
"""What a trial takes at once on a CPU: this many pixels, and at least this many images. On a GPU, where few images take
as long as many, it takes whole batches."""

REPEATS, ENOUGH_S = 3, 0.5
"""A trial repeats a step this often, or for this long."""

SPEED = ("device", "threads", "precision", "devices")
"""Fields that decide how fast the same work is done."""

NEWEST = 10
"""Finished runs by which a speed is known well enough."""

Count = Callable[[TrainConfig, int], int]
"""(config, classes) → multiply-adds of learning from one image."""

DATA = ("dataset", "data", "test_fraction", "split_seed", "train_per_class", "test_per_class")
"""Fields that decide which images there are."""


@dataclass(frozen=True)
class Pace:
    """Seconds for each image: a training step, one with a frozen backbone, and a test."""

    step: float
    frozen_step: float
    test: float


@dataclass(frozen=True)
class Reading:
    """A data set: its images, its classes, and seconds to decode one for the first time and to cut it after that."""

    train: int
    test: int
    classes: int
    decode: float
    cut: float


class Estimator:
    """Estimates for the runs of a folder; each data set is opened once, and each computation tried once."""

    def __init__(self, root: Path, progress: Progress | None = None) -> None:
        self._runs, self._progress = Runs(root), progress
        self._readings: dict[tuple[object, ...], Reading] = {}
        self._paces: dict[tuple[object, ...], Pace] = {}

    def training(self, config: TrainConfig) -> float:
        """Return how long a training run takes from start to end."""
        known = self.known(config)
        return self._tried(config) if known is None else known

    def testing(self, config: TrainConfig) -> float:
        """Return how long the test images take once, and the making of such images as a sweep shows."""
        reading = self.reading(config)
        return reading.test * (self.pace(config).test + 2 * reading.cut)

    def reading(self, config: TrainConfig) -> Reading:
        """Return what there is to read; raises what `open_dataset` does, and what a batch of it cannot be made for."""
        method = resolve(config).method
        names = (*DATA, "image_size", "resize", "batch_size")
        key = (*(getattr(config, name) for name in names), method.images_per_class)
        if key not in self._readings:
            dataset = open_dataset(config, self._progress)
            self._readings[key] = _read(dataset, config, method.images_per_class)
        return self._readings[key]

    def pace(self, config: TrainConfig) -> Pace:
        """Return what a trial of this computation measures."""
        key = identity(config)
        if key not in self._paces:
            self._paces[key] = time_trial(config, self.reading(config).classes)
        return self._paces[key]

    def known(self, config: TrainConfig) -> float | None:
        """Return what finished runs took that differ in nothing but the seed, on a device asked for in the same way.

        None where there is none; nothing is opened or tried.
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
        """Return the multiply-adds of training in a second of the newest finished runs, the median; None without any.

        Runs count that computed on a device asked for in the same way and in the same precision.
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
        cut = 0.0 if config.workers else reading.cut  # worker processes cut while the device computes
        steps = cold * (pace.frozen_step + cut) + warm * (pace.step + cut)
        tests = -(-config.epochs // config.evaluate_every) * reading.test * (pace.test + cut)
        return (reading.train + reading.test) * reading.decode + batches * config.batch_size * steps + tests


def _alike(run: Run, config: TrainConfig, names: Iterable[str] = SAME_RESULT) -> bool:
    return all(getattr(run.config, name, None) == getattr(config, name) for name in names)


def _speed(found: Found, count: Count) -> Iterator[float]:
    """Yield the multiply-adds in a second of a finished run; nothing where it says too little for that."""
    config = found.run.config
    assert isinstance(config, TrainConfig)
    with contextlib.suppress(PMSIError, KeyError, TypeError, ZeroDivisionError):
        images, classes, seconds = (found.result[name] for name in ("train_images", "classes", "seconds"))
        yield images * config.epochs * count(config, len(classes)) / seconds


def _read(dataset: Dataset, config: TrainConfig, images_per_class: int | None) -> Reading:
    """Read one batch of a data set twice: what it takes at first, and what it takes once its images are kept."""
    loader = TrainLoader(dataset, config.with_(workers=0), images_per_class)
    first, again = (_timed(lambda: list(itertools.islice(loader.epoch(0), 1))) / config.batch_size for _ in range(2))
    return Reading(len(dataset.train), len(dataset.test), len(dataset.classes), max(0.0, first - again), again)


def time_trial(config: TrainConfig, classes: int) -> Pace:
    """Return the pace of a training run, from a few of its steps on random images, in a folder that is then removed."""
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        return Trial(config, classes, Path(folder)).pace()


class Trial(Training):
    """A training run on noise that is never finished: new weights, one process, a few steps against the clock."""

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
        """Return seconds for each image; where several devices share a batch, each image's share of the time."""
        self.model.train()
        step = self._seconds(lambda: train_batch(self.learner, *self.batch, self))
        self.model.backbone.requires_grad_(False)
        frozen_step = self._seconds(lambda: train_batch(self.learner, *self.batch, self))
        test = self._seconds(lambda: score(self.model, [self.batch], self.device))
        return Pace(step / self.shared_by, frozen_step / self.shared_by, test)

    def _seconds(self, work: Callable[[], object]) -> float:
        """Return the seconds of one call for each image, after a first call that is not counted."""
        self._to_its_end(work)
        times: list[float] = []
        while len(times) < REPEATS and sum(times) < ENOUGH_S:
            times.append(_timed(lambda: self._to_its_end(work)))
        return min(times) / self.config.batch_size

    def _to_its_end(self, work: Callable[[], object]) -> None:
        work()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _batch_size(config: TrainConfig) -> int:
    """Return how many images a trial takes at once: as many as the method's pairs and classes allow."""
    method = resolve(config).method
    if config.device != "cpu" and torch.cuda.is_available():
        return config.batch_size
    least = max(IMAGES, PIXELS // config.image_size**2, 2 * (method.images_per_class or 1))
    return min(config.batch_size, -(-least // method.batch_multiple) * method.batch_multiple)


def _noise(config: TrainConfig, classes: int) -> Dataset:
    """Return a data set of one batch, with as many classes as the real one; its images are never opened."""
    together = resolve(config).method.images_per_class or 1
    labels = [number // together % classes for number in range(config.batch_size)]
    samples = tuple(Sample(f"noise/{number}", label) for number, label in enumerate(labels))
    return Dataset("noise", tuple(map(str, range(classes))), samples, samples, _grey)


def _grey(sample: Sample) -> Image.Image:
    return Image.new("RGB", (32, 32))
