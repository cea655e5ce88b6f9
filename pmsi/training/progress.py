"""How far a training run has come, and under which conditions: what a checkpoint holds besides the weights."""

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
    """Batches done in the current epoch, and phases done in the batch after them; seconds since training began.

    ``losses`` are the sums of this process's losses by head since the last loss record, over ``summed`` batches and the
    phases done; they stay on the device.
    """

    epoch: int = 0
    batch: int = 0
    phase: int = 0
    seconds: float = 0.0
    summed: int = 0
    losses: dict[str, Tensor] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all but the sums."""
        return {key: getattr(self, key) for key in _PLACE}

    def sums(self) -> dict[str, float]:
        """Return the sums; this waits for the device."""
        return {head: value.item() for head, value in self.losses.items()}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any], sums: Mapping[str, float], device: torch.device) -> "Progress":
        """Return what `to_json` and `sums` gave; checkpoints of earlier versions lie between two batches."""
        losses = {head: torch.tensor(value, device=device) for head, value in sums.items()}
        return cls(**{key: ({"phase": 0} | dict(stored))[key] for key in _PLACE}, losses=losses)

    def begin_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, without losses."""
        self.epoch, self.batch, self.phase, self.summed, self.losses = epoch, 0, 0, 0, {}

    def step(self, batches: int) -> int:
        """Batches done since training began."""
        return self.epoch * batches + self.batch


def made_with(processes: int) -> dict[str, Any]:
    """Return on what the last bits of results depend besides the config: threads, processes, versions."""
    return {
        "threads": torch.get_num_threads(),
        "processes": processes,
        "pmsi": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }


def changed_since(then: Mapping[str, Any], processes: int) -> list[str]:
    """Return in words what of `made_with` is not as it was ``then``."""
    now = made_with(processes)
    return [f"{what} {then.get(what)} before, {value} now" for what, value in now.items() if then.get(what) != value]
