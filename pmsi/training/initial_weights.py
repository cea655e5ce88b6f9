"""The model before the first training step: new layers, pretrained layers, or another run's model.

Another run is read once, at the start. A run that has a checkpoint of its own is restored from that instead.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch

from pmsi.base.errors import ConfigError, RunError
from pmsi.base.files import Stamp, stamp
from pmsi.config import DATA_FIELDS, TrainConfig, differences
from pmsi.data import open_dataset
from pmsi.data.record import DataRecord
from pmsi.engine.checkpoint import find_checkpoint, load_checkpoint
from pmsi.methods import build, outline
from pmsi.model import Recognizer
from pmsi.model.backbones import check_weights, find_backbone
from pmsi.runs import Run
from pmsi.runs.record import INSIST, compare_record, record_of

SHAPING = ("method", "backbone", "stage_num", "smooth_conv", "channels", "hidden", "projection", "augmentation")
"""Settings that the shapes of a model's tensors depend on."""

CLASSES = 2
"""Number of classes of the models whose tensors are compared; any number gives the same result."""

NAMED = 3
"""How many classes an error names."""


def initial_model(config: TrainConfig, run: Run, classes: Sequence[str]) -> Recognizer:
    """Return the model with which ``run`` begins, on the CPU, in training mode.

    Raises RunError where the run that it starts from is not there or has no model, ConfigError where that model has
    other tensors or other classes.
    """
    if config.start_from is None:
        return build(config, len(classes))
    other = _other(config.start_from, run.folder.parent)
    check_fit(config, other)
    checkpoint = load_checkpoint(find_checkpoint(other))
    _check_classes(config.start_from, checkpoint.about["classes"], classes)
    model = build(config, len(classes), pretrained=False)
    checkpoint.restore(model)
    return model


def check_initial_weights(config: TrainConfig, root: Path) -> str | None:
    """Return in words which weights of a file are the start, None without a file.

    Raises a PMSIError if the weights, or the run to start from, are missing, damaged or do not fit.
    """
    if config.start_from is None:
        return weights_taken(config)
    other = _other(config.start_from, root)
    checkpoint = find_checkpoint(other)
    check_fit(config, other)
    _check_readable(checkpoint, stamp(checkpoint))
    if any(getattr(config, name) != getattr(other.config, name) for name in DATA_FIELDS):
        data = DataRecord.of(open_dataset(config))
        if record := record_of(other):
            _check_classes(config.start_from, record.classes, data.classes)
        check_leakage(config, root, data)
    return None


def weights_taken(config: TrainConfig) -> str | None:
    """Return in words which weights of a file a run takes, None without a file; raises CheckpointError if none fits."""
    if config.start_from is not None:
        return None
    return check_weights(find_backbone(config.backbone), config.weights, config.weights_part)


@lru_cache(maxsize=16)
def _check_readable(checkpoint: Path, changed: Stamp) -> None:
    """Read a checkpoint; cached until it changes, because the app's form checks at every click."""
    load_checkpoint(checkpoint)


def check_fit(config: TrainConfig, other: Run) -> None:
    """Raise ConfigError, naming the settings, if the models of ``config`` and ``other`` have different tensors."""
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
    """Return the shape and dtype of every tensor of a config's model, by name; nothing is computed."""
    return {name: (value.shape, value.dtype) for name, value in outline(config, CLASSES).state_dict().items()}


def _other(id: str, root: Path) -> Run:
    """Return the training run ``id``; raises RunError if there is none."""
    try:
        run = Run.open(root, id)
    except RunError as error:
        raise RunError(f"start_from = {id!r}: {error}") from error
    if not isinstance(run.config, TrainConfig):
        raise RunError(f"start_from = {id!r}: that is a {run.config.task!r} run and has no model. Name a training run.")
    return run


def check_leakage(config: TrainConfig, root: Path, data: DataRecord) -> list[str]:
    """Return in words how ``data`` differs from what the run that a config starts from was trained on.

    Raises ConfigError where that run was trained on test images of ``data``, unless the config insists.
    """
    if config.start_from is None:
        return []
    about = compare_record(_other(config.start_from, root), data)
    if about.leaked and not config.insist:
        raise ConfigError(
            f"start_from = {config.start_from!r}: {' '.join(about.reasons)} The accuracy would be too high. Train on "
            f"the split of that run, or {INSIST}."
        )
    return about.reasons


def _check_classes(id: str, then: Sequence[str], now: Sequence[str]) -> None:
    """Raise ConfigError if a model's classes are not those of the data set, in the same order."""
    if list(then) == list(now):
        return
    unknown = [name for name in now if name not in then] or [name for name in then if name not in now]
    which = f", among them {', '.join(map(repr, unknown[:NAMED]))}" if unknown else " in another order"
    raise ConfigError(
        f"start_from = {id!r}: its model has {len(then)} classes, and the data set has {len(now)}{which}. Train on "
        "the same classes, or give a file of backbone weights instead."
    )
