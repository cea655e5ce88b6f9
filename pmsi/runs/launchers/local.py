"""The local launcher: detached runners work off the queue of one runs folder, each for one device, oldest run first.

On a machine with GPUs, each of them is worked on by one run at a time, and beside them the CPU; a run that asks for
several GPUs waits until it holds as many. There is no daemon: a submit starts a runner for each device that is free,
as far as there are runs for it, and a runner goes when nothing is left. It holds the lock on its device's
``.runner-DEVICE.lock`` while it works; after giving it back it looks once more, so a run that was queued while it was
on its way out is still seen by it, or by the runner which that submit starts. Each run gets a worker of its own, in its
own process group, which dies with the runner. This module does not know what a worker computes.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pmsi.base.assets import CHECKOUT
from pmsi.base.locks import Lock, is_held
from pmsi.runs.launchers.devices import CPU, VISIBLE
from pmsi.runs.launchers.queue import Claim, claim, runner_lock, unclaimed, waits_for
from pmsi.runs.launchers.worker import work
from pmsi.runs.lifecycle import ONLY_QUEUED, PARENT, queued_request
from pmsi.runs.run import Run

POLL_S = 0.2
"""How often a run that waits for several GPUs looks whether one has become free."""


def worker_command(run: Run) -> list[str]:
    """Return the command that executes ``run``."""
    return [sys.executable, "-m", "pmsi", "execute", str(run.folder)]


def runner_command(root: Path, device: str) -> list[str]:
    """Return the command that works off the queue of ``root`` on ``device``."""
    return [sys.executable, "-m", "pmsi", "runner", "--runs", str(root), "--device", device]


def submit(run: Run) -> None:
    """See to it that runners work on the folder of ``run``, which is queued already."""
    start_runners(run.folder.parent)


def start_runners(root: Path) -> None:
    """Start a detached runner for each device of ``root`` that is free, as far as runs wait for it."""
    root = Path(root).resolve()
    for device in _free_devices(root):
        _spawn_runner(root, device)


def _free_devices(root: Path) -> list[str]:
    """Return a free device for each run that waits, as far as there are any."""
    found: list[str] = []
    for _, places, _ in unclaimed(root):
        free = (place for place in places if place not in found and not is_held(runner_lock(root, place)))
        found += list(free)[:1]
    return found


def _spawn_runner(root: Path, device: str) -> None:
    with (root / ".runner.log").open("ab") as log:
        process = subprocess.Popen(
            runner_command(root, device),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )
    # It goes on without us; the thread only takes note of its end, or a long-lived page would keep a zombie of each.
    threading.Thread(target=process.wait, name="pmsi-runner", daemon=True).start()


def serve(root: Path, device: str = CPU) -> None:
    """Work off what waits for ``device`` in the queue of ``root``; return at once if another runner does."""
    root = Path(root).resolve()
    lock = Lock(runner_lock(root, device))
    while waits_for(root, device) and lock.take():
        try:
            while (taken := claim(root, device)) is not None:
                try:
                    _work(root, device, taken)
                finally:
                    taken.release()
        finally:
            lock.release()


def _work(root: Path, device: str, taken: Claim) -> None:
    """Let a worker execute the run that was taken; come back when it is gone, however it went."""
    with _together(root, device, taken) as places:
        request = queued_request(taken.run.folder)
        if request is not None:  # else withdrawn just now
            work(taken.run, request, lambda: _start_worker(taken.run, request["cwd"], places))


@contextlib.contextmanager
def _together(root: Path, device: str, taken: Claim) -> Iterator[tuple[str, ...]]:
    """Hold as many devices as a run takes, ``device`` among them: wait for others to become free."""
    if taken.count == 1:
        yield (device,)
        return
    held: dict[str, Lock] = {}
    try:
        while len(held) + 1 < taken.count and queued_request(taken.run.folder) is not None:
            for other in taken.places:
                lock = Lock(runner_lock(root, other))
                if other != device and other not in held and len(held) + 1 < taken.count and lock.take():
                    held[other] = lock
            time.sleep(POLL_S if len(held) + 1 < taken.count else 0)
        taken.several.release()
        start_runners(root)  # for what has made way, and is not needed
        yield (device, *held)
    finally:
        for lock in held.values():
            lock.release()
        start_runners(root)


def _start_worker(run: Run, cwd: str | None, places: tuple[str, ...]) -> subprocess.Popen[bytes]:
    # Without a GPU to give, the worker sees what it would see by itself: there may be one that the driver calls by no
    # name.
    visible = {} if places == (CPU,) else {VISIBLE: ",".join(places)}
    with run.log_path.open("ab") as log:
        return subprocess.Popen(
            worker_command(run),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd if cwd and Path(cwd).is_dir() else None,  # relative paths start where the run was submitted
            env=_environment() | visible | {PARENT: str(os.getpid()), ONLY_QUEUED: "1", "PYTHONUNBUFFERED": "1"},
            process_group=0,
        )


def _environment() -> dict[str, str]:
    """Return an environment in which this ``pmsi`` can be imported, also from a checkout that is not installed."""
    if CHECKOUT is None:
        return dict(os.environ)
    paths = [str(CHECKOUT), os.environ.get("PYTHONPATH", "")]
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
