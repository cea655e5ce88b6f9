"""METHODS: one row for each system of the paper's Tables III and V.

The three letters of Table III are three columns: M is an argument of the model, P is the function that makes the
phases, R is the augmentation. A new method is a new row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from pmsi.augment import AUGMENTATIONS, Attention, Augmentation
from pmsi.augment.rule import nearest_size, recursions_of
from pmsi.base.errors import ConfigError, Fix, lookup
from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.model.backbone import Backbone
from pmsi.model.backbones import check_late, check_stages, check_stem, find_backbone, pretrained_state
from pmsi.model.baseline import CLASSIFIER, Baseline
from pmsi.model.batch import STAGES, Images, Labels, Phase, Target
from pmsi.model.bilinear import BCNN, HBP
from pmsi.model.heads import SMOOTH_CONVS
from pmsi.model.pairwise import PC, APINet
from pmsi.model.pmsi import CONCAT, MIXES, PMSI, stage_names
from pmsi.model.recognizer import Recognizer


@dataclass(frozen=True)
class Method:
    """A row of METHODS.

    ``build(backbone, classes, config)`` makes the model, ``phases(config)`` the steps of each batch, and
    ``augmentation`` names the row of AUGMENTATIONS that its phases use unless the config says otherwise. ``tables`` are
    the paper's tables in which it has a line. ``batch_size`` must be a multiple of ``batch_multiple``; where
    ``images_per_class`` is given, a batch holds that many images of each of its classes. ``late_layers`` is how many
    late layers the backbone has to state, at least (`BackboneRow.late`).
    """

    title: str
    build: Callable[[Backbone, int, TrainConfig], Recognizer]
    phases: Callable[[TrainConfig], tuple[Phase, ...]]
    augmentation: str
    help: str
    tables: tuple[str, ...] = ()
    batch_multiple: int = 1
    images_per_class: int | None = None
    late_layers: int = 1


def _pmsi(backbone: Backbone, classes: int, config: TrainConfig, **parts: Any) -> PMSI:
    return PMSI(
        backbone,
        classes,
        stage_num=config.stage_num,
        channels=config.channels,
        hidden=config.hidden,
        dropout=config.dropout,
        spatial=lookup("smooth conv", SMOOTH_CONVS, config.smooth_conv),
        bn_momentum=config.bn_momentum,
        mix=MIXES[config.mix],
        **parts,
    )


def progressive(config: TrainConfig) -> tuple[Phase, ...]:
    """Return Algorithm 1's StageNum + 1 phases: stage n on r = N − n + 1, then concat on the image itself."""
    stages = stage_names(config.stage_num)
    numbers = range(STAGES - config.stage_num + 1, STAGES + 1)
    steps = (Phase(stage, recursions_of(n)) for stage, n in zip(stages, numbers, strict=True))
    return (*steps, Phase(CONCAT, 0, config.concat_weight))


def single(head: str) -> Callable[[TrainConfig], tuple[Phase, ...]]:
    """Return a function that makes a single phase: ``head`` on the raw image."""
    return lambda config: (Phase(head, 0),)


with_interaction = partial(_pmsi, interaction=True)
without_interaction = partial(_pmsi, interaction=False)
concat_only = partial(_pmsi, interaction=True, stage_heads=False)

METHODS: dict[str, Method] = {
    "baseline": Method(
        "Baseline",
        lambda backbone, classes, config: Baseline(backbone, classes),
        single(CLASSIFIER),
        "none",
        "The backbone with its usual classifier, fine-tuned.",
        ("3",),
    ),
    "m": Method(
        "+ M",
        concat_only,
        single(CONCAT),
        "none",
        "Multi-stage interaction, one step per batch on the concat loss.",
        ("3",),
    ),
    "p": Method(
        "+ P",
        without_interaction,
        progressive,
        "none",
        "Progressive phases on raw images, without interaction.",
        ("3",),
    ),
    "pm": Method("+ P & M", with_interaction, progressive, "none", "Progressive phases with interaction.", ("3",)),
    "pr": Method(
        "+ P & R", without_interaction, progressive, "rmg", "Progressive phases on recursive mosaics.", ("3",)
    ),
    "bcnn": Method(
        "B-CNN",
        lambda backbone, classes, config: BCNN(backbone, classes),
        single(CLASSIFIER),
        "none",
        "Outer product of the last map with itself (Lin et al., 2015).",
        ("5",),
    ),
    "hbp": Method(
        "HBP",
        lambda backbone, classes, config: HBP(backbone, classes, config.projection),
        single(CLASSIFIER),
        "none",
        "Products of three late layers in pairs (Yu et al., 2018).",
        ("5",),
        late_layers=2,
    ),
    "pc": Method(
        "PC",
        lambda backbone, classes, config: PC(backbone, classes, config.confusion),
        single(CLASSIFIER),
        "none",
        "The baseline with pairwise confusion, a penalty on overconfidence (Dubey et al., 2018).",
        ("5",),
        batch_multiple=2,
    ),
    "api": Method(
        "API-Net",
        lambda backbone, classes, config: APINet(backbone, classes, config.dropout),
        single(CLASSIFIER),
        "none",
        "Each image compared with its nearest neighbours; batches of 4 images a class (Zhuang et al., 2020).",
        ("5",),
        batch_multiple=4,
        images_per_class=4,
    ),
    "pmg": Method(
        "PMG",
        without_interaction,
        progressive,
        "jigsaw",
        "Progressive phases on jigsaw patches (Du et al., 2020).",
        ("5",),
    ),
    "pmr": Method(
        "RMG-PMSI",
        with_interaction,
        progressive,
        "rmg",
        "The paper's method: progressive phases on recursive mosaics, with interaction (+ P & M & R).",
        ("3", "5"),
    ),
}


@dataclass(frozen=True)
class System:
    """The method, phases and augmentation of a config, looked up in their tables."""

    method: Method
    phases: tuple[Phase, ...]
    augmentation: Augmentation

    def augment(
        self,
        images: Images,
        labels: Labels,
        number: int,
        at: tuple[int, ...],
        config: TrainConfig,
        attention: Attention,
    ) -> tuple[Images, Target]:
        """Return a batch augmented for phase ``number``, (b, 3, h, w) uint8, and its target.

        ``at`` is the batch's place in training, (seed, epoch, batch), followed by the rank unless it is 0; the draw
        depends on nothing else. ``attention`` returns the network's class activation maps, which SnapMix needs.
        """
        # Nested phases use the same draw: a layout of r recursions is the start of one of r + 1.
        draw = torch.Generator().manual_seed(derive("augment", *at, 0 if config.nested else number))
        return self.augmentation.augment(images, labels, self.phases[number].r, draw, config, attention)


def _batches(config: TrainConfig, multiple: int, least: int = 0) -> list[Fix]:
    """Return the change to the next larger batch that is a multiple."""
    more = max(least, -(-config.batch_size // multiple) * multiple)
    return [Fix(f"Batches of {more}", {"batch_size": more})]


def _check_batch(config: TrainConfig, method: Method) -> None:
    """Raise ConfigError if the devices cannot share a batch equally, or the method cannot train on a share."""
    share, rest = divmod(config.batch_size, config.devices)
    if rest:
        raise ConfigError(
            f"batch_size = {config.batch_size} cannot be shared equally by {config.devices} devices. Take a multiple.",
            fixes=_batches(config, config.devices),
        )
    if share % method.batch_multiple or share == method.images_per_class:
        least = 2 * (method.images_per_class or 1)
        raise ConfigError(
            f"batch_size = {config.batch_size} on {config.devices} device(s): method {config.method!r} compares the "
            f"images of a batch in pairs, so each device's share must be a multiple of {method.batch_multiple}, at "
            f"least {least}.",
            fixes=_batches(config, config.devices * method.batch_multiple, config.devices * least),
        )


def resolve(config: TrainConfig) -> System:
    """Return the system of a config; raises ConfigError for unknown names and settings that contradict each other."""
    method = lookup("method", METHODS, config.method)
    row = find_backbone(config.backbone)
    check_stages(row, config.stage_num)
    check_stem(row, config.stem_stride)
    check_late(row, method.late_layers, config.method)
    lookup("smooth conv", SMOOTH_CONVS, config.smooth_conv)
    augmentation = lookup("augmentation", AUGMENTATIONS, config.augmentation or method.augmentation)
    phases = method.phases(config)
    deepest = max(phase.r for phase in phases)
    if augmentation.progressive and deepest == 0:
        fitting = ", ".join(name for name, row in METHODS.items() if len(row.phases(config)) > 1)
        raise ConfigError(
            f"augmentation = {config.augmentation!r} needs progressive phases, and method {config.method!r} has none "
            f"(the paper: R must work with P). Choose {fitting}, or augmentation none.",
            fixes=[Fix("No augmentation", {"augmentation": "none"})],
        )
    if config.weights != "none" and config.frozen_epochs >= config.epochs:
        raise ConfigError(
            f"frozen_epochs = {config.frozen_epochs} and epochs = {config.epochs}: the backbone would never be "
            "trained. Lower frozen_epochs (lr_pretrained = 0 is how to train the new layers alone).",
            fixes=[Fix("Train the backbone from the first epoch", {"frozen_epochs": 0})],
        )
    _check_batch(config, method)
    if augmentation.cuts and config.image_size % 2**deepest:
        side = nearest_size(config.image_size, deepest)
        raise ConfigError(
            f"image_size = {config.image_size}: an image of {config.image_size} × {config.image_size} pixels cannot be "
            f"cut {deepest} times in half, only one whose side is a multiple of {2**deepest}. The nearest size that "
            f"works is {side} × {side}.",
            fixes=[Fix(f"Take {side}", {"image_size": side, "resize": None})],
        )
    return System(method, phases, augmentation)


def build(config: TrainConfig, classes: int, *, pretrained: bool = True) -> Recognizer:
    """Return the model of a config, on the CPU, in training mode; new layers are drawn from the config's seed.

    ``pretrained=False`` does not read the starting weights, for a model whose trained weights will be loaded.
    """
    system = resolve(config)
    row = find_backbone(config.backbone)
    state = pretrained_state(row, config.weights, config.weights_part) if pretrained else None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(config.seed, "weights"))  # the CPU's alone: a GPU's is not forked
        model = _assemble(system, row.make(state, config.stem_stride), classes, config)
    for parameter in model.parameters():
        if parameter.dim() == 4:  # convolutions run faster with channels last, on CPUs and on tensor cores alike
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def outline(config: TrainConfig, classes: int) -> Recognizer:
    """Return the model of a config on torch's meta device, where tensors have shapes but no values."""
    system = resolve(config)
    with torch.device("meta"):
        return _assemble(system, find_backbone(config.backbone).make(None, config.stem_stride), classes, config)


def _assemble(system: System, backbone: Backbone, classes: int, config: TrainConfig) -> Recognizer:
    model = system.method.build(backbone, classes, config)
    if system.augmentation.attends:
        model.add_attention_head(classes)
    return model
