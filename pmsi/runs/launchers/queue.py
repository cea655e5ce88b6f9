"""The queue of a runs folder: the runs that wait for the local launcher, and the devices they wait for.

A runner that takes a run holds the lock ``.claim`` in its folder until the worker has ended, so that two runners never
start the same run. A run that asks for several GPUs holds ``.runner-several.lock`` of the runs folder while it waits:
no other run gets a GPU meanwhile, and it takes those that become free.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pmsi.base.errors import RunError
from pmsi.base.locks import Lock, is_held
from pmsi.runs.launchers import devices
from pmsi.runs.lifecycle import queued_request
from pmsi.runs.run import Run


@dataclass(frozen=True)
class Claim:
    """A run that this process has taken from the queue.

    It needs ``count`` of the devices ``places``; ``several`` is held while it waits for more than one.
    """

    run: Run
    places: tuple[str, ...]
    count: int
    lock: Lock
    several: Lock

    def release(self) -> None:
        """Release the locks; does nothing if they are released already."""
        self.several.release()
        self.lock.release()


def runner_lock(root: Path, device: str) -> Path:
    """Return the lock file of a device's runner."""
    return root / f".runner-{re.sub(r'[^A-Za-z0-9]+', '-', device)}.lock"


def queued(root: Path) -> list[Run]:
    """Return the runs of ``root`` that are queued for the local launcher, oldest request first."""
    requests = ((queued_request(mark.parent), mark.parent) for mark in root.glob("*/queued"))
    waiting = [(request["at"], folder) for request, folder in requests if request and request["launcher"] == "local"]
    return [Run(folder) for _, folder in sorted(waiting)]


def unclaimed(root: Path) -> Iterator[tuple[Run, tuple[str, ...], int]]:
    """Yield the queued runs that no runner has taken, each with its devices and how many of them it needs."""
    waits = is_held(_several(root))
    for run in queued(root):
        places, count = _wanted(run)
        if not is_held(_claim(run)) and not (waits and places != (devices.CPU,)):
            yield run, places, count


def waits_for(root: Path, device: str) -> bool:
    """Return whether a run waits for ``device``."""
    return any(device in places for _, places, _ in unclaimed(root))


def claim(root: Path, device: str) -> Claim | None:
    """Take the run that has waited longest for ``device``; None if there is none."""
    for run, places, count in unclaimed(root):
        if device not in places:
            continue
        taken = Claim(run, places, count, Lock(_claim(run)), Lock(_several(root)))
        if not taken.lock.take():
            continue
        if queued_request(run.folder) is None:  # another runner has taken and finished it just now
            taken.release()
            continue
        if count > 1 and not taken.several.take():
            taken.release()
            return None
        return taken
    return None


def _several(root: Path) -> Path:
    return root / ".runner-several.lock"


def _claim(run: Run) -> Path:
    return run.folder / ".claim"


def _wanted(run: Run) -> tuple[tuple[str, ...], int]:
    """Return the devices of a run; the CPU for a run that cannot be read, whose worker then reports the error."""
    try:
        return devices.wanted(run.config)
    except RunError:
        return (devices.CPU,), 1
