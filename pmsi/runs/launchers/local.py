"""The local launcher: one detached runner process per device works off the queue of a runs folder, oldest run first.

Each GPU, and the CPU, runs one run at a time; a run that asks for several GPUs waits until it holds as many. There is
no daemon: a submit starts runners for free devices, and so does the start of the app after a reboot; a runner ends when
its queue is empty. While it works, it holds
the lock on ``.runner-DEVICE.lock``. After releasing it, a runner checks the queue once more: a run that was queued
meanwhile is seen by it or by the runner that the submit starts. Each run gets a worker in a process group of its own,
which dies with the runner.
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
from pmsi.base.errors import DiskFull
from pmsi.base.files import open_regular
from pmsi.base.locks import Lock, is_held
from pmsi.runs.launchers.devices import CPU, VISIBLE
from pmsi.runs.launchers.queue import Claim, claim, runner_lock, unclaimed, waits_for
from pmsi.runs.launchers.worker import work
from pmsi.runs.lifecycle import ONLY_QUEUED, PARENT, queued_request, waits_for_room
from pmsi.runs.run import Run

POLL_S = 0.2
"""Seconds between two checks for free GPUs, for a run that waits for several."""

ROOM_POLL_S = 1.0
"""Seconds between two looks at a full disk."""


def worker_command(run: Run) -> list[str]:
    """Return the command that executes ``run``."""
    return [sys.executable, "-m", "pmsi", "execute", str(run.folder)]


def runner_command(root: Path, device: str) -> list[str]:
    """Return the command that works off the queue of ``root`` on ``device``."""
    return [sys.executable, "-m", "pmsi", "runner", "--runs", str(root), "--device", device]


def submit(run: Run) -> None:
    """Start runners for the folder of ``run``, which is queued already."""
    start_runners(run.folder.parent)


def start_runners(root: Path) -> None:
    """Start a detached runner for each free device for which a run waits in ``root``."""
    root = Path(root).resolve()
    for device in _free_devices(root):
        _spawn_runner(root, device)


def _free_devices(root: Path) -> list[str]:
    """Return a free device for each waiting run, as long as there are free devices."""
    found: list[str] = []
    for _, places, _ in unclaimed(root):
        free = (place for place in places if place not in found and not is_held(runner_lock(root, place)))
        found += list(free)[:1]
    return found


def _spawn_runner(root: Path, device: str) -> None:
    with open_regular(root / ".runner.log", "ab") as log:
        process = subprocess.Popen(
            runner_command(root, device),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )
    # The runner outlives this process. The thread waits for its end, or a long-lived process would keep it as a zombie.
    threading.Thread(target=process.wait, name="pmsi-runner", daemon=True).start()


def serve(root: Path, device: str = CPU) -> None:
    """Work off the queue of ``root`` for ``device``; return at once if another runner does so.

    Whatever happens to one run, such as the removal of its folder, the runner says so and goes on with the next.
    """
    root = Path(root).resolve()
    lock, given_up = Lock(runner_lock(root, device)), set[Run]()
    while waits_for(root, device, given_up) and lock.take():
        try:
            while (taken := claim(root, device, given_up)) is not None:
                try:
                    _work(root, device, taken)
                except DiskFull:  # the run is queued still
                    time.sleep(ROOM_POLL_S)
                except Exception as error:
                    given_up.add(taken.run)
                    with contextlib.suppress(OSError):  # the disk of the log may be full
                        print(f"{taken.run.id}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                finally:
                    taken.release()
        finally:
            lock.release()


def _work(root: Path, device: str, taken: Claim) -> None:
    """Let a worker execute the run that was taken, and wait until it has ended."""
    with _hold_devices(root, device, taken) as places:
        while waits_for_room(taken.run.folder):
            time.sleep(ROOM_POLL_S)
        request = queued_request(taken.run.folder)
        if request is not None:  # else withdrawn just now
            work(taken.run, request, lambda: _start_worker(taken.run, request["cwd"], places))


@contextlib.contextmanager
def _hold_devices(root: Path, device: str, taken: Claim) -> Iterator[tuple[str, ...]]:
    """Wait for and hold as many devices as a run needs, ``device`` among them."""
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
        start_runners(root)  # for runs on devices that this run does not need
        yield (device, *held)
    finally:
        for lock in held.values():
            lock.release()
        start_runners(root)


def _start_worker(run: Run, cwd: str | None, places: tuple[str, ...]) -> subprocess.Popen[bytes]:
    # Without a known GPU, the environment is not changed: there may be a GPU that the driver does not list.
    visible = {} if places == (CPU,) else {VISIBLE: ",".join(places)}
    with open_regular(run.log_path, "ab") as log:
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
