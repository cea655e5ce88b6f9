"""METHODS: one row for each system, a line of the paper's Table III (and V).

The three letters of Table III are three columns: M is an argument of the model, P is which function makes the phases,
R is which augmentation. A method of one's own is one more row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pmsi.augment import AUGMENTATIONS, Augmentation
from pmsi.augment.mosaic import check_divisible
from pmsi.augment.rule import recursions_of
from pmsi.batch import STAGES, Phase
from pmsi.config import TrainConfig
from pmsi.errors import ConfigError, lookup
from pmsi.model.backbone import BACKBONES, Backbone, pretrained_state
from pmsi.model.baseline import CLASSIFIER, Baseline
from pmsi.model.heads import SMOOTH_CONVS
from pmsi.model.pmsi import CONCAT, MIXES, PMSI, stage_names
from pmsi.model.recognizer import Recognizer
from pmsi.seeding import derive


@dataclass(frozen=True)
class Method:
    """A row of METHODS.

    ``build(backbone, classes, config)`` makes the model, ``phases(config)`` the steps of each batch, and
    ``augmentation`` names the row of AUGMENTATIONS that its phases use unless the config says otherwise.
    """

    title: str
    build: Callable[[Backbone, int, TrainConfig], Recognizer]
    phases: Callable[[TrainConfig], tuple[Phase, ...]]
    augmentation: str
    help: str


def _pmsi(backbone: Backbone, classes: int, config: TrainConfig, **parts: Any) -> PMSI:
    return PMSI(
        backbone,
        classes,
        stage_num=config.stage_num,
        channels=config.channels,
        hidden=config.hidden,
        dropout=config.dropout,
        spatial=lookup("smooth conv", SMOOTH_CONVS, config.smooth_conv),
        mix=MIXES[config.mix],
        **parts,
    )


def _baseline(backbone: Backbone, classes: int, config: TrainConfig) -> Baseline:
    return Baseline(backbone, classes)


def progressive(config: TrainConfig) -> tuple[Phase, ...]:
    """Return Algorithm 1's StageNum + 1 phases: stage n on r = N − n + 1, then concat on the image itself."""
    stages = stage_names(config.stage_num)
    numbers = range(STAGES - config.stage_num + 1, STAGES + 1)
    steps = (Phase(stage, recursions_of(n)) for stage, n in zip(stages, numbers, strict=True))
    return (*steps, Phase(CONCAT, 0, config.concat_weight))


def single(head: str) -> Callable[[TrainConfig], tuple[Phase, ...]]:
    """Return a function that makes one phase: ``head`` on the raw image."""
    return lambda config: (Phase(head, 0),)


with_interaction = partial(_pmsi, interaction=True)
without_interaction = partial(_pmsi, interaction=False)
concat_only = partial(_pmsi, interaction=True, stage_heads=False)

METHODS: dict[str, Method] = {
    "baseline": Method(
        "Baseline", _baseline, single(CLASSIFIER), "none", "The backbone with its usual classifier, fine-tuned."
    ),
    "m": Method(
        "+ M", concat_only, single(CONCAT), "none", "Multi-stage interaction, one step per batch on the concat loss."
    ),
    "p": Method(
        "+ P", without_interaction, progressive, "none", "Progressive phases on raw images, without interaction."
    ),
    "pm": Method("+ P & M", with_interaction, progressive, "none", "Progressive phases with interaction."),
    "pr": Method("+ P & R", without_interaction, progressive, "rmg", "Progressive phases on recursive mosaics."),
    "pmr": Method("+ P & M & R", with_interaction, progressive, "rmg", "The paper's RMG-PMSI: all three."),
}


@dataclass(frozen=True)
class Plan:
    """What a config means, every name looked up: the method, its phases, and the augmentation of each."""

    method: Method
    phases: tuple[Phase, ...]
    augmentation: Augmentation


def resolve(config: TrainConfig) -> Plan:
    """Look up the names of a config and check what only a whole config can tell; raise ConfigError."""
    method = lookup("method", METHODS, config.method)
    lookup("backbone", BACKBONES, config.backbone)
    lookup("smooth conv", SMOOTH_CONVS, config.smooth_conv)
    augmentation = lookup("augmentation", AUGMENTATIONS, config.augmentation or method.augmentation)
    phases = method.phases(config)
    deepest = max(phase.r for phase in phases)
    if augmentation.progressive and deepest == 0:
        raise ConfigError(
            f"augmentation = {config.augmentation!r} needs progressive phases, and method {config.method!r} has none "
            "(the paper: R must work with P). Choose p, pm, pr or pmr, or augmentation none."
        )
    if config.weights != "none" and config.frozen_epochs >= config.epochs:
        raise ConfigError(
            f"frozen_epochs = {config.frozen_epochs} and epochs = {config.epochs}: the backbone would never be "
            "trained. Lower frozen_epochs (lr_pretrained = 0 is how to train the new layers alone)."
        )
    if augmentation.progressive:
        check_divisible((config.image_size, config.image_size), deepest)
    return Plan(method, phases, augmentation)


def build(config: TrainConfig, classes: int, *, pretrained: bool = True) -> Recognizer:
    """Return the model of a config, on the CPU, in training mode; new layers are drawn from the config's seed.

    ``pretrained=False`` leaves the starting weights out, for a model whose trained weights are about to be loaded.
    """
    plan = resolve(config)
    row = BACKBONES[config.backbone]
    state = pretrained_state(row, config.weights) if pretrained else None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(config.seed, "weights"))  # the CPU's alone: a GPU's is not forked
        backbone = row.make(state)
        model = plan.method.build(backbone, classes, config)
    for parameter in model.parameters():
        if parameter.dim() == 4:  # convolutions run faster with channels last, on CPUs and on tensor cores alike
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model
