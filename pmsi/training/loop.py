"""Algorithm 1: progressive training.

    for x, y in batches:
        for phase in phases:                          # S3, S4, S5, then concat
            images, target = augment(x, y, phase.r)   # G(x, 3), G(x, 2), G(x, 1), then x itself
            loss = model.loss(images, target, phase)  # of the phase's own output
            (phase.weight * loss).backward()
            optimizer.step()

Phases, augmentation and loss come from the config's row in METHODS, so every system of the lab is trained here. Every
draw of phase p of batch b in epoch e is seeded by (seed, e, b, p). Training that stops before any phase and is resumed
gives the same result, to the bit on a CPU with the same number of threads. `pmsi.training.session` records, tests,
saves and stops around this loop.
"""

from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.data.loading import TrainLoader
from pmsi.data.preprocessing import normalize
from pmsi.engine.device import autocast
from pmsi.methods import System
from pmsi.model import Recognizer
from pmsi.model.batch import Images, Labels, Phase, Scalar
from pmsi.training.distributed import Team
from pmsi.training.optimizer import frozen, set_learning_rates
from pmsi.training.progress import Progress


@dataclass
class Learner:
    """A model with its optimizer, and how far its training has come.

    ``objective`` is the model's loss as a module (`pmsi.model.Objective`); its gradients are averaged over ``team``.
    """

    config: TrainConfig
    system: System
    model: Recognizer
    objective: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    team: Team
    progress: Progress


class Session(Protocol):
    """Functions that the loop calls between its steps; each may raise an exception to end it."""

    def before_phase(self) -> None: ...
    def after_phase(self, phase: Phase, loss: Scalar) -> None: ...
    def after_batch(self) -> None: ...
    def after_epoch(self) -> None: ...


def progressive_training(learner: Learner, loader: TrainLoader, session: Session) -> None:
    """Train from ``learner.progress`` to the last epoch of the config."""
    config, at = learner.config, learner.progress
    while at.epoch < config.epochs:
        learner.model.train()
        learner.model.backbone.requires_grad_(not frozen(config, at.epoch))
        for x, y in loader.epoch(at.epoch, at.batch):
            set_learning_rates(learner.optimizer, at.step(loader.batches) / (config.epochs * loader.batches), config)
            train_batch(learner, x, y, session)
            session.after_batch()
        session.after_epoch()


def train_batch(learner: Learner, x: Images, y: Labels, session: Session) -> None:
    """Train the phases of one batch, from the first that is not done; ``x`` is uint8 (b, 3, h, w), ``y`` (b,) int64."""
    x, y = (part.to(learner.device, non_blocking=True) for part in (x, y))
    at = learner.progress
    for phase in learner.system.phases[at.phase :]:
        session.before_phase()
        loss = train_phase(learner, x, y, phase)
        session.after_phase(phase, loss)
        at.phase += 1
    at.batch, at.phase = at.batch + 1, 0


def train_phase(learner: Learner, x: Images, y: Labels, phase: Phase) -> Scalar:
    """Take one optimizer step on the loss of one output, and return that loss, a scalar on the device."""
    config, place = learner.config, learner.progress
    seed = (config.seed, place.epoch, place.batch, *learner.team.seed)
    torch.manual_seed(derive("dropout", *seed, place.phase))
    images, target = learner.system.augment(x, y, place.phase, seed, config, partial(_attention, learner, x, y))
    with autocast(learner.device, config.precision):
        loss = learner.objective(normalize(images), target, phase, None if config.heads == "all" else (phase.head,))
    # None, not zeros: a parameter that this phase does not use must take no momentum or weight-decay step.
    learner.optimizer.zero_grad(set_to_none=True)
    learner.scaler.scale(phase.weight * loss).backward()
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    return loss.detach()


def _attention(learner: Learner, x: Images, y: Labels) -> Tensor:
    """Return the network's class activation maps of the batch, (b, h, w), for SnapMix."""
    learner.team.align(learner.model)
    return learner.model.attention(normalize(x), y)
