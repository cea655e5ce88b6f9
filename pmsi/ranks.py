"""Which of several processes this one is, where torchrun has started some for one run. No torch here.

A run that asks for several devices is worked on by as many processes, called ranks: `pmsi execute` becomes torchrun,
which starts `pmsi execute` once for each. Rank 0 holds the run's lock and writes its files; the others only compute.
"""

import os
import sys
from pathlib import Path

from pmsi.config import Config

FIRST = 0
"""The rank that writes."""


def rank() -> int:
    """Return this process's number among those of the run, 0 where it is alone."""
    return int(os.environ.get("RANK", FIRST))


def world_size() -> int:
    """Return how many processes work on the run together."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_rank() -> int:
    """Return this process's number among those of its machine: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", rank()))


def wanted(config: Config) -> int:
    """Return how many processes shall be started for a run; 1 where this one is enough, or they run already."""
    return 1 if "RANK" in os.environ else getattr(config, "devices", 1)


def torchrun(folder: Path, devices: int) -> list[str]:
    """Return the command that works on a run folder with one rank for each device of this machine.

    A rank that dies ends them all at once, and the run goes on from its checkpoint when it is resumed: torchrun's own
    restarts would start the others anew in the middle of a batch.
    """
    launch = ["torch.distributed.run", "--standalone", f"--nproc-per-node={devices}", "--max-restarts=0"]
    return [sys.executable, "-m", *launch, "-m", "pmsi", "execute", str(folder)]
