"""The task "train": restores, records, tests, writes checkpoints and stops around the loop of Algorithm 1."""

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pmsi.base.errors import ConfigError, Fix, TrainingError
from pmsi.base.files import require_room
from pmsi.base.text import percent
from pmsi.config import DATA_FIELDS, TrainConfig
from pmsi.data import check_folder, open_dataset
from pmsi.data.checking import Progress as Checking
from pmsi.data.dataset import Dataset
from pmsi.data.loading import EvaluationLoader, TrainLoader, check_batch
from pmsi.data.record import FILE, DataRecord
from pmsi.data.sampling import check_balanced
from pmsi.engine.checkpoint import (
    PREVIOUS,
    Checkpoint,
    has_checkpoint,
    newest_checkpoint,
    room_for,
    save_checkpoint,
)
from pmsi.engine.device import gradient_scaler, prepare_device
from pmsi.evaluation import checking_progress, score, write_predictions
from pmsi.methods import build, outline, resolve
from pmsi.model import Objective, Recognizer
from pmsi.model.batch import Phase, Scalar
from pmsi.runs import Run, Stopped
from pmsi.runs.comparison import best_epoch
from pmsi.runs.lifecycle import LEAST_ROOM
from pmsi.runs.record import record_of
from pmsi.runs.run import CHECKPOINT
from pmsi.training.distributed import Team, team
from pmsi.training.initial_weights import (
    CLASSES,
    check_initial_weights,
    check_leakage,
    initial_model,
    weights_taken,
)
from pmsi.training.loop import Learner, progressive_training
from pmsi.training.optimizer import make_optimizer, match_memory_format
from pmsi.training.progress import Progress, changed_since, made_with
from pmsi.training.theatre import Recording
from pmsi.training.trackers import Trackers, check_trackers
from pmsi.uncertainty.outputs import outputs_of
from pmsi.uncertainty.temperature import fit_calibration

CHECKPOINTS = 3
"""Checkpoints of a run that are on its disk at once: the last one, the one before, and the one that is written."""


class Order(IntEnum):
    """What rank 0 orders all processes to do between two phases."""

    GO = 0
    SAVE = 1
    STOP = 2


RECORDS_PER_EPOCH = 10
"""Loss records in each epoch, at most; the loop waits for the device only to write one."""


def check(config: TrainConfig, root: Path) -> list[str]:
    """Return what is to be said about a config before its run is made.

    Raises a PMSIError if names, paths or weights would keep the run from starting.
    """
    resolve(config)
    _check_share(config)
    check_folder(config)
    check_trackers(config.trackers)
    needed = CHECKPOINTS * room_for(outline(config, CLASSES)) + LEAST_ROOM
    require_room(root, needed, "a run with these settings")
    return [words for words in (check_initial_weights(config, root),) if words]


def check_data(configs: Sequence[TrainConfig], progress: Checking | None = None) -> None:
    """Raise a PMSIError if a data set does not allow one of some trainings; each data set is read once for it."""
    opened: dict[tuple[object, ...], Dataset] = {}
    for config in configs:
        key = tuple(getattr(config, name) for name in DATA_FIELDS)
        dataset = opened[key] = opened.get(key) or open_dataset(config, progress)
        check_batch(dataset, config)
        if count := resolve(config).method.images_per_class:
            check_balanced([sample.label for sample in dataset.train], dataset.classes, config.batch_size, count)


def _check_share(config: TrainConfig) -> None:
    """Raise ConfigError if each process would get one image, and BatchNorm cannot learn from one."""
    if config.devices == 1 or config.batch_size > config.devices or (config.sync_bn and config.device != "cpu"):
        return
    try:
        with torch.device("meta"):
            outline(config, CLASSES)(torch.zeros(1, 3, config.image_size, config.image_size))
    except ValueError as error:
        least = 2 * config.devices
        few = next(n for n in range(config.batch_size // 2, 0, -1) if config.batch_size % n == 0)
        raise ConfigError(
            f"batch_size = {config.batch_size} on devices = {config.devices}: each process gets one image, and "
            f"BatchNorm needs two to learn from. Raise batch_size to {least}, or lower devices to {few}.",
            fixes=[Fix(f"Batches of {least}", {"batch_size": least}), Fix(f"Devices: {few}", {"devices": few})],
        ) from error


def train(config: TrainConfig, run: Run) -> dict[str, Any]:
    """Train from the start or from the run's checkpoint, and return the run's result.

    Raises Stopped at a request to stop, TrainingError if a loss is not finite or the data has changed.
    """
    dataset = open_dataset(config, checking_progress(run))
    with team(prepare_device(config)) as members:
        return Training(config, dataset, run, members).fit()


class Training:
    """One training run in progress, or this process's part of one that several processes share."""

    def __init__(self, config: TrainConfig, dataset: Dataset, run: Run, members: Team | None = None) -> None:
        self.config, self.dataset, self.run = config, dataset, run
        self.record = DataRecord.of(dataset, checking_progress(run))
        self.team = members or Team()
        self.device = prepare_device(config)
        system = resolve(config)
        share = self.team.share(config.batch_size)
        self.loader = TrainLoader(dataset, config, system.method.images_per_class, share, self.device)
        self.test, self.validation = (
            EvaluationLoader(dataset, samples, config, config.batch_size, config.workers, self.device)
            for samples in (dataset.test, dataset.validation)
        )
        self.start_differs: list[str] = []  # from the data of the run that this one starts from
        self.weights: str | None = None  # which ones of a file it begins with
        self.keeps = True  # the last checkpoint, at the next one: it is whole
        resumed = has_checkpoint(run.checkpoints)
        self.model = self._model(resumed)
        self._require_room()
        self.optimizer = make_optimizer(self.model, config)
        self.scaler = gradient_scaler(self.device, config.precision)
        progress = self._restore() if resumed else self._begin()
        self.saved_at = time.monotonic()
        self.began_at = self.saved_at - progress.seconds
        if config.compile:
            self.model.backbone.compile()
        objective = self.team.wrap(Objective(self.model), self.device)
        self.learner = Learner(
            config, system, self.model, objective, self.optimizer, self.scaler, self.device, self.team, progress
        )
        self.trackers = Trackers(config.trackers if self.team.leads else (), run.folder, config, self._step)
        self.recording = None
        if config.theatre and self.team.leads:
            self.recording = Recording(run, config, dataset, self.record, self.model, progress.epoch)

    @property
    def progress(self) -> Progress:
        """How far training has come."""
        return self.learner.progress

    def fit(self) -> dict[str, Any]:
        """Train to the end and return the result; at a stop request write a checkpoint and raise `Stopped`."""
        unchanged = torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])
        with unchanged, contextlib.closing(self.trackers):
            if self.recording is not None and self._step == self.progress.phase == 0:
                self.recording.add(self.model, 0)
            progressive_training(self.learner, self.loader, self)
        if self.team.leads:
            (self.run.checkpoints / PREVIOUS).unlink(missing_ok=True)
        return self._result() if self.team.leads else {}

    # Between the steps of the loop

    def before_phase(self) -> None:
        """Save if a checkpoint is due; stop if that was requested."""
        due = time.monotonic() - self.saved_at >= self.config.checkpoint_every_s
        self._obey(Order.SAVE if due else Order.GO)

    def after_phase(self, phase: Phase, loss: Scalar) -> None:
        """Add the loss to its output's sum, on the device."""
        self.progress.losses[phase.head] = self.progress.losses.get(phase.head, torch.zeros_like(loss)) + loss

    def after_batch(self) -> None:
        """Write the heartbeat, and `RECORDS_PER_EPOCH` times an epoch the losses."""
        self.progress.summed += 1
        every = math.ceil(self.loader.batches / RECORDS_PER_EPOCH)
        if self.progress.batch % every == 0 or self.progress.batch == self.loader.batches:
            self._record_losses()
        self._show(f"epoch {self.progress.epoch + 1} of {self.config.epochs}")

    def after_epoch(self) -> None:
        """Test, and save at the start of the next epoch."""
        self._evaluate()
        self.progress.begin_epoch(self.progress.epoch + 1)
        self._save()

    # The model

    def _model(self, resumed: bool) -> Recognizer:
        classes = self.dataset.classes
        if resumed:
            model = build(self.config, len(classes), pretrained=False)
        else:
            self.start_differs = check_leakage(self.config, self.run.folder.parent, self.record)
            self.weights = weights_taken(self.config)
            if self.weights and self.team.leads:
                self.run.append_log(self.weights)
            model = initial_model(self.config, self.run, classes)
        if self.config.sync_bn and self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return model.to(self.device)

    def _require_room(self) -> None:
        """Raise DiskFull, before any step, where the run's checkpoints would not fit on its disk."""
        place = self.run.checkpoints
        new = CHECKPOINTS - sum((place / name).exists() for name in (CHECKPOINT, PREVIOUS))
        if self.team.leads:
            require_room(place, new * room_for(self.model) + LEAST_ROOM, f"run {self.run.id}")

    # Recording

    @property
    def _step(self) -> int:
        return self.progress.step(self.loader.batches)

    def _show(self, text: str) -> None:
        self.run.progress(self._step, self.config.epochs * self.loader.batches, text)

    def _log(self, record: dict[str, Any]) -> None:
        self.run.log(record)
        self.trackers.write(record)

    def _record_losses(self) -> None:
        losses = {head: value / self.progress.summed for head, value in self._summed_losses().items()}
        epoch = self.progress.epoch + self.progress.batch / self.loader.batches
        rates = {"lr_pretrained": self.optimizer.param_groups[0]["lr"], "lr_new": self.optimizer.param_groups[1]["lr"]}
        self._log({"kind": "loss", "epoch": epoch, "step": self._step, "losses": losses} | rates)
        self.progress.losses, self.progress.summed = {}, 0

    def _summed_losses(self) -> dict[str, float]:
        """Return the sums of the losses by phase since the last record, or raise TrainingError if one is not finite."""
        losses = {head: self.team.mean(value).item() for head, value in self.progress.losses.items()}
        for head, value in losses.items():
            self._require_finite(f"loss of phase {head}", value)
        return losses

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise TrainingError(
                f"The {what} is {value} in epoch {self.progress.epoch + 1}, batch {self.progress.batch}: training has "
                f"diverged. Lower lr_new (now {self.config.lr_new:g}) and lr_pretrained (now "
                f"{self.config.lr_pretrained:g}), or raise batch_size (now {self.config.batch_size}).",
                final=True,
            )

    # Testing

    def _evaluate(self) -> None:
        epoch, last = self.progress.epoch + 1, self.progress.epoch + 1 == self.config.epochs
        if not last and epoch % self.config.evaluate_every:
            return
        if self.team.leads:  # the others wait for the order below
            with contextlib.suppress(Stopped):  # `_obey` saves and stops; a resumed run tests again
                self._test(epoch, last)
        self._obey(Order.GO)

    def _test(self, epoch: int, last: bool) -> None:
        record: dict[str, Any] = {"kind": "epoch", "epoch": epoch, "step": self._step}
        temperatures: Mapping[str, float] = {}
        if self.dataset.validation:
            held = score(self.model, self.validation, self.device, self._after_test_batch)
            record["validation"] = {"accuracy": held.accuracy, "loss": held.loss}
            temperatures = self._calibrate() if last else {}
        scores = score(self.model, self.test, self.device, self._after_test_batch, temperatures)
        for head, value in scores.loss.items():
            self._require_finite(f"test loss of {head}", value)
        record |= {"accuracy": scores.accuracy, "loss": scores.loss, "seconds": time.monotonic() - self.began_at}
        self._log(record)
        reached = ", ".join(f"{head} {percent(value)}" for head, value in scores.accuracy.items())
        self.run.append_log(f"Epoch {epoch} of {self.config.epochs}: {reached}.")
        if self.recording is not None:
            self.recording.add(self.model, epoch)
        if last:
            write_predictions(self.run.folder / "predictions.json", self.dataset.test, scores, self.dataset.classes)

    def _calibrate(self) -> Mapping[str, float]:
        """Fit temperatures and thresholds on the validation part, store them with the run, and return the former."""
        outputs = outputs_of(self.model, self.validation, self.device, self._after_test_batch)
        found = fit_calibration(outputs, self.model, "validation")
        found.write(self.run)
        return found.temperatures

    def _after_test_batch(self) -> None:
        self._show(f"testing epoch {self.progress.epoch + 1} of {self.config.epochs}")
        self.run.check_stop()

    # Saving, stopping, going on

    def _obey(self, order: Order) -> None:
        """Do what rank 0 orders: nothing, save, or, after a request to stop, save and raise Stopped."""
        order = Order(self.team.follow(Order.STOP if self.run.stop_requested else order))
        if order >= Order.SAVE:
            self._save()
        if order is Order.STOP:
            raise Stopped

    def _save(self) -> None:
        """Write a checkpoint; raises TrainingError, and keeps the last checkpoint, if a loss is not finite."""
        self._summed_losses()
        self.progress.seconds = time.monotonic() - self.began_at
        sums = self.team.gather(self.progress.sums())
        if self.team.leads:
            about = self.progress.to_json() | {
                "losses": sums,
                "scaler": self.scaler.state_dict(),
                "config": self.config.to_dict(),
                "classes": list(self.dataset.classes),
                "train_images": len(self.dataset.train),
                "start_differs": self.start_differs,
                "weights": self.weights,
                "step": self._step,
                "made_with": made_with(self.team.size),
            }
            self.run.flush_metrics()  # a checkpoint must not be ahead of them
            path = self.run.checkpoints / CHECKPOINT
            save_checkpoint(path, self.model, self.optimizer, about, self.record, keep=self.keeps)
            self.keeps = True
        self.saved_at = time.monotonic()

    def _begin(self) -> Progress:
        """Return the progress of a new run; removes the records of a worker that died before its first checkpoint."""
        self.run.truncate_metrics(lambda record: False)
        if self.team.leads:
            self.record.to_file(self.run.folder / FILE)
        return Progress()

    def _restore(self) -> Progress:
        """Load the run's checkpoint, remove the records after it, and return its progress."""
        checkpoint, damage = newest_checkpoint(self.run.checkpoints)
        self.keeps = not damage
        if damage and self.team.leads:
            self.run.append_log(f"{damage} Going on from the one before, of step {checkpoint.about['step']}.")
        self._check_data(checkpoint)
        checkpoint.check_config(self.config)
        checkpoint.restore(self.model, self.optimizer)
        match_memory_format(self.optimizer)
        reached = {"loss": checkpoint.about["step"], "epoch": checkpoint.about["epoch"]}
        measure = {"loss": "step", "epoch": "epoch"}
        self.run.truncate_metrics(lambda record: record[measure[record["kind"]]] <= reached[record["kind"]])
        self.scaler.load_state_dict(checkpoint.about["scaler"])
        self.start_differs = checkpoint.about.get("start_differs", [])
        self.weights = checkpoint.about.get("weights")
        changes = changed_since(checkpoint.about["made_with"], self.team.size)
        if changes and self.team.leads:
            self.run.append_log(f"Resumed under other conditions, so the last bits may differ: {'; '.join(changes)}.")
        sums = checkpoint.about["losses"]
        own = sums[self.team.rank] if len(sums) == self.team.size else sums[0]
        return Progress.from_json(checkpoint.about, own, self.device)

    def _check_data(self, checkpoint: Checkpoint) -> None:
        """Raise TrainingError where the data set is not what the run began with: it would be another run."""
        then = checkpoint.record or record_of(self.run)
        if then is not None:
            changes = then.changes(self.record)
        else:  # a run older than records: its checkpoint knows the classes, and the number of images
            about = checkpoint.about
            known = {"classes": about["classes"], "training images": about.get("train_images")}
            now = {"classes": list(self.dataset.classes), "training images": len(self.dataset.train)}
            changes = [
                f"{what} were {known[what]} and are {now[what]}" for what in now if known[what] not in (None, now[what])
            ]
        if changes:
            raise TrainingError(
                f"{self.dataset.name} has changed since this run began: {'; '.join(changes)}. Bring it back as it was, "
                "or start a new run."
            )

    def _result(self) -> dict[str, Any]:
        """Return the run's result: the last epoch and the primary head's best epoch, with all heads' accuracies."""
        epochs = [record for record in self.run.metrics() if record["kind"] == "epoch"]
        return {
            "last": {key: epochs[-1][key] for key in ("epoch", "accuracy")},
            "best": best_epoch(epochs, self.model.primary),
            "classes": list(self.dataset.classes),
            "train_images": len(self.dataset.train),
            "test_images": len(self.dataset.test),
            "validation_images": len(self.dataset.validation),
            "skipped_images": len(self.dataset.problems),
            "passed_over": dict(self.dataset.passed_over),
            "data": self.start_differs,
            "weights": self.weights,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "seconds": self.progress.seconds,
        }
