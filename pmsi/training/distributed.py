"""Several processes that train one model together, each on its share of every batch: torch's DistributedDataParallel.

A team of one is a process that trains alone; then everything here does nothing. `pmsi.runs.ranks` says who the
processes are.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pmsi.base.errors import ConfigError
from pmsi.runs import ranks

PATIENCE = timedelta(days=1)
"""How long a rank waits for the others: as long as rank 0 may take to test, or to check a data set's images."""


@dataclass(frozen=True)
class Team:
    """The processes that work on a run, seen by one of them; ``control`` is a group for decisions made on CPUs."""

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == ranks.FIRST

    @property
    def seed(self) -> tuple[int, ...]:
        """What sets this process's draws apart: rank 0 draws as a process alone does."""
        return (self.rank,) if self.rank else ()

    def share(self, batch_size: int) -> slice:
        """Return which images of a batch are this process's: equal shares, as a rank without work would hang."""
        if batch_size % self.size:
            raise ConfigError(
                f"batch_size = {batch_size} cannot be shared equally by {self.size} processes. Choose a multiple."
            )
        each = batch_size // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return ``module`` such that its gradients are the mean over the team's; call what is returned, not it.

        All its parameters must ask for gradients now: what is frozen afterwards is left out rightly, but what is
        frozen before and thawed later would silently never be averaged. Each phase uses one head, so the others'
        parameters are unused.
        """
        if self.size == 1:
            return module
        places = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=places, find_unused_parameters=True)

    def follow(self, order: int) -> int:
        """Return rank 0's order, so that all of them save or stop before the same phase."""
        if self.size == 1:
            return order
        word = torch.tensor([order])
        dist.broadcast(word, ranks.FIRST, group=self.control)
        return int(word)

    def align(self, module: nn.Module) -> None:
        """Give ``module`` rank 0's buffers, as `wrap` does before each forward pass: here for one that goes past it."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, ranks.FIRST)

    def gather(self, value: Any) -> list[Any]:
        """Return what each of the team gives, JSON types, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self.control)
        return values

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over the team."""
        if self.size == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value / self.size


@contextlib.contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """Join the processes that torchrun has started for this run, or be a team of one; leave at the end."""
    if ranks.world_size() == 1:
        yield Team()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Team(ranks.rank(), ranks.world_size(), dist.new_group(backend="gloo", timeout=PATIENCE))
    finally:
        dist.destroy_process_group()
