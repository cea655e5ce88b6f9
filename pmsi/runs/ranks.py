"""The ranks of a run: the processes that torchrun starts for a run on several devices. Does not import torch at start.

`pmsi execute` becomes torchrun, which starts `pmsi execute` once per device. Rank 0 holds the run's lock and writes its
files; the others only compute. A rank that fails writes the reason into ``error-rank-N.json``, since rank 0 only sees
that the connection is lost.
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
"""The rank that writes the run's files."""

ERROR_WAIT_S = 2.0
"""Seconds that rank 0 waits for the error file of a rank that has ended."""

PEER_FAILURE = ("gloo", "NCCL", "by peer", "Broken pipe", "TCPStore")
"""Words of which torch's error has at least one if another rank of the run has ended."""


def rank() -> int:
    """Return this process's rank, 0 for a single process."""
    return int(os.environ.get("RANK", FIRST))


def world_size() -> int:
    """Return the number of processes that work on the run."""
    return int(os.environ.get("WORLD_SIZE", 1))


def local_rank() -> int:
    """Return this process's rank among those of its machine, which is the index of its GPU."""
    return int(os.environ.get("LOCAL_RANK", rank()))


def wanted(config: Config) -> int:
    """Return how many processes to start for a run; 1 if it needs no other process, or torchrun has started them."""
    return 1 if "RANK" in os.environ else getattr(config, "devices", 1)


def torchrun(folder: Path, devices: int) -> list[str]:
    """Return the command that works on a run folder with one rank per device of this machine.

    If a rank dies, all end, and the resumed run continues from its checkpoint. torchrun's own restarts are off, since
    they would restart the ranks in the middle of a batch.
    """
    launch = ["pmsi.runs.ranks", "--standalone", f"--nproc-per-node={devices}", "--max-restarts=0"]
    return [sys.executable, "-m", *launch, "-m", "pmsi", "execute", str(folder)]


def is_peer_failure(error: BaseException) -> bool:
    """Return whether an exception only says that another rank has ended."""
    text = f"{type(error).__name__} {error}"
    return world_size() > 1 and isinstance(error, RuntimeError) and any(word in text for word in PEER_FAILURE)


def write_error(folder: Path, about: Mapping[str, Any]) -> None:
    """Write this rank's error file: ``kind``, ``message`` and ``remedy``."""
    message = f"Process {rank() + 1} of {world_size()}: {about['message']}"
    path, text = folder / f"error-rank-{rank()}.json", to_json({**about, "message": message, "launch": _launch()})
    try:
        write_atomically(path, text)
    except FileNotFoundError:  # rank 0 began just now and removed the temporary file as a leftover
        write_atomically(path, text)


def read_error(folder: Path, patience_s: float = 0.0) -> dict[str, Any] | None:
    """Return the content of a rank's error file; None if there is none within ``patience_s`` seconds."""
    end = time.monotonic() + patience_s
    while True:
        for path in sorted(folder.glob("error-rank-*.json")):
            if about := read_json(path):
                words = {key: str(about.get(key, "")) for key in ("kind", "message", "remedy")}
                return words | {"final": about.get("final") is True}
        if time.monotonic() >= end:
            return None
        time.sleep(0.02)


def remove_old_errors(folder: Path) -> None:
    """Remove the error files of earlier launches; a rank of this launch may have failed already."""
    for path in folder.glob("error-rank-*.json"):
        if (read_json(path) or {}).get("launch") != _launch():
            path.unlink(missing_ok=True)


def _launch() -> str:
    """Return an identifier that the ranks of one launch share."""
    return ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID"))


def main(argv: list[str]) -> int:
    """Run torchrun without its error report, since ranks write their own; report only a rank that was killed."""
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
