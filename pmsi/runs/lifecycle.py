"""The state of a run folder, read off its files and its lock, and the only ways in which it changes.

    created ──enqueue──▶ queued ──begin──▶ running ───────────────────settle──▶ finished, failed, stopped
                           │                  └──request_stop──▶ stopping ──settle──▶ stopped
                           └──request_stop──▶ stopped            (a worker that dies leaves: interrupted)

A worker whose machine is taken away for a while ends as queued: the request to stop then says whose queue it is.

=================  ====================================================================================
``queued``         somebody asked for the run to be worked on; removed by the worker that begins
``started``        written by the worker right after taking the lock
``lock``           locked by the live worker; the kernel drops the lock, even after kill -9
``stop``           a request to stop
``result.json``,   how the run ended; written last, by rename
``stopped.json``,
``error.json``
``.change``        locked for the few milliseconds of a change, so that two changes never mix
=================  ====================================================================================

Readers take no lock and write nothing. This module does not know what a run is for.
"""

import time
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Any

from pmsi.base.errors import RunError
from pmsi.base.files import read_json, remove_leftovers, to_json, write_atomically
from pmsi.base.locks import Lock, is_held, locked


class State(StrEnum):
    """What a run is doing."""

    CREATED = "created"
    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_live(self) -> bool:
        """Whether somebody works on the run, or will."""
        return self in (State.QUEUED, State.RUNNING, State.STOPPING)

    @property
    def can_resume(self) -> bool:
        """Whether the run ended early and may go on from its checkpoints."""
        return self in (State.STOPPED, State.FAILED, State.INTERRUPTED)


ENDINGS = {
    State.FINISHED: "result.json",
    State.STOPPED: "stopped.json",
    State.FAILED: "error.json",
}

_MARKS = ("queued", "started", "stop", *ENDINGS.values())


def state_of(folder: Path) -> State:
    """Return the state of the run in ``folder`` at one moment during this call.

    The files are looked at before and after the lock: if they are the same both times, then nobody began or ended in
    between, and the three looks belong together. Otherwise look again; a run changes only a few times in its life.
    """
    before = _marks(folder)
    while True:
        alive = is_held(folder / "lock")
        after = _marks(folder)
        if before == after:
            return _state(after, alive)
        before = after


def _marks(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the identity (inode, time of change) of each mark that exists."""
    marks = {}
    for name in _MARKS:
        try:
            about = (folder / name).stat()
        except FileNotFoundError:
            continue
        marks[name] = (about.st_ino, about.st_mtime_ns)
    return marks


def _state(marks: Collection[str], alive: bool) -> State:
    if "queued" in marks:
        return State.QUEUED
    for state, name in ENDINGS.items():
        if name in marks:
            return state
    if "started" not in marks:
        return State.CREATED
    if not alive:
        return State.INTERRUPTED
    return State.STOPPING if "stop" in marks else State.RUNNING


def enqueue(folder: Path, allowed: Collection[State], launcher: str) -> None:
    """Ask for the run to be worked on by ``launcher``; a run that is queued already keeps its place."""
    with locked(folder / ".change"):
        state = state_of(folder)
        if state is State.QUEUED and state in allowed:
            return
        if state not in allowed:
            raise RunError(_refusal(folder, state))
        _queue(folder, launcher)


def _queue(folder: Path, launcher: str) -> None:
    about = {"at": time.time(), "launcher": launcher, "cwd": str(Path.cwd())}
    write_atomically(folder / "queued", to_json(about))
    _clear(folder)


def _refusal(folder: Path, state: State) -> str:
    advice = {
        State.CREATED: f"It was never started: submit it, or pmsi execute {folder}.",
        State.QUEUED: "It will start when its turn comes.",
        State.RUNNING: f"Wait for it, or stop it first: pmsi runs stop {folder.name}.",
        State.STOPPING: "Wait until it has stopped.",
        State.FINISHED: "Create a new run to do it again.",
    }.get(state, f"To go on with it: pmsi runs resume {folder.name}.")
    return f"Run {folder.name!r} is {state}. {advice}"


def request_stop(folder: Path, grace_s: float, back_to: str | None = None) -> None:
    """Ask the worker to stop, or take the run out of the queue; refused where the run is not live.

    With ``back_to`` the run is then queued for that launcher, and one that is queued, or was asked to stop for good,
    is left as it is.
    """
    with locked(folder / ".change"):
        state = state_of(folder)
        if not state.is_live:
            raise RunError(f"Run {folder.name!r} is {state}: only a queued or running one can be stopped.")
        if back_to is not None and state is not State.RUNNING:
            return
        if state is State.QUEUED:
            write_atomically(folder / ENDINGS[State.STOPPED], to_json({"at": time.time(), "hard": False}))
            (folder / "queued").unlink(missing_ok=True)
        else:
            about = {"at": time.time(), "grace_s": grace_s, "back_to": back_to}
            write_atomically(folder / "stop", to_json(about))


def begin(folder: Path, *, only_queued: bool = False) -> Lock | None:
    """Become the run's worker: take its lock and clear what the last attempt left; checkpoints and metrics stay.

    With ``only_queued`` a run that is no longer in the queue is left alone, and None is returned.
    """
    with locked(folder / ".change"):
        state = state_of(folder)
        if only_queued and state is not State.QUEUED:
            return None
        lock = Lock(folder / "lock")
        if state is State.FINISHED or is_held(lock.path):
            raise RunError(_refusal(folder, state))
        (folder / "stop").unlink(missing_ok=True)
        if not lock.take():
            raise RunError(_refusal(folder, State.RUNNING))
        try:
            _clear(folder)
            for place in (folder, folder / "checkpoints"):
                remove_leftovers(place)
            _start(folder)
        except BaseException:
            lock.release()
            raise
        return lock


def _start(folder: Path) -> None:
    """Turn the request to run into a start, which says whose queue it was in."""
    launcher = (read_json(folder / "queued") or {}).get("launcher")
    write_atomically(folder / "started", to_json({"at": time.time(), "launcher": launcher}))
    (folder / "queued").unlink(missing_ok=True)


def give_up(folder: Path, request: dict[str, Any]) -> bool:
    """Count a request as started whose worker died too early to say so: the run is then interrupted.

    Returns False, and changes nothing, where that request was taken up or withdrawn.
    """
    with locked(folder / ".change"):
        if queued_request(folder) != request:
            return False
        _start(folder)
        return True


def _clear(folder: Path) -> None:
    for name in ("stop", *ENDINGS.values()):
        (folder / name).unlink(missing_ok=True)


def settle(folder: Path, state: State, about: dict[str, Any], lock: Lock | None = None) -> State:
    """End the run as ``state`` and give its ``lock`` back; returns the state that it ended in.

    A run that was asked to stop only for a while does not end: it is queued again.
    Without a lock, somebody ends the run on behalf of a dead worker: nothing happens if it ended itself, or lives.
    """
    content = to_json({"at": time.time()} | about, indent=1) + "\n"
    with locked(folder / ".change"):
        if lock is None:
            now = state_of(folder)
            if now is not State.INTERRUPTED:
                return now
        back_to = (read_json(folder / "stop") or {}).get("back_to") if state is State.STOPPED else None
        if back_to is not None:
            _queue(folder, back_to)
            state = State.QUEUED
        else:
            write_atomically(folder / ENDINGS[state], content)
            (folder / "stop").unlink(missing_ok=True)
        if lock is not None:
            lock.release()
    return state


def launcher_of(folder: Path) -> str | None:
    """Return whose queue the run is or last was in; None for one that was only worked on by hand."""
    about = read_json(folder / "queued") or read_json(folder / "started") or {}
    launcher = about.get("launcher")
    return launcher if isinstance(launcher, str) else None


def queued_request(folder: Path) -> dict[str, Any] | None:
    """Return what `enqueue` wrote (``at``, ``launcher``, ``cwd``), or None where the run does not wait in a queue."""
    if state_of(folder) is not State.QUEUED:
        return None
    try:
        at = (folder / "queued").stat().st_mtime
    except FileNotFoundError:
        return None
    return {"at": at, "launcher": "local", "cwd": None} | (read_json(folder / "queued") or {})


PARENT = "PMSI_PARENT_PID"
"""Environment of a worker: the process that it must not outlive."""


ONLY_QUEUED = "PMSI_ONLY_QUEUED"
"""Environment of a worker: ``1`` if it shall leave a run alone that is no longer in the queue."""


GRACE_S = 30.0
"""How long a worker may take to stop by itself."""
