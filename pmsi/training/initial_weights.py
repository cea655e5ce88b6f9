"""What a training run's model is before its first step: new layers, pretrained ones, or another run's whole model.

The other run is read once, at the start. Whoever has a checkpoint of its own goes on from that, and does not come here.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from pmsi.base.errors import ConfigError, RunError
from pmsi.config import TrainConfig, differences
from pmsi.data.record import DataRecord, compare
from pmsi.engine.checkpoint import find_checkpoint, load_checkpoint
from pmsi.methods import build, outline
from pmsi.model import Recognizer
from pmsi.model.backbones import check_weights, find_backbone
from pmsi.runs import Run
from pmsi.runs.record import record_of

SHAPING = ("method", "backbone", "stage_num", "smooth_conv", "channels", "hidden", "projection", "augmentation")
"""Settings that a model's tensors can depend on."""

CLASSES = 2
"""Classes of the outlines that are compared: how many there are changes both in the same way."""

NAMED = 3
"""Classes that an error names."""


def first_model(config: TrainConfig, run: Run, data: DataRecord) -> Recognizer:
    """Return the model with which ``run`` begins, on the CPU, in training mode.

    ``data`` is what it will be trained on. Raises RunError where the run that it starts from is not there or has no
    model, ConfigError where that model has other tensors or other classes, or has learned some of the test images.
    """
    classes = data.classes
    if config.start_from is None:
        return build(config, len(classes))
    other = _other(config.start_from, run.folder.parent)
    check_fit(config, other)
    checkpoint = load_checkpoint(find_checkpoint(other))
    _check_classes(config.start_from, checkpoint.about["classes"], classes)
    _check_leakage(config, other, data)
    model = build(config, len(classes), pretrained=False)
    checkpoint.restore(model)
    return model


def check_start(config: TrainConfig, root: Path) -> None:
    """Raise what can be known to be wrong with the starting weights, or the run to start from, before a run is made."""
    if config.start_from is None:
        check_weights(find_backbone(config.backbone), config.weights)
        return
    other = _other(config.start_from, root)
    find_checkpoint(other)
    check_fit(config, other)


def check_fit(config: TrainConfig, other: Run) -> None:
    """Raise ConfigError where the model of ``other`` has other tensors than one of ``config``, naming the settings."""
    then = other.config
    assert isinstance(then, TrainConfig)
    changed = {name: now for name, now in differences(config, then).items() if name in SHAPING}
    if changed and _tensors(config) != _tensors(then):
        named = ", ".join(f"{name} = {now!r} (there {getattr(then, name)!r})" for name, now in changed.items())
        raise ConfigError(
            f"start_from = {config.start_from!r}: its model does not fit a run with {named}. Set back what differs, or "
            "leave start_from out."
        )


def _tensors(config: TrainConfig) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Return the shape and the type of every tensor of a config's model, by name; nothing is computed."""
    return {name: (value.shape, value.dtype) for name, value in outline(config, CLASSES).state_dict().items()}


def _other(id: str, root: Path) -> Run:
    """Return the training run called ``id``, or raise RunError; the app and the command line complete an id before."""
    try:
        run = Run.open(root, id)
    except RunError as error:
        raise RunError(f"start_from = {id!r}: {error}") from error
    if not isinstance(run.config, TrainConfig):
        raise RunError(f"start_from = {id!r}: that is a {run.config.task!r} run and has no model. Name a training run.")
    return run


def _check_leakage(config: TrainConfig, other: Run, data: DataRecord) -> None:
    """Raise ConfigError where the starting model was trained on test images of ``data``, unless the config insists."""
    about = compare(record_of(other), data, (f"run {other.id}", data.name))
    if about.leaked and not config.insist:
        raise ConfigError(
            f"start_from = {config.start_from!r}: {' '.join(about.reasons)} The accuracy would be too high. Train on "
            "the split of that run, or insist (--insist)."
        )


def _check_classes(id: str, then: Sequence[str], now: Sequence[str]) -> None:
    """Raise ConfigError where a model answers with other classes than a data set has, or in another order."""
    if list(then) == list(now):
        return
    unknown = [name for name in now if name not in then] or [name for name in then if name not in now]
    which = f", among them {', '.join(map(repr, unknown[:NAMED]))}" if unknown else " in another order"
    raise ConfigError(
        f"start_from = {id!r}: its model knows {len(then)} classes, and the data set has {len(now)}{which}. Train on "
        "the same classes, or give a file of backbone weights instead."
    )
