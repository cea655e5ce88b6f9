"""The queue of a runs folder: the runs that wait for the local launcher, and the devices they wait for.

A runner that takes a run holds the lock ``.claim`` in its folder until the worker has ended, so that two runners never
start the same run. A run that asks for several GPUs holds ``.runner-several.lock`` of the runs folder while it waits:
no other run gets a GPU meanwhile, and it takes those that become free.
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def waiting(root: Path) -> list[tuple[dict[str, Any], Run]]:
    """Return the queued runs of ``root`` with their requests, the oldest first; no damaged ones."""
    requests = ((queued_request(mark.parent), Run(mark.parent)) for mark in root.glob("*/queued"))
    found = [(request, run) for request, run in requests if request is not None and run.damage is None]
    return sorted(found, key=lambda each: (each[0]["at"], each[1].folder))


def unclaimed(root: Path) -> Iterator[tuple[Run, tuple[str, ...], int]]:
    """Yield the queued runs that no runner has taken, each with its devices and how many of them it needs."""
    waits = is_held(_several(root))
    for run in [run for request, run in waiting(root) if request["launcher"] == "local"]:
        places, count = devices.wanted(run.config)
        if not is_held(_claim(run)) and not (waits and places != (devices.CPU,)):
            yield run, places, count


def waits_for(root: Path, device: str, but: Container[Run] = ()) -> bool:
    """Return whether a run waits for ``device`` that is not one of ``but``."""
    return any(device in places and run not in but for run, places, _ in unclaimed(root))


def unattended(root: Path) -> Iterator[Run]:
    """Yield the queued runs for whose devices there is no runner, as after a reboot."""
    for run, places, _ in unclaimed(root):
        if not any(is_held(runner_lock(root, place)) for place in places):
            yield run


def claim(root: Path, device: str, but: Container[Run] = ()) -> Claim | None:
    """Take the run that has waited longest for ``device``, not one of ``but``; None if there is none."""
    for run, places, count in unclaimed(root):
        if device not in places or run in but:
            continue
        taken = Claim(run, places, count, Lock(_claim(run)), Lock(_several(root)))
        try:
            if not taken.lock.take():
                continue
        except OSError:  # the folder is gone, or may not be written
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
