"""What can be done with a run: submit it to a launcher, look after it, stop it, resume it."""

from pmsi.base.errors import lookup
from pmsi.runs.launchers import LAUNCHERS
from pmsi.runs.launchers.row import Look
from pmsi.runs.lifecycle import GRACE_S, State, enqueue, give_up, launcher_of, queued_request, settle
from pmsi.runs.run import Run


def submit(run: Run, launcher: str = "local") -> None:
    """Put a new run into the queue of ``launcher``, whose worker will execute it."""
    _launch(run, launcher, (State.CREATED, State.QUEUED))


def resume(run: Run, launcher: str | None = None) -> None:
    """Put a run that ended early, or that was lost in a queue, back into one; its checkpoints and metrics are kept.

    By default it is the queue of the launcher that it was in.
    """
    follow(run)
    _launch(run, launcher or launcher_of(run.folder) or "local", tuple(state for state in State if state.can_resume))


def stop(run: Run, *, grace_s: float = GRACE_S) -> None:
    """Ask a run to stop: one in the queue is stopped at once, a running one at the task's next `Run.check_stop`.

    A launcher's runner kills a worker that has not ended after ``grace_s``; one in the foreground has nobody who would.
    """
    run.request_stop(grace_s)
    for launcher in LAUNCHERS.values():
        if launcher.withdraw:
            launcher.withdraw(run)


def look(run: Run) -> Look | None:
    """Return what a launcher knows of ``run`` and its folder does not say; None where there is nothing. No change."""
    looks = (launcher.look(run) for launcher in LAUNCHERS.values() if launcher.look)
    return next((seen for seen in looks if seen is not None), None)


def follow(run: Run) -> Look | None:
    """Look at ``run``, and take it out of a queue in which it is lost: it has failed then, and can be resumed.

    Nobody else does: a cluster that cancels a job tells nobody. For who waits for a run, or wants to go on with it.
    """
    request = queued_request(run.folder)
    seen = look(run)
    if request is not None and seen is not None and seen.is_lost and give_up(run.folder, request):
        remedy = "Resume the run to submit it again."
        settle(run.folder, State.FAILED, {"kind": "NoWorker", "message": seen.text, "remedy": remedy})
    return seen


def _launch(run: Run, launcher: str, allowed: tuple[State, ...]) -> None:
    row = lookup("launcher", LAUNCHERS, launcher)
    enqueue(run.folder, allowed, launcher)
    row.submit(run)
