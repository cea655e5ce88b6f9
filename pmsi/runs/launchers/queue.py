"""The queue of a runs folder: which runs wait for the local launcher, for which devices, and who has taken one.

Whoever takes a run holds the lock ``.claim`` in its folder until its worker is gone, so no two runners start the same.
A run that asks for several GPUs holds ``.runner-several.lock`` of the runs folder while it waits for them: no other run
is taken for a GPU then, and it gets those that become free. This module does not know how a run is worked on.
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

    It can be worked on at ``places``, and takes ``count`` of them; ``several`` is held while it waits for more than
    one.
    """

    run: Run
    places: tuple[str, ...]
    count: int
    lock: Lock
    several: Lock

    def release(self) -> None:
        """Give the run back; harmless where that was done."""
        self.several.release()
        self.lock.release()


def runner_lock(root: Path, device: str) -> Path:
    """Return the file that the runner of a device holds a lock on."""
    return root / f".runner-{re.sub(r'[^A-Za-z0-9]+', '-', device)}.lock"


def queued(root: Path) -> list[Run]:
    """Return the runs of ``root`` that wait for the local launcher, the one that has waited longest first."""
    requests = ((queued_request(mark.parent), mark.parent) for mark in root.glob("*/queued"))
    waiting = [(request["at"], folder) for request, folder in requests if request and request["launcher"] == "local"]
    return [Run(folder) for _, folder in sorted(waiting)]


def unclaimed(root: Path) -> Iterator[tuple[Run, tuple[str, ...], int]]:
    """Yield the runs that wait and nobody has taken, each with its places and how many of them it takes."""
    waits = is_held(_several(root))
    for run in queued(root):
        places, count = _wanted(run)
        if not is_held(_claim(run)) and not (waits and places != (devices.CPU,)):
            yield run, places, count


def waits_for(root: Path, device: str) -> bool:
    """Return whether there is a run for the runner of ``device`` to take."""
    return any(device in places for _, places, _ in unclaimed(root))


def claim(root: Path, device: str) -> Claim | None:
    """Take the run that has waited longest for ``device``, or return None where there is none to be had."""
    for run, places, count in unclaimed(root):
        if device not in places:
            continue
        taken = Claim(run, places, count, Lock(_claim(run)), Lock(_several(root)))
        if not taken.lock.take():
            continue
        if queued_request(run.folder) is None:  # somebody took it, and came to its end, just now
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
    """Return what a run asks for; a damaged one is left to its worker, which says what is wrong."""
    try:
        return devices.wanted(run.config)
    except RunError:
        return (devices.CPU,), 1
