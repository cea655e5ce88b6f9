"""Algorithm 1: progressive training.

For each batch, StageNum + 1 phases; each shows the batch at its own granularity to the whole network, and updates
whatever its own output depends on:

    for batch in data:
        for phase in phases:
            images, target = augment(batch, phase.r)
            loss = model.loss(images, target, phase)
            (phase.weight * loss).backward(); optimizer.step()

The loop does not know which method it trains: phases, augmentation and loss come from the config's row in METHODS.
Every draw of phase p of batch b in epoch e is seeded by (seed, e, b, p), so a run can be stopped before any phase (one
that has begun is given up: `pmsi.abandoning`), and repeats what the uninterrupted run does when it is resumed: to the
bit on a CPU with the same number of threads; a GPU's sums may differ in their last bits.
"""

import contextlib
import math
import time
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pmsi.abandoning import Abandonable, layers
from pmsi.batch import Phase
from pmsi.checkpoints import CHECKPOINT, load_checkpoint, save_checkpoint
from pmsi.config import TrainConfig
from pmsi.data import check_folder, open_dataset
from pmsi.data.dataset import Dataset
from pmsi.data.loading import Batch, EvaluationLoader, TrainLoader
from pmsi.data.preprocessing import normalize
from pmsi.device import autocast, gradient_scaler, prepare_device
from pmsi.errors import TrainingError
from pmsi.evaluation import score, while_checking, write_predictions
from pmsi.methods import Plan, build, resolve
from pmsi.model import Objective, Recognizer
from pmsi.optimization import frozen, make_optimizer, match_memory_format, set_learning_rates
from pmsi.parallel import Team, team
from pmsi.progress import Progress, changed_since, made_with
from pmsi.runs import Run, Stopped
from pmsi.seeding import derive
from pmsi.starting import check_start, first_model
from pmsi.tracking import Trackers, check_trackers


class Order(IntEnum):
    """What to do between two phases."""

    GO = 0
    SAVE = 1
    STOP = 2


RECORDS_PER_EPOCH = 10
"""Loss records in each epoch, at most; only when one is written does the loop wait for the device."""


def check(config: TrainConfig, root: Path) -> None:
    """Raise what would keep a training run from starting, as far as a look at the names and paths can tell."""
    resolve(config)
    check_folder(config)
    check_trackers(config.trackers)
    check_start(config, root)


def train(config: TrainConfig, run: Run) -> dict[str, Any]:
    """The task "train": train as ``config`` says, from the start or from the run's checkpoint."""
    dataset = open_dataset(config, while_checking(run))
    with team(prepare_device(config)) as members:
        return Training(config, dataset, run, members).fit()


class Training:
    """One training run in progress; with a team, this process's share of it."""

    def __init__(self, config: TrainConfig, dataset: Dataset, run: Run, members: Team | None = None) -> None:
        self.config, self.dataset, self.run = config, dataset, run
        self.team = members or Team()
        self.device = prepare_device(config)
        self.plan: Plan = resolve(config)
        share = self.team.share(config.batch_size)
        self.loader = TrainLoader(dataset, config, self.plan.method.images_per_class, share, self.device)
        self.test = EvaluationLoader(dataset, dataset.test, config, config.batch_size, config.workers, self.device)
        resumed = (run.checkpoints / CHECKPOINT).exists()
        classes = dataset.classes
        model = build(config, len(classes), pretrained=False) if resumed else first_model(config, run, classes)
        if config.sync_bn and self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        self.model: Recognizer = model.to(self.device)
        self.optimizer = make_optimizer(self.model, config)
        self.scaler = gradient_scaler(self.device, config.precision)
        self.progress = self._restore() if resumed else self._begin()
        self.saved_at = time.monotonic()
        self.began_at = self.saved_at - self.progress.seconds
        if config.compile:
            self.model.backbone.compile()
        # One of a team must not leave the others waiting, and Python runs far ahead of a GPU: they finish their phases.
        alone = self.team.size == 1 and self.device.type == "cpu"
        compiled = self.model.backbone if config.compile else None  # its layers are no longer called one by one
        self.abandonable = Abandonable(self.model, layers(self.model, compiled) if alone else (), run.check_stop)
        self.objective = self.team.wrap(Objective(self.model), self.device)
        self.trackers = Trackers(config.trackers if self.team.leads else (), run.folder, config, self._step)

    def fit(self) -> dict[str, Any]:
        """Train to the end and return the result; at a stop request write a checkpoint and raise `Stopped`."""
        unchanged = torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])
        with unchanged, contextlib.closing(self.trackers):
            for epoch in range(self.progress.epoch, self.config.epochs):
                self._train_epoch(epoch)
                self._evaluate(epoch)
                self.progress = Progress(epoch + 1)
                self._save()
        return self._result() if self.team.leads else {}

    def _train_epoch(self, epoch: int) -> None:
        self.model.train()
        self.model.backbone.requires_grad_(not frozen(self.config, epoch))
        every = math.ceil(self.loader.batches / RECORDS_PER_EPOCH)
        for batch in self.loader.epoch(epoch, self.progress.batch):
            self._train_batch(batch, epoch)
            self.progress.batch += 1
            if self.progress.batch % every == 0 or self.progress.batch == self.loader.batches:
                self._record_losses()
            self._show(f"epoch {epoch + 1} of {self.config.epochs}")

    def _train_batch(self, batch: Batch, epoch: int) -> None:
        """Run the phases of Algorithm 1 on one batch of uint8 images, from the first that is not done."""
        images, labels = (part.to(self.device, non_blocking=True) for part in batch)
        set_learning_rates(self.optimizer, self._step / (self.config.epochs * self.loader.batches), self.config)
        for phase in self.plan.phases[self.progress.phase :]:
            due = time.monotonic() - self.saved_at >= self.config.checkpoint_every_s
            self._obey(Order.SAVE if due else Order.GO)
            with contextlib.suppress(Stopped):
                self._train_phase(images, labels, phase, epoch)
                self.progress.phase += 1
                continue
            self._obey(Order.STOP)  # the phase was given up, and its memory is free again
        self.progress.phase = 0
        self.progress.summed += 1

    def _train_phase(self, images: Tensor, labels: Tensor, phase: Phase, epoch: int) -> None:
        """Train one phase, or raise `Stopped` in its middle with nothing changed but the gradients."""
        number = self.progress.phase
        at = (self.config.seed, epoch, self.progress.batch, *([self.team.rank] if self.team.rank else []))
        torch.manual_seed(derive("dropout", *at, number))
        # None, not zeros: a parameter that this phase does not use must take no momentum or weight-decay step.
        self.optimizer.zero_grad(set_to_none=True)
        with self.abandonable():
            attention = partial(self._attention, images, labels)
            shown, target = self.plan.shown(images, labels, number, at, self.config, attention)
            heads = None if self.config.heads == "all" else (phase.head,)
            with autocast(self.device, self.config.precision):
                loss = self.objective(normalize(shown), target, phase, heads)
            self.scaler.scale(phase.weight * loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        summed = self.progress.losses.setdefault(phase.head, torch.zeros((), device=self.device))
        summed += loss.detach()

    def _log(self, record: dict[str, Any]) -> None:
        self.run.log(record)
        self.trackers.write(record)

    def _attention(self, images: Tensor, labels: Tensor) -> Tensor:
        self.team.align(self.model)
        return self.model.attention(normalize(images), labels)

    @property
    def _step(self) -> int:
        return self.progress.step(self.loader.batches)

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
                f"{self.config.lr_pretrained:g}), or raise batch_size (now {self.config.batch_size})."
            )

    def _obey(self, order: Order) -> None:
        """Do between two phases what rank 0 orders: nothing, save, or, where somebody asked for it, save and stop."""
        order = Order(self.team.follow(Order.STOP if self.run.stop_requested else order))
        if order >= Order.SAVE:
            self._save()
        if order is Order.STOP:
            raise Stopped

    def _evaluate(self, epoch: int) -> None:
        last = epoch + 1 == self.config.epochs
        if not last and (epoch + 1) % self.config.evaluate_every:
            return
        if self.team.leads:  # the others wait for the order below
            # After a stop the epoch's batches are done; its test starts again when the run is resumed.
            with contextlib.suppress(Stopped):
                self._test(epoch, last)
        self._obey(Order.GO)

    def _test(self, epoch: int, last: bool) -> None:
        text = f"testing epoch {epoch + 1} of {self.config.epochs}"
        with self.abandonable():
            scores = score(self.model, self.test, self.device, lambda: self._after_test_batch(text))
        for head, value in scores.loss.items():
            self._require_finite(f"test loss of {head}", value)
        record = {"kind": "epoch", "epoch": epoch + 1, "step": self._step}
        record |= {"accuracy": scores.accuracy, "loss": scores.loss, "seconds": time.monotonic() - self.began_at}
        self._log(record)
        if last:
            write_predictions(self.run.folder / "predictions.json", self.dataset.test, scores)

    def _after_test_batch(self, text: str) -> None:
        self._show(text)
        self.run.check_stop()

    def _show(self, text: str) -> None:
        self.run.progress(self._step, self.config.epochs * self.loader.batches, text)

    def _save(self) -> None:
        """Write a checkpoint, unless the weights have diverged: the last good one stays."""
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
                "step": self._step,
                "made_with": made_with(self.team.size),
            }
            self.run.flush_metrics()  # a checkpoint must not be ahead of them
            save_checkpoint(self.run.checkpoints / CHECKPOINT, self.model, self.optimizer, about)
        self.saved_at = time.monotonic()

    def _begin(self) -> Progress:
        """Start at the beginning; what a worker recorded that died before its first checkpoint is forgotten."""
        self.run.truncate_metrics(lambda record: False)
        return Progress()

    def _restore(self) -> Progress:
        """Load the run's checkpoint, and forget what was recorded after it."""
        checkpoint = load_checkpoint(self.run.checkpoints / CHECKPOINT)
        if tuple(checkpoint.about["classes"]) != self.dataset.classes:
            raise TrainingError("The data set's classes have changed since this run began; start a new run.")
        # Another number of images means other batches: the place in the epoch and the schedule would be wrong.
        then, now = checkpoint.about.get("train_images"), len(self.dataset.train)
        if then is not None and then != now:
            raise TrainingError(
                f"This run began with {then} training images, and now there are {now}: {self.dataset.name} has "
                "changed. Bring it back as it was, or start a new run."
            )
        checkpoint.check_config(self.config)
        checkpoint.restore(self.model, self.optimizer)
        match_memory_format(self.optimizer)
        reached = {"loss": checkpoint.about["step"], "epoch": checkpoint.about["epoch"]}
        measure = {"loss": "step", "epoch": "epoch"}
        self.run.truncate_metrics(lambda record: record[measure[record["kind"]]] <= reached[record["kind"]])
        self.scaler.load_state_dict(checkpoint.about["scaler"])
        changes = changed_since(checkpoint.about["made_with"], self.team.size)
        if changes and self.team.leads:
            self.run.append_log(f"Resumed under other conditions, so the last bits may differ: {'; '.join(changes)}.")
        sums = checkpoint.about["losses"]
        own = sums[self.team.rank] if len(sums) == self.team.size else sums[0]
        return Progress.from_json(checkpoint.about, own, self.device)

    def _result(self) -> dict[str, Any]:
        """Return the last epoch and the best one apart; the best is the primary head's, for all heads."""
        epochs = [record for record in self.run.metrics() if record["kind"] == "epoch"]
        best = max(epochs, key=lambda record: record["accuracy"][self.model.primary])
        return {
            "last": {key: epochs[-1][key] for key in ("epoch", "accuracy")},
            "best": {key: best[key] for key in ("epoch", "accuracy")} | {"by": self.model.primary},
            "classes": list(self.dataset.classes),
            "train_images": len(self.dataset.train),
            "test_images": len(self.dataset.test),
            "skipped_images": len(self.dataset.problems),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "seconds": self.progress.seconds,
        }
