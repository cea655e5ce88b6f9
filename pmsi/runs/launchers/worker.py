"""`work`: starts the worker of a run, waits for its end, and records how it ended. All launchers use it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from pmsi.base.errors import RunError
from pmsi.runs import ranks
from pmsi.runs.damage import read
from pmsi.runs.lifecycle import GRACE_S, State, enqueue, mark_interrupted, queued_request, settle
from pmsi.runs.run import Run

POLL_S = 0.1
"""Seconds between two checks of a worker."""

EXIT_S = 30.0
"""Seconds that a worker may take to exit after its run has ended."""

LOG_LINES = 5
"""Lines of the log in the error of a run whose workers died."""


def work(
    run: Run,
    request: dict[str, Any],
    start: Callable[[], "subprocess.Popen[bytes]"],
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Execute ``run`` in the worker that ``start`` starts, and wait until it has ended.

    ``request`` is what `pmsi.runs.lifecycle.queued_request` returned. The worker must lead a process group; what is
    left of the group is killed. ``meanwhile`` is called every `POLL_S`. If a worker dies without ending its run, a
    second one continues from the last checkpoint; if that dies too, the run has failed.
    """
    died = _attempt(run, request, start, meanwhile)
    if died is None:
        return
    run.append_log(f"{died} Trying once more, from the last checkpoint.")
    again = _queue_again(run, request["launcher"])
    if again is not None:
        died = _attempt(run, again, start, meanwhile)
        if died is not None:
            settle(run.folder, State.FAILED, _died_twice(run, died))


def _attempt(
    run: Run, request: dict[str, Any], start: Callable[[], "subprocess.Popen[bytes]"], meanwhile: Callable[[], None]
) -> str | None:
    """Return how the worker died, if it died in the middle of its work and the run was not asked to stop; else None."""
    try:
        worker = start()
    except OSError as error:
        if mark_interrupted(run.folder, request):
            settle(run.folder, State.FAILED, no_worker(f"The worker could not be started: {error}."))
        return None
    killed = _watch(worker, run, meanwhile)
    _kill_group(worker)
    code = worker.returncode
    if mark_interrupted(run.folder, request):
        if code >= 0:
            settle(run.folder, State.FAILED, no_worker(f"The worker exited with {code} before it began."))
            return None
    elif killed:
        settle(run.folder, State.STOPPED, {"hard": True})
        return None
    if run.state is not State.INTERRUPTED or run.stop_requested:
        return None
    if (about := ranks.read_error(run.folder)) is not None:
        settle(run.folder, State.FAILED, about)
        return None
    return (
        f"The worker was killed by signal {-code}."
        if code < 0
        else f"The worker exited with {code} before its run ended."
    )


def _queue_again(run: Run, launcher: str) -> dict[str, Any] | None:
    """Queue an interrupted run again and return the request; None if another process has changed its state."""
    try:
        enqueue(run.folder, (State.INTERRUPTED,), launcher)
    except RunError:
        return None
    return queued_request(run.folder)


def _died_twice(run: Run, died: str) -> dict[str, Any]:
    end = run.log_tail(LOG_LINES)
    message = f"{died} This was the second attempt." + (f" The log ends with:\n{end}" if end else "")
    return {
        "kind": "WorkerDied",
        "message": message,
        "remedy": "Signal 9 usually means that memory ran out: lower batch_size or image_size. Then resume the run.",
    }


def no_worker(message: str) -> dict[str, Any]:
    """Return the content of error.json for a run that no worker has begun."""
    return {
        "kind": "NoWorker",
        "message": message,
        "remedy": "The reason is at the end of the log. Fix it, then resume the run.",
    }


def _watch(worker: "subprocess.Popen[bytes]", run: Run, meanwhile: Callable[[], None]) -> bool:
    """Wait for the worker's end; return whether it had to be killed."""
    patience, noticed = None, 0.0
    while worker.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(POLL_S)
        meanwhile()
        before, patience = patience, _patience(run)
        if patience != before:
            noticed = time.monotonic()
        if patience is not None and worker.returncode is None and time.monotonic() >= noticed + patience:
            _kill_group(worker)
            worker.wait()
            return True
    return False


def _patience(run: Run) -> float | None:
    """Return the seconds that the worker has left; None if there is no limit."""
    if not run.folder.is_dir():  # nothing that the worker does can be kept
        return 0.0
    if run.state.is_live:
        stop = run.folder / "stop"
        return float((read(stop) or {}).get("grace_s", GRACE_S)) if run.stop_requested else None
    return EXIT_S


def _kill_group(worker: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)
