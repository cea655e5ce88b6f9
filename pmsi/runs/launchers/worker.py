"""One worker of one run: started, watched until it is gone, and accounted for however it went.

Every launcher comes down to this: somewhere, a process waits for a worker. This module does not know in whose queue
the run was, how the worker is started, nor what it computes.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from pmsi.base.errors import RunError
from pmsi.base.files import read_json
from pmsi.runs import ranks
from pmsi.runs.lifecycle import GRACE_S, State, enqueue, give_up, queued_request, settle
from pmsi.runs.run import Run

POLL_S = 0.1
"""How often a worker is looked after."""

EXIT_S = 30.0
"""How long a worker may take to exit after its run has ended."""

LOG_LINES = 5
"""How much of the log's end is told of a run whose workers died."""


def work(
    run: Run,
    request: dict[str, Any],
    start: Callable[[], "subprocess.Popen[bytes]"],
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Let the worker that ``start`` starts execute ``run``, and come back when it is gone, however it went.

    ``request`` is what `pmsi.runs.lifecycle.queued_request` said of the run. The worker must lead a process group:
    what it leaves behind there is killed. ``meanwhile`` is called at each look after it, every `POLL_S`. A worker that
    dies without a word gets one successor, which goes on from the last checkpoint; if that dies too, the run has
    failed.
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
    """Return how the worker died, where it died in the middle of its work and nobody wanted it to stop; else None."""
    try:
        worker = start()
    except OSError as error:
        if give_up(run.folder, request):
            settle(run.folder, State.FAILED, no_worker(f"The worker could not be started: {error}."))
        return None
    killed = _watch(worker, run, meanwhile)
    _kill_group(worker)
    code = worker.returncode
    if give_up(run.folder, request):
        if code >= 0:
            settle(run.folder, State.FAILED, no_worker(f"The worker exited with {code} before it began."))
            return None
    elif killed:
        settle(run.folder, State.STOPPED, {"hard": True})
        return None
    if run.state is not State.INTERRUPTED or run.stop_requested:
        return None
    if (about := ranks.told(run.folder)) is not None:
        settle(run.folder, State.FAILED, about)
        return None
    return f"The worker was killed by signal {-code}." if code < 0 else f"The worker exited with {code} in mid-work."


def _queue_again(run: Run, launcher: str) -> dict[str, Any] | None:
    """Return a new request of the same launcher for an interrupted run; None where somebody was faster."""
    try:
        enqueue(run.folder, (State.INTERRUPTED,), launcher)
    except RunError:
        return None
    return queued_request(run.folder)


def _died_twice(run: Run, died: str) -> dict[str, Any]:
    end = run.log_tail(LOG_LINES)
    message = f"{died} It was the second time." + (f" The log ends with:\n{end}" if end else "")
    return {
        "kind": "WorkerDied",
        "message": message,
        "remedy": "Signal 9 mostly means that memory ran out: lower batch_size or image_size. Then resume the run.",
    }


def no_worker(message: str) -> dict[str, Any]:
    """Return what error.json says of a run that no worker has begun."""
    return {"kind": "NoWorker", "message": message, "remedy": "The log ends with the reason; put it right and resume."}


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
    """Return how long the worker may go on from now, or None for as long as it likes."""
    if run.state.is_live:
        stop = run.folder / "stop"
        return float((read_json(stop) or {}).get("grace_s", GRACE_S)) if stop.exists() else None
    return EXIT_S


def _kill_group(worker: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)
