"""The state of a run folder, given by its files and its lock, and the functions that change it.

    created ──enqueue──▶ queued ──begin──▶ running ───────────────────settle──▶ finished, failed, stopped
                           │                  └──request_stop──▶ stopping ──settle──▶ stopped
                           └──request_stop──▶ stopped            (a worker that dies leaves: interrupted)

A worker whose Slurm job is preempted ends as queued: the request to stop then names the launcher.

=================  ====================================================================================
``queued``         a request to work on the run; removed by the worker that begins
``started``        written by the worker right after taking the lock
``lock``           locked by the live worker; the kernel drops the lock, even after kill -9
``stop``           a request to stop
``result.json``,   how the run ended; written last, by rename
``stopped.json``,
``error.json``
``.change``        locked for the few milliseconds of a change, so that two changes never overlap
=================  ====================================================================================

Readers take no lock and write nothing.
"""

import contextlib
import time
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path
from typing import Any

from pmsi.base.errors import RunError
from pmsi.base.files import free_at, mount_of, remove_leftovers, to_json, write_atomically
from pmsi.base.locks import Lock, is_held, locked
from pmsi.base.text import size
from pmsi.runs.damage import read


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
        """Whether a worker works on the run, or will."""
        return self in (State.QUEUED, State.RUNNING, State.STOPPING)

    @property
    def can_resume(self) -> bool:
        """Whether the run ended early and can continue from its checkpoint."""
        return self in (State.STOPPED, State.FAILED, State.INTERRUPTED)


ENDINGS = {
    State.FINISHED: "result.json",
    State.STOPPED: "stopped.json",
    State.FAILED: "error.json",
}

MARKS = ("queued", "started", "stop", *ENDINGS.values())


def state_of(folder: Path) -> State:
    """Return the state of the run in ``folder`` at one moment during this call.

    The files are read before and after the lock is tested. If they are the same both times, the run neither began nor
    ended in between, and the state is consistent. Otherwise this is repeated; a run changes only a few times.
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
    for name in MARKS:
        try:
            about = (folder / name).stat()
        except OSError:  # none, or a link that leads nowhere
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
    """Queue the run for ``launcher``; a run that is queued already keeps its place.

    Raises RunError unless its state is one of ``allowed``.
    """
    with locked(folder / ".change"):
        state = state_of(folder)
        if state is State.QUEUED and state in allowed:
            return
        if state not in allowed:
            raise RunError(_refusal(folder, state))
        _queue(folder, launcher)


def _queue(folder: Path, launcher: str, needs: int = 0) -> None:
    about = {"at": time.time(), "launcher": launcher, "cwd": str(Path.cwd()), "needs": needs}
    write_atomically(folder / "queued", to_json(about))
    _clear(folder)


def _refusal(folder: Path, state: State) -> str:
    advice = {
        State.CREATED: f"It was never started: submit it, or pmsi execute {folder}.",
        State.QUEUED: "It starts when its turn comes.",
        State.RUNNING: f"Wait for it, or stop it first: pmsi runs stop {folder.name}.",
        State.STOPPING: "Wait until it has stopped.",
        State.FINISHED: "Create a new run to do it again.",
    }.get(state, f"To go on with it: pmsi runs resume {folder.name}.")
    return f"Run {folder.name!r} is {state}. {advice}"


def request_stop(folder: Path, grace_s: float, back_to: str | None = None) -> None:
    """Ask the worker to stop, or take the run out of the queue. Raises RunError if the run is neither running nor
    queued.

    With ``back_to`` the run is queued for that launcher after the stop; a run that is queued or stopping stays as it
    is.
    """
    with locked(folder / ".change"):
        state = state_of(folder)
        if not state.is_live:
            raise RunError(f"Run {folder.name!r} is {state}: only a queued or running one can be stopped.")
        if back_to is not None and state is not State.RUNNING:
            return
        if state is State.QUEUED:
            about = {"at": time.time(), "hard": False, "launcher": launcher_of(folder)}  # goes on there
            write_atomically(folder / ENDINGS[State.STOPPED], to_json(about))
            (folder / "queued").unlink(missing_ok=True)
        else:
            about = {"at": time.time(), "grace_s": grace_s, "back_to": back_to}
            write_atomically(folder / "stop", to_json(about))


def begin(folder: Path, *, only_queued: bool = False) -> Lock | None:
    """Take the run's lock and remove the files of the last attempt; checkpoints and metrics stay. Return the lock.

    With ``only_queued``, return None if the run is no longer queued. Raises RunError if the run is finished or running.
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
        with contextlib.suppress(OSError):
            write_atomically(folder / RESERVE, bytes(RESERVED), durable=False)
        return lock


def _start(folder: Path) -> None:
    """Replace the file ``queued`` by ``started``, which keeps the launcher's name and when the run first began."""
    launcher, before, now = (read(folder / "queued") or {}).get("launcher"), read(folder / "started") or {}, time.time()
    first = before.get("first", before.get("at", now))
    write_atomically(folder / "started", to_json({"at": now, "launcher": launcher, "first": first}))
    (folder / "queued").unlink(missing_ok=True)


def mark_interrupted(folder: Path, request: dict[str, Any]) -> bool:
    """Mark a queued run as interrupted whose worker died before it began. Return whether it was still queued.

    Changes nothing if ``request`` was begun or withdrawn.
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
    """End the run as ``state`` and release its ``lock``; return the final state.

    As QUEUED, the run waits until ``about["needs"]`` bytes are free on its disk. A run that was asked to stop with
    ``back_to`` is queued again. Without a lock, the run is ended on behalf of a dead worker: nothing happens unless it
    is interrupted.
    """
    content = to_json({"at": time.time()} | about, indent=1) + "\n"
    with locked(folder / ".change"):
        if lock is None:
            now = state_of(folder)
            if now is not State.INTERRUPTED:
                return now
        (folder / RESERVE).unlink(missing_ok=True)
        back_to = (read(folder / "stop") or {}).get("back_to") if state is State.STOPPED else None
        if state is State.QUEUED:
            _queue(folder, launcher_of(folder) or "local", about["needs"])
        elif back_to is not None:
            _queue(folder, back_to)
            state = State.QUEUED
        else:
            write_atomically(folder / ENDINGS[state], content)
            (folder / "stop").unlink(missing_ok=True)
        if lock is not None:
            lock.release()
    return state


def launcher_of(folder: Path) -> str | None:
    """Return the launcher that the run was submitted to last; None if it was only run in the foreground."""
    for name in ("queued", ENDINGS[State.STOPPED], "started"):
        if isinstance(launcher := (read(folder / name) or {}).get("launcher"), str):
            return launcher
    return None


def queued_request(folder: Path) -> dict[str, Any] | None:
    """Return what `enqueue` wrote (``at``, ``launcher``, ``cwd``), or None if the run is not queued."""
    if state_of(folder) is not State.QUEUED:
        return None
    try:
        at = (folder / "queued").stat().st_mtime
    except OSError:
        return None
    return {"at": at, "launcher": "local", "cwd": None} | (read(folder / "queued") or {})


LEAST_ROOM = 1_000_000
"""Bytes that must be free on the disk of a run that is to begin."""

RESERVE, RESERVED = ".reserve", 8192
"""A file that a worker keeps, and its bytes: removed, it leaves room to write how the run ended on a full disk."""


def waits_for_room(folder: Path) -> str:
    """Return in words that a queued run waits for room on its disk, "" if it does not."""
    request = queued_request(folder)
    if request is None:
        return ""
    needed, free = max(LEAST_ROOM, request.get("needs") or 0), free_at(folder)
    if free >= needed:
        return ""
    return f"waits for room on the disk at {mount_of(folder)}: {size(needed)} needed, {size(free)} free"


PARENT = "PMSI_PARENT_PID"
"""Environment of a worker: the id of the process that it must end with."""

ONLY_QUEUED = "PMSI_ONLY_QUEUED"
"""Environment of a worker: ``1`` if it must not begin a run that is no longer queued."""

GRACE_S = 30.0
"""Seconds that a worker has to stop by itself."""
