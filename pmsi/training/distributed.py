"""Training by several processes, each on its share of every batch, with torch's DistributedDataParallel.

In a team of one process, nothing is communicated. `pmsi.runs.ranks` reads the rank from the environment.
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
    """The processes of a run, as one of them sees it; ``control`` is a process group for communication on CPUs."""

    rank: int = 0
    size: int = 1
    control: Any = None

    @property
    def leads(self) -> bool:
        """Whether this process is rank 0, which writes the run's files."""
        return self.rank == ranks.FIRST

    @property
    def seed(self) -> tuple[int, ...]:
        """What to add to a seed so that each rank draws differently; empty for rank 0, as for a single process."""
        return (self.rank,) if self.rank else ()

    def share(self, batch_size: int) -> slice:
        """Return which images of a batch are this process's; raises ConfigError unless all shares are equal."""
        if batch_size % self.size:
            raise ConfigError(
                f"batch_size = {batch_size} cannot be shared equally by {self.size} processes. Choose a multiple."
            )
        each = batch_size // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def wrap(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Return ``module`` wrapped so that its gradients are averaged over the team; call the returned module.

        All its parameters must require gradients now. Parameters frozen later are left out correctly; parameters that
        are frozen now and thawed later would never be averaged. Each phase uses one head, so the other heads'
        parameters are unused.
        """
        if self.size == 1:
            return module
        places = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=places, find_unused_parameters=True)

    def follow(self, order: int) -> int:
        """Return rank 0's order, so that all ranks save or stop before the same phase."""
        if self.size == 1:
            return order
        word = torch.tensor([order])
        dist.broadcast(word, ranks.FIRST, group=self.control)
        return int(word)

    def align(self, module: nn.Module) -> None:
        """Copy rank 0's buffers into ``module``, for a forward pass that does not go through `wrap`."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, ranks.FIRST)

    def gather(self, value: Any) -> list[Any]:
        """Return the values (JSON types) of all ranks, in rank order."""
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
    """Join the process group that torchrun started, or yield a team of one; leave the group at the end."""
    if ranks.world_size() == 1:
        yield Team()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Team(ranks.rank(), ranks.world_size(), dist.new_group(backend="gloo", timeout=PATIENCE))
    finally:
        dist.destroy_process_group()
