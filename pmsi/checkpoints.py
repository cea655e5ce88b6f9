"""Weights and training state on disk: one safetensors file, written atomically, never a pickle.

A training checkpoint holds everything that continues the run: ``model.*`` (with BatchNorm's buffers) and
``optimizer.*`` tensors, and as metadata the epoch, the step, the config and the class names. This module does not know
the training loop.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pmsi.config import TrainConfig, from_dict
from pmsi.errors import CheckpointError, RunError
from pmsi.files import write_atomically
from pmsi.methods import build
from pmsi.model import Recognizer
from pmsi.runs import Run

FORMAT = "pmsi-checkpoint-1"
_MODEL, _OPTIMIZER = "model.", "optimizer."

CHECKPOINT = "last.safetensors"
"""The one checkpoint of a training run: its last finished epoch, or the batch at which it was stopped."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read: ``model`` and ``optimizer`` are state dicts, ``about`` is JSON."""

    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    about: dict[str, Any]


def save_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, about: dict[str, Any]) -> None:
    """Write a training checkpoint; ``about`` is JSON (epoch, step, config, classes)."""
    state = optimizer.state_dict()
    tensors = {_MODEL + name: value for name, value in model.state_dict().items()}
    for index, slots in state["state"].items():
        tensors |= {f"{_OPTIMIZER}{index}.{key}": value for key, value in slots.items() if value is not None}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    header = {"format": FORMAT, "about": json.dumps(about), "param_groups": json.dumps(state["param_groups"])}
    write_atomically(path, safetensors.torch.save(tensors, header))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what `save_checkpoint` wrote; a missing, foreign or damaged file is refused."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint at {path}.") from error
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}.") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of this program: its format is {header.get('format')!r}.")
    slots: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(_OPTIMIZER):
            _, index, key = name.split(".", 2)
            slots.setdefault(int(index), {})[key] = value
    model = {name.removeprefix(_MODEL): value for name, value in tensors.items() if name.startswith(_MODEL)}
    optimizer = {"state": slots, "param_groups": json.loads(header["param_groups"])}
    return Checkpoint(model, optimizer, json.loads(header["about"]))


def find_checkpoint(run: Run) -> Path:
    """Return the checkpoint of a training run, or raise RunError where there is none."""
    if not isinstance(run.config, TrainConfig):
        raise RunError(f"Run {run.id} is a {run.config.task!r} run and has no model. Choose a training run.")
    path = run.folder / "checkpoints" / CHECKPOINT
    if not path.exists():
        raise RunError(f"Run {run.id} has no checkpoint yet: one is written at the end of each epoch.")
    return path


def load_model(run: Run, device: torch.device) -> tuple[Recognizer, TrainConfig, tuple[str, ...]]:
    """Return a training run's model at its last checkpoint (in eval mode, frozen), its config and its classes."""
    path = find_checkpoint(run)
    checkpoint = load_checkpoint(path)
    config = from_dict(checkpoint.about["config"])
    assert isinstance(config, TrainConfig)
    classes = tuple(checkpoint.about["classes"])
    model = build(config, len(classes), pretrained=False)
    try:
        model.load_state_dict(checkpoint.model)
    except RuntimeError as error:
        raise CheckpointError(f"The checkpoint {path} does not fit its own config: {error}.") from error
    return model.to(device).eval().requires_grad_(False), config, classes
