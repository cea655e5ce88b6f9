"""Progress: a run's place in training. It and `made_with` are parts of a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pmsi import __version__
from pmsi.base.vision import torchvision

_PLACE = ("epoch", "batch", "phase", "seconds", "summed")


@dataclass
class Progress:
    """The epoch, the batches done in it, the phases done in the next batch, and seconds of training.

    ``losses`` are sums of this process's losses by head since the last loss record, over ``summed`` batches and the
    phases done. They are scalars on the device.
    """

    epoch: int = 0
    batch: int = 0
    phase: int = 0
    seconds: float = 0.0
    summed: int = 0
    losses: dict[str, Tensor] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all fields but the losses."""
        return {key: getattr(self, key) for key in _PLACE}

    def sums(self) -> dict[str, float]:
        """Return the sums of the losses by head; this waits for the device."""
        return {head: value.item() for head, value in self.losses.items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], sums: Mapping[str, float], device: torch.device) -> "Progress":
        """Return the progress that `to_json` and `sums` describe. Older checkpoints have no phase: it is 0."""
        losses = {head: torch.tensor(value, device=device) for head, value in sums.items()}
        return cls(**{key: ({"phase": 0} | dict(stored))[key] for key in _PLACE}, losses=losses)

    def begin_epoch(self, epoch: int) -> None:
        """Set the place to the start of an epoch, without losses."""
        self.epoch, self.batch, self.phase, self.summed, self.losses = epoch, 0, 0, 0, {}

    def step(self, batches: int) -> int:
        """Return the batches done since training began; ``batches`` is the number in an epoch."""
        return self.epoch * batches + self.batch


def made_with(processes: int) -> dict[str, Any]:
    """Return the threads, processes and versions, on which the last bits of results depend."""
    return {
        "threads": torch.get_num_threads(),
        "processes": processes,
        "pmsi": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


def changed_since(then: Mapping[str, Any], processes: int) -> list[str]:
    """Return in words how `made_with` differs from ``then``."""
    now = made_with(processes)
    return [f"{what} {then.get(what)} before, {value} now" for what, value in now.items() if then.get(what) != value]
