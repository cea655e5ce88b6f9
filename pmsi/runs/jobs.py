"""Actions on a run: submit it to a launcher, stop it, resume it, ask its launcher for its status."""

import time
from pathlib import Path

from pmsi.base.errors import RunError, lookup
from pmsi.runs.launchers import LAUNCHERS, local, queue
from pmsi.runs.launchers.row import LauncherStatus
from pmsi.runs.lifecycle import GRACE_S, State, enqueue, launcher_of, mark_interrupted, queued_request, settle
from pmsi.runs.run import Run


def submit(run: Run, launcher: str = "local") -> None:
    """Put a new run into the queue of ``launcher``. Raises RunError unless the run is new or queued already."""
    _launch(run, launcher, (State.CREATED, State.QUEUED))


def resume(run: Run, launcher: str | None = None) -> None:
    """Put a run that was stopped, interrupted, lost or has failed back into a queue; it continues from its checkpoint.

    The default is the launcher that it was submitted to last. A queued run for which nobody works keeps its place.
    Raises RunError for a run in another state.
    """
    last = launcher_of(run.folder)
    wanted = launcher or (last if last in LAUNCHERS else None) or "local"
    fail_if_lost(run)
    allowed = [state for state in State if state.can_resume]
    if run in unattended(run.folder.parent):
        if wanted == last:
            allowed.append(State.QUEUED)
        else:
            run.request_stop()
    _launch(run, wanted, tuple(allowed))


UNATTENDED_S = 30.0
"""Seconds after which a queued run that nobody will begin is spoken of: a runner takes some to start."""


def unattended(root: Path, since_s: float = 0.0) -> list[Run]:
    """Return the queued runs, longest waiting first, that wait for ``since_s`` seconds and that nobody will begin.

    After a reboot there is no runner, a cluster may have lost a job, and a launcher of a copied run may not exist here.
    """
    unserved, until = set(queue.unattended(root)), time.time() - since_s

    def is_left(run: Run, launcher: str) -> bool:
        if launcher == "local" or launcher not in LAUNCHERS:
            return launcher != "local" or run in unserved
        status = launcher_status(run)
        return status is not None and status.is_lost

    return [run for request, run in queue.waiting(root) if request["at"] <= until and is_left(run, request["launcher"])]


def attend(root: Path) -> None:
    """Start runners for queued runs of this machine that wait for one; a cluster's jobs are left to ``resume``."""
    local.start_runners(root)


def stop(run: Run, *, grace_s: float = GRACE_S) -> None:
    """Ask a run to stop: a queued run stops at once, a running one at the task's next `Run.check_stop`.

    A launcher kills a worker that has not ended after ``grace_s`` seconds; a run in the foreground is not killed.
    Raises RunError if the run is neither queued nor running.
    """
    run.request_stop(grace_s)
    for launcher in LAUNCHERS.values():
        if launcher.withdraw:
            launcher.withdraw(run)


def launcher_status(run: Run) -> LauncherStatus | None:
    """Return a launcher's status of ``run``, such as its Slurm job; None if no launcher has one. Changes nothing."""
    found = (launcher.status(run) for launcher in LAUNCHERS.values() if launcher.status)
    return next((status for status in found if status is not None), None)


def fail_if_lost(run: Run) -> LauncherStatus | None:
    """Return the launcher's status of ``run``; mark the run as failed if its launcher has lost it.

    A cluster can cancel a waiting job without a notice; the run would stay queued. A failed run can be resumed. Call
    this while waiting for a run, and before resuming it.
    """
    request = queued_request(run.folder)
    status = launcher_status(run)
    if request is not None and status is not None and status.is_lost and mark_interrupted(run.folder, request):
        remedy = "Resume the run to submit it again."
        settle(run.folder, State.FAILED, {"kind": "NoWorker", "message": status.text, "remedy": remedy})
    return status


def _launch(run: Run, launcher: str, allowed: tuple[State, ...]) -> None:
    row = lookup("launcher", LAUNCHERS, launcher)
    if run.damage is not None:
        raise RunError(f"Run {run.id!r} is damaged. {run.damage}")
    enqueue(run.folder, allowed, launcher)
    row.submit(run)
