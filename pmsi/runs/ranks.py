"""Which of several processes this one is, where torchrun has started some for one run. No torch here.

A run that asks for several devices is worked on by as many processes, called ranks: `pmsi execute` becomes torchrun,
which starts `pmsi execute` once for each. Rank 0 holds the run's lock and writes its files; the others only compute,
and where one of them fails it writes down why, in ``error-rank-N.json``: all that rank 0 sees of it is that it is gone.
"""

import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pmsi.base.files import read_json, to_json, write_atomically
from pmsi.config import Config

FIRST = 0
"""The rank that writes."""

TELL_S = 2.0
"""How long rank 0 waits for the words of a rank that is gone."""

GONE = ("gloo", "NCCL", "by peer", "Broken pipe", "TCPStore")
"""What torch says, in one word or another, where another rank of the run is gone."""


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
    launch = ["pmsi.runs.ranks", "--standalone", f"--nproc-per-node={devices}", "--max-restarts=0"]
    return [sys.executable, "-m", *launch, "-m", "pmsi", "execute", str(folder)]


def is_alone(error: BaseException) -> bool:
    """Return whether an error says no more than that another rank is gone."""
    text = f"{type(error).__name__} {error}"
    return world_size() > 1 and isinstance(error, RuntimeError) and any(word in text for word in GONE)


def tell(folder: Path, about: Mapping[str, str]) -> None:
    """Write down of what this rank failed: ``kind``, ``message`` and ``remedy``."""
    message = f"Process {rank() + 1} of {world_size()}: {about['message']}"
    path, text = folder / f"error-rank-{rank()}.json", to_json({**about, "message": message, "launch": _launch()})
    try:
        write_atomically(path, text)
    except FileNotFoundError:  # rank 0 began at this moment, and took the temporary file for a leftover
        write_atomically(path, text)


def told(folder: Path, patience_s: float = 0.0) -> dict[str, Any] | None:
    """Return of what a rank failed, if one has told, or does so within ``patience_s`` seconds."""
    end = time.monotonic() + patience_s
    while True:
        for path in sorted(folder.glob("error-rank-*.json")):
            if about := read_json(path):
                return {key: about.get(key, "") for key in ("kind", "message", "remedy")}
        if time.monotonic() >= end:
            return None
        time.sleep(0.02)


def forget(folder: Path) -> None:
    """Remove what ranks of earlier launches have told; one of this launch may have failed already."""
    for path in folder.glob("error-rank-*.json"):
        if (read_json(path) or {}).get("launch") != _launch():
            path.unlink(missing_ok=True)


def _launch() -> str:
    """Return what the ranks of one launch have in common."""
    return ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"))


def main(argv: list[str]) -> int:
    """Be torchrun, but leave it to the ranks to say why they ended; only a kill is told, as the killed cannot tell."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    logging.disable(logging.ERROR)
    try:
        run.main(argv)
    except ChildFailedError as error:
        number, failure = error.get_first_failure()
        if failure.exitcode < 0:
            print(f"Process {number + 1} of the run was ended by signal {-failure.exitcode}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
