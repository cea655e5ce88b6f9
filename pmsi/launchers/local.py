"""The local launcher: a detached runner works off the queue of one runs folder, one run at a time, oldest first.

There is no daemon: a submit starts a runner where there is none, and the runner goes when the queue is empty. It holds
the lock on ``.runner.lock`` while it works; after giving it back it looks once more, so a run that was queued while it
was on its way out is still seen by it, or by the runner which that submit starts. Each run gets a worker of its own, in
its own process group, which dies with the runner. This module does not know what a worker computes.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

from pmsi.jobs import ONLY_QUEUED, PARENT
from pmsi.launchers.worker import CHECKOUT, work
from pmsi.lifecycle import queued_request
from pmsi.locks import Lock, is_held
from pmsi.runs import Run


def worker_command(run: Run) -> list[str]:
    """Return the command that executes ``run``."""
    return [sys.executable, "-m", "pmsi", "execute", str(run.folder)]


def runner_command(root: Path) -> list[str]:
    """Return the command that works off the queue of ``root``."""
    return [sys.executable, "-m", "pmsi", "runner", "--runs", str(root)]


def submit(run: Run) -> None:
    """See to it that a runner works on the folder of ``run``, which is queued already."""
    start_runner(run.folder.parent)


def start_runner(root: Path) -> None:
    """Start a detached runner for ``root``, unless one works there or nothing is queued."""
    root = Path(root).resolve()
    if not is_held(root / ".runner.lock") and next_queued(root) is not None:
        _spawn_runner(root)


def _spawn_runner(root: Path) -> None:
    with (root / ".runner.log").open("ab") as log:
        process = subprocess.Popen(
            runner_command(root),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )
    # It goes on without us; the thread only takes note of its end, or a long-lived page would keep a zombie of each.
    threading.Thread(target=process.wait, name="pmsi-runner", daemon=True).start()


def serve(root: Path) -> None:
    """Work off the queue of ``root`` until it is empty; return at once if another runner does."""
    root = Path(root).resolve()
    lock = Lock(root / ".runner.lock")
    while next_queued(root) is not None and lock.take():
        try:
            while (run := next_queued(root)) is not None:
                _work(run)
        finally:
            lock.release()


def next_queued(root: Path) -> Run | None:
    """Return the run of ``root`` that has waited longest for this launcher."""
    waiting = []
    for mark in Path(root).glob("*/queued"):
        request = queued_request(mark.parent)
        if request is not None and request["launcher"] == "local":
            waiting.append((request["at"], mark.parent))
    return Run(min(waiting)[1]) if waiting else None


def _work(run: Run) -> None:
    """Let a worker execute ``run``; come back when it is gone, however it went."""
    request = queued_request(run.folder)
    if request is not None:  # else withdrawn just now
        work(run, request, lambda: _start_worker(run, request["cwd"]))


def _start_worker(run: Run, cwd: str | None) -> subprocess.Popen[bytes]:
    with run.log_path.open("ab") as log:
        return subprocess.Popen(
            worker_command(run),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=cwd if cwd and Path(cwd).is_dir() else None,  # relative paths start where the run was submitted
            env=_environment() | {PARENT: str(os.getpid()), ONLY_QUEUED: "1", "PYTHONUNBUFFERED": "1"},
            process_group=0,
        )


def _environment() -> dict[str, str]:
    """Return an environment in which ``pmsi`` can be imported, also from a checkout that is not installed."""
    checkout = str(CHECKOUT)
    path = os.environ.get("PYTHONPATH")
    return dict(os.environ) | {"PYTHONPATH": f"{checkout}{os.pathsep}{path}" if path else checkout}
