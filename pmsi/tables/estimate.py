"""Estimates of how long runs take on this machine: the time of equal finished runs, or else a short trial.

`Estimator.seconds` estimates a training run or a robustness sweep, `Estimator.known` from finished runs only. A trial
opens the data set, so its images and classes count, and times a few steps; it leaves only images in the shared cache.
No estimate can foresee how busy the machine will be. Times are in seconds.
"""

import itertools
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from pmsi.base.errors import ConfigError
from pmsi.base.files import LARGE, read_json
from pmsi.config import DATA_FIELDS, Config, RobustnessConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.cache.pixels import Pixels
from pmsi.data.checking import Progress
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import Batch, TrainLoader
from pmsi.evaluation import score
from pmsi.methods import resolve
from pmsi.robustness.cells import CLEAN, Cell, cells_of
from pmsi.robustness.inference import inference_threads
from pmsi.robustness.models import SweptModel, accelerated, load_models, open_shared
from pmsi.robustness.sweep import Sweep
from pmsi.runs import Run, State, known_runs
from pmsi.runs.damage import read
from pmsi.runs.record import data_of
from pmsi.tables.matching import SAME_RESULT, Runs, identity
from pmsi.training.loop import train_batch
from pmsi.training.optimizer import frozen
from pmsi.training.session import Training

SWEEP_SPEED = ("device", "threads", "workers")
"""Fields that decide how fast a sweep computes the same."""

IMAGES, PIXELS = 4, 8 * 224**2
"""The batch of a trial of training on a CPU: this many pixels, and at least this many images. On a GPU, where few
images take as long as many, a trial uses whole batches."""

REPEATS, ENOUGH_S = 3, 0.5
"""A trial of training repeats a step this often, or for this many seconds."""

SWEEP_IMAGES, SWEEP_BATCH = 16, 8
"""Images of a trial of a sweep on a CPU, and its batch size. On a GPU a trial uses two whole batches."""


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
        self.root, self._runs, self._progress = root, Runs(root), progress
        self._readings: dict[tuple[object, ...], Reading] = {}
        self._paces: dict[tuple[object, ...], Pace] = {}

    def seconds(self, config: Config) -> float:
        """Return the seconds of a training run or a robustness sweep: `known`, or else by a trial.

        Raises a PMSIError if the run could not start, such as DataError for a missing data set.
        """
        images = self.reading(config).train if isinstance(config, TrainConfig) and self.known(config) else None
        if (seconds := self.known(config, images)) is not None:
            return seconds
        return try_sweep(config, self.root) if isinstance(config, RobustnessConfig) else self._tried(config)

    def known(self, config: Config, images: int | None = None) -> float | None:
        """Return the seconds that equal finished runs took; None if there is none. No trial is made.

        Training runs are equal if they differ only in the seed; with ``images`` those count that had as many training
        images. For a sweep, the pace of the newest sweep of the same runs counts, also with other severities or fewer
        images. The device setting must be the same.
        """
        if isinstance(config, RobustnessConfig):
            return known_sweep(config, self.root)
        if not isinstance(config, TrainConfig):
            raise ConfigError(f"A run of the task {config.task!r} is not estimated: expected 'train' or 'robustness'.")
        found = [self._runs.training(config, seed) for seed in self._runs.seeds(config)]
        seconds = [
            each.result.get("seconds")
            for each in found
            if each is not None
            and each.state is State.FINISHED
            and _alike(each.run.config, config, SAME_RESULT)
            and (images is None or data_of(each.run).train in (None, images))
        ]
        numbers = [value for value in seconds if isinstance(value, (int, float))]
        return sum(numbers) / len(numbers) if numbers else None

    def future_sweep(self, trained: Sequence[TrainConfig], cells: int) -> float:
        """Return the seconds of a sweep over this many cells whose models are not trained yet."""
        readings = [(self.reading(config), self.pace(config)) for config in trained]
        return cells * sum(reading.test * (pace.test + 2 * reading.crop) for reading, pace in readings)

    def reading(self, config: TrainConfig) -> Reading:
        """Return the size and reading time of a config's data set; raises DataError if it cannot be opened."""
        method = resolve(config).method
        names = (*DATA_FIELDS, "image_size", "resize", "batch_size")
        key = (*(getattr(config, name) for name in names), method.images_per_class)
        if key not in self._readings:
            dataset = open_dataset(config, self._progress)
            self._readings[key] = _read(dataset, config, method.images_per_class)
        return self._readings[key]

    def pace(self, config: TrainConfig) -> Pace:
        """Return the pace that a trial of this config measures."""
        key = (*identity(config), self.reading(config).classes)
        if key not in self._paces:
            self._paces[key] = try_training(config, self.reading(config).classes)
        return self._paces[key]

    def _tried(self, config: Config) -> float:
        assert isinstance(config, TrainConfig)
        reading, pace = self.reading(config), self.pace(config)
        batches = reading.train // config.batch_size
        cold = sum(frozen(config, epoch) for epoch in range(config.epochs))
        warm = config.epochs - cold
        crop = 0.0 if config.workers else reading.crop  # worker processes crop while the device computes
        steps = cold * (pace.frozen_step + crop) + warm * (pace.step + crop)
        tests = -(-config.epochs // config.evaluate_every) * reading.test * (pace.test + crop)
        return (reading.train + reading.test) * reading.decode + batches * config.batch_size * steps + tests


def _alike(one: Config, other: Config, names: Sequence[str]) -> bool:
    return all(getattr(one, name, None) == getattr(other, name) for name in names)


# An earlier sweep


def known_sweep(config: RobustnessConfig, root: Path) -> float | None:
    """Return the seconds of a sweep at the pace of the newest comparable finished sweep; None if there is none.

    Comparable is a sweep of the same runs, with all of the perturbations and the same device settings.
    """
    for run in known_runs(root):
        earlier = run.config if run.state is State.FINISHED else None
        if isinstance(earlier, RobustnessConfig) and _is_comparable(earlier, config):
            pace, images = _sweep_pace(run, earlier), _images(run, earlier, config.test_per_class)
            if pace is not None and images is not None:
                return pace * images * len(cells_of(config))
    return None


def _is_comparable(earlier: RobustnessConfig, config: RobustnessConfig) -> bool:
    alike = _alike(earlier, config, SWEEP_SPEED)
    return alike and {*earlier.of} == {*config.of} and _names(config) <= _names(earlier)


def _names(config: RobustnessConfig) -> set[str | None]:
    return {cell.perturbation for cell in cells_of(config)}


def _sweep_pace(run: Run, config: RobustnessConfig) -> float | None:
    """Return the seconds per image and cell of a finished sweep, from its last heartbeat.

    Its start and end do not serve: it may have been stopped and resumed.
    """
    beat = read(run.folder / "progress.json") or {}
    labels = _labels(run)
    if not labels or not beat.get("rate") or not beat.get("total"):
        return None
    return float(beat["total"] / beat["rate"] / (len(labels) * len(cells_of(config))))


def _images(run: Run, earlier: RobustnessConfig, limit: int | None) -> int | None:
    """Return the number of test images under a limit per class; None if the earlier sweep used fewer."""
    if earlier.test_per_class is not None and (limit is None or limit > earlier.test_per_class):
        return None
    return sum(count if limit is None else min(count, limit) for count in Counter(_labels(run)).values())


def _labels(run: Run) -> list[int]:
    return list((read_json(run.folder / CLEAN.file, LARGE) or {}).get("labels", ()))


# A trial of training


def _read(dataset: Dataset, config: TrainConfig, images_per_class: int | None) -> Reading:
    """Time one batch of a data set twice: with decoding, and with decoded images from the cache."""
    loader = TrainLoader(dataset, config.with_(workers=0), images_per_class)
    first, again = (_timed(lambda: list(itertools.islice(loader.epoch(0), 1))) / config.batch_size for _ in range(2))
    return Reading(len(dataset.train), len(dataset.test), len(dataset.classes), max(0.0, first - again), again)


def try_training(config: TrainConfig, classes: int) -> Pace:
    """Return the pace of a config, measured by a trial in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        return TrainingTrial(config, classes, Path(folder)).pace()


class TrainingTrial(Training):
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
            theatre=False,
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


def _timed(work: Callable[..., object], *arguments: Any) -> float:
    began = time.perf_counter()
    work(*arguments)
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
    names = tuple(map(str, range(classes)))
    return Dataset("noise", names, samples, samples, lambda sample: Image.new("RGB", (32, 32)))


# A trial of a sweep


def try_sweep(config: RobustnessConfig, root: Path) -> float:
    """Return the seconds of a sweep over runs in ``root``, by a trial: its start, its reading, and its cells."""
    began = time.perf_counter()
    models = load_models(config, root)
    with tempfile.TemporaryDirectory() as folder:
        dataset, _ = open_shared(config, models, Run.create(Path(folder), config))
        models = accelerated(models, len(dataset.test) * len(cells_of(config)))
        ready = time.perf_counter() - began
        trial = SweepTrial(config, Path(folder), dataset, models)
        return ready + len(dataset.test) * (trial.reading() + trial.working())


class SweepTrial(Sweep):
    """A timed sweep over a few images. Its times are seconds per image of the whole sweep."""

    def __init__(
        self, config: RobustnessConfig, folder: Path, dataset: Dataset, models: tuple[SweptModel, ...]
    ) -> None:
        on_cpu = models[0].device.type == "cpu"
        batch = min(config.batch_size, SWEEP_BATCH) if on_cpu else config.batch_size
        count = max(SWEEP_IMAGES, batch) if on_cpu else 2 * batch
        self.whole, self.wanted = dataset, cells_of(config)
        self.chosen = range(0, len(dataset.test), max(1, len(dataset.test) // count))[:count]
        opened = lambda sample: dataset.open_image(sample)  # noqa: E731 (its images are not in the cache of files)
        few = replace(dataset, test=tuple(dataset.test[i] for i in self.chosen), open_image=opened)
        one_of_each = tuple(f"{cell.perturbation}={cell.severity!r}" for cell in _usual(self.wanted))
        short = config.with_(perturbations=one_of_each, severities=None, batch_size=batch)
        super().__init__(short, Run.create(folder, short), few, models)

    def reading(self) -> float:
        """Return the seconds of reading an image for all runs, from the shared cache if it is there."""
        sides = {model.sides[0] for model in self.models}
        stores = [Pixels(self.whole, self.whole.test, side) for side in sides]
        return sum(_timed(list, map(store.__getitem__, self.chosen)) for store in stores) / len(self.chosen)

    def working(self) -> float:
        """Return the seconds per image of all cells of the whole sweep, after a warm-up pass."""
        numbers = [0, *range(len(self.cells))]
        with inference_threads(self.models[0].device) as pool, closing(self._batches(numbers)) as batches:
            times = [_timed(self._predict, number, batches, pool) for number in numbers]
        counts = Counter(cell.perturbation for cell in self.wanted)
        cells = zip(self.cells, times[1:], strict=True)
        return sum(counts[cell.perturbation] * seconds for cell, seconds in cells) / len(self.chosen)


def _usual(cells: tuple[Cell, ...]) -> list[Cell]:
    """Return the middle severity of each perturbation, which stands for the others."""
    found = []
    for name in dict.fromkeys(cell.perturbation for cell in cells if cell.perturbation is not None):
        mine = sorted((cell for cell in cells if cell.perturbation == name), key=lambda cell: cell.severity)
        found.append(mine[len(mine) // 2])
    return found
