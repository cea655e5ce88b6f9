"""How long runs take on this machine: as equal runs took, else by a short trial.

`Estimator.seconds` answers for a training run or a sweep, `Estimator.known` from finished runs alone. A trial opens the
data set, so its images and classes count as they are; it times a few steps, and leaves nothing behind but images in the
shared cache. No estimate foresees how busy the machine will be. Times are in seconds.
"""

import contextlib
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

from pmsi.base.errors import ConfigError, RunError
from pmsi.base.files import read_json
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
from pmsi.robustness.models import SweptModel, load_models, open_shared
from pmsi.robustness.sweep import Sweep
from pmsi.runs import Run, State, list_runs
from pmsi.tables.matching import SAME_RESULT, Runs, identity
from pmsi.training.loop import train_batch
from pmsi.training.optimizer import frozen
from pmsi.training.session import Training

SWEEP_SPEED = ("device", "threads", "workers")
"""Fields that decide how fast a sweep does the same work."""

IMAGES, PIXELS = 4, 8 * 224**2
"""What a trial of training takes at once on a CPU: this many pixels, and at least this many images. On a GPU, where few
images take as long as many, it takes whole batches."""

REPEATS, ENOUGH_S = 3, 0.5
"""A trial of training repeats a step this often, or for this long."""

SWEEP_IMAGES, SWEEP_BATCH = 16, 8
"""Images of a trial of a sweep on a CPU, and how many are made at once. On a GPU it takes two whole batches."""


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
        self.root, self._runs, self._progress = root, Runs(root), progress
        self._readings: dict[tuple[object, ...], Reading] = {}
        self._paces: dict[tuple[object, ...], Pace] = {}

    def seconds(self, config: Config) -> float:
        """Return how long a training run or a sweep takes from start to end: `known`, else by a trial.

        Raises what the run itself would at its start, such as DataError for a data set that is not there.
        """
        if (seconds := self.known(config)) is not None:
            return seconds
        return try_sweep(config, self.root) if isinstance(config, RobustnessConfig) else self._tried(config)

    def known(self, config: Config) -> float | None:
        """Return how long equal runs took; None where none has finished. Nothing is opened or tried.

        Training runs are equal that differ in the seed alone. The newest sweep of the same runs tells by its pace, with
        other severities and fewer images too. All on a device asked for in the same way.
        """
        if isinstance(config, RobustnessConfig):
            return known_sweep(config, self.root)
        if not isinstance(config, TrainConfig):
            raise ConfigError(f"A run of the task {config.task!r} is not estimated: expected 'train' or 'robustness'.")
        found = [self._runs.training(config, seed) for seed in self._runs.seeds(config)]
        seconds = [
            each.result.get("seconds")
            for each in found
            if each is not None and each.state is State.FINISHED and _alike(each.run.config, config, SAME_RESULT)
        ]
        numbers = [value for value in seconds if isinstance(value, (int, float))]
        return sum(numbers) / len(numbers) if numbers else None

    def future_sweep(self, trained: Sequence[TrainConfig], cells: int) -> float:
        """Return how long a sweep over so many cells takes whose models are still to be trained."""
        readings = [(self.reading(config), self.pace(config)) for config in trained]
        return cells * sum(reading.test * (pace.test + 2 * reading.cut) for reading, pace in readings)

    def reading(self, config: TrainConfig) -> Reading:
        """Return what there is to read; raises what `open_dataset` does, and what a batch of it cannot be made for."""
        method = resolve(config).method
        names = (*DATA_FIELDS, "image_size", "resize", "batch_size")
        key = (*(getattr(config, name) for name in names), method.images_per_class)
        if key not in self._readings:
            dataset = open_dataset(config, self._progress)
            self._readings[key] = _read(dataset, config, method.images_per_class)
        return self._readings[key]

    def pace(self, config: TrainConfig) -> Pace:
        """Return what a trial of this computation measures."""
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
        cut = 0.0 if config.workers else reading.cut  # worker processes cut while the device computes
        steps = cold * (pace.frozen_step + cut) + warm * (pace.step + cut)
        tests = -(-config.epochs // config.evaluate_every) * reading.test * (pace.test + cut)
        return (reading.train + reading.test) * reading.decode + batches * config.batch_size * steps + tests


def _alike(one: Config, other: Config, names: Sequence[str]) -> bool:
    return all(getattr(one, name, None) == getattr(other, name) for name in names)


# An earlier sweep


def known_sweep(config: RobustnessConfig, root: Path) -> float | None:
    """Return how long a sweep takes at the pace of the newest finished one that did such work; None without any.

    It has to be of the same runs, with each of the perturbations, on a device asked for in the same way.
    """
    for run in list_runs(root):
        with contextlib.suppress(RunError):  # a damaged one
            earlier = run.config if run.state is State.FINISHED else None
            if isinstance(earlier, RobustnessConfig) and _tells(earlier, config):
                pace, images = _sweep_pace(run, earlier), _images(run, earlier, config.test_per_class)
                if pace is not None and images is not None:
                    return pace * images * len(cells_of(config))
    return None


def _tells(earlier: RobustnessConfig, config: RobustnessConfig) -> bool:
    alike = _alike(earlier, config, SWEEP_SPEED)
    return alike and {*earlier.of} == {*config.of} and _names(config) <= _names(earlier)


def _names(config: RobustnessConfig) -> set[str | None]:
    return {cell.perturbation for cell in cells_of(config)}


def _sweep_pace(run: Run, config: RobustnessConfig) -> float | None:
    """Return the seconds of a finished sweep for each image and cell, by its last heartbeat.

    Not by its beginning and end: a sweep that was stopped and resumed lay idle in between.
    """
    beat = read_json(run.folder / "progress.json") or {}
    labels = _labels(run)
    if not labels or not beat.get("rate") or not beat.get("total"):
        return None
    return float(beat["total"] / beat["rate"] / (len(labels) * len(cells_of(config))))


def _images(run: Run, earlier: RobustnessConfig, limit: int | None) -> int | None:
    """Return how many test images a sweep has under a limit for each class; None where an earlier one saw too few."""
    if earlier.test_per_class is not None and (limit is None or limit > earlier.test_per_class):
        return None
    return sum(count if limit is None else min(count, limit) for count in Counter(_labels(run)).values())


def _labels(run: Run) -> list[int]:
    return list((read_json(run.folder / CLEAN.file) or {}).get("labels", ()))


# A trial of training


def _read(dataset: Dataset, config: TrainConfig, images_per_class: int | None) -> Reading:
    """Read one batch of a data set twice: what it takes at first, and what it takes once its images are kept."""
    loader = TrainLoader(dataset, config.with_(workers=0), images_per_class)
    first, again = (_timed(lambda: list(itertools.islice(loader.epoch(0), 1))) / config.batch_size for _ in range(2))
    return Reading(len(dataset.train), len(dataset.test), len(dataset.classes), max(0.0, first - again), again)


def try_training(config: TrainConfig, classes: int) -> Pace:
    """Return the pace of a training run, from a few of its steps on random images, in a folder that is then removed."""
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]):
        return TrainingTrial(config, classes, Path(folder)).pace()


class TrainingTrial(Training):
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


def _timed(work: Callable[..., object], *arguments: Any) -> float:
    began = time.perf_counter()
    work(*arguments)
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


# A trial of a sweep


def try_sweep(config: RobustnessConfig, root: Path) -> float:
    """Return about how many seconds a sweep over the runs in ``root`` takes: its start, its reading, and its cells."""
    began = time.perf_counter()
    models = load_models(config, [Run.open(root, id) for id in config.of])
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_shared(config, models, Run.create(Path(folder), config))
        ready = time.perf_counter() - began
        trial = SweepTrial(config, Path(folder), dataset, models)
        return ready + len(dataset.test) * (trial.reading() + trial.working())


class SweepTrial(Sweep):
    """A sweep over few images. Its times are seconds for each image of the whole one."""

    def __init__(
        self, config: RobustnessConfig, folder: Path, dataset: Dataset, models: tuple[SweptModel, ...]
    ) -> None:
        on_cpu = models[0].device.type == "cpu"
        batch = min(config.batch_size, SWEEP_BATCH) if on_cpu else config.batch_size
        count = max(SWEEP_IMAGES, batch) if on_cpu else 2 * batch
        self.whole, self.wanted = dataset, cells_of(config)
        self.chosen = range(0, len(dataset.test), max(1, len(dataset.test) // count))[:count]
        few = replace(dataset, test=tuple(dataset.test[i] for i in self.chosen), open_image=_opened_by(dataset))
        one_of_each = tuple(f"{cell.perturbation}={cell.severity!r}" for cell in _usual(self.wanted))
        short = config.with_(perturbations=one_of_each, severities=None, batch_size=batch)
        super().__init__(short, Run.create(folder, short), few, models)

    def reading(self) -> float:
        """Return the seconds of reading an image for all runs: none but a look where the shared cache has it."""
        sides = {model.sides[0] for model in self.models}
        stores = [Pixels(self.whole, self.whole.test, side) for side in sides]
        return sum(_timed(list, map(store.__getitem__, self.chosen)) for store in stores) / len(self.chosen)

    def working(self) -> float:
        """Return the seconds that an image takes in all cells of the whole sweep, after a first pass to warm up."""
        numbers = [0, *range(len(self.cells))]
        with inference_threads(self.models[0].device) as pool, closing(self._batches(numbers)) as shown:
            times = [_timed(self._predict, number, shown, pool) for number in numbers]
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


def _opened_by(dataset: Dataset) -> Callable[[Sample], Image.Image]:
    """Return what opens an image as the data set does, and is not known as reading files: a few need no cache."""
    return lambda sample: dataset.open_image(sample)
