"""The progress of a run: the heartbeat that its worker writes, and the status that other processes read.

A worker that holds its lock but has long changed no file may be stuck. The limit depends on the worker's own pauses
between heartbeats, so that a slow worker is not reported. Times are seconds since 1970, as of `time.time`.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmsi.base.errors import DiskFull
from pmsi.base.files import read_json, to_json, write_atomically
from pmsi.runs.damage import read
from pmsi.runs.lifecycle import ENDINGS, State, state_of, waits_for_room

BEAT_S = 0.5
"""Seconds between two heartbeats, at least."""

QUIET_S, TIMES = 60.0, 5.0
"""A worker may be stuck after this many seconds of silence, if that is also this many times its longest pause."""

SETTLING_S = 900.0
"""The same limit before the first two heartbeats of a kind of work, and after its last one: downloads of weights,
compilation and filling caches write no heartbeat."""

LONGEST_S = 3600.0
"""The largest limit: a computer that slept overnight has one very long pause."""

SIGNS = ("started", "progress.json", "metrics.jsonl", "log.txt", "checkpoints")
"""Files whose change shows that the worker is alive."""


@dataclass(frozen=True)
class ErrorReport:
    """Why a run failed: the kind of error, its message, what to do about it, and the log's last lines.

    ``final`` says that the run can never succeed: another one, with other settings, may.
    """

    kind: str
    message: str
    remedy: str = ""
    log_tail: str = ""
    final: bool = False


@dataclass(frozen=True)
class Status:
    """The state, progress, times and error of a run; None where unknown. ``done`` of ``total`` are steps."""

    state: State
    done: int = 0
    total: int = 0
    text: str = ""
    first_at: float | None = None
    """When the run began; ``started_at`` is when it was last taken up."""
    started_at: float | None = None
    updated_at: float | None = None
    ended_at: float | None = None
    seconds_left: float | None = None
    error: ErrorReport | None = None
    silent_s: float | None = None
    """Seconds since the worker changed a file; None unless it may be stuck."""
    waits: str = ""
    """What a queued run waits for, beside its turn."""

    @property
    def can_resume(self) -> bool:
        """Whether resuming the run may lead on; a run that can never succeed is not resumed."""
        return self.state.can_resume and not (self.error is not None and self.error.final)

    @property
    def share(self) -> float:
        """The share that is done, 0–1; 0 while ``total`` is not known."""
        return min(1.0, self.done / self.total) if self.total else 0.0


class Heartbeat:
    """Writes progress.json at the first call, the last one (``done == total``), and every `BEAT_S` in between."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first: tuple[int, int, float] | None = None  # done, total and time, from which the speed is measured
        self._last = 0.0
        self._pause: float | None = None  # the longest between two beats since then
        self._written = 0.0
        self._pending: dict[str, Any] | None = None

    def beat(self, done: int, total: int, text: str) -> None:
        """Record that ``done`` of ``total`` steps are done."""
        now = time.time()
        if self._first is None or self._first[1] != total or done < self._first[0]:
            self._first, self._pause = (done, total, now), None
        else:
            self._pause = max(self._pause or 0.0, now - self._last)
        self._last = now
        first_done, _, first_at = self._first
        rate = (done - first_done) / (now - first_at) if now > first_at else 0.0
        self._pending = {"done": done, "total": total, "text": text, "at": now, "rate": rate, "pause": self._pause}
        if done >= total or not 0 <= now - self._written < BEAT_S:
            self.flush()

    def flush(self) -> None:
        """Write the last call if it is not written yet; a full disk does not matter to it."""
        if self._pending is not None:
            with contextlib.suppress(DiskFull):
                write_atomically(self.path, to_json(self._pending), durable=False)
            self._written = time.time()
            self._pending = None


def status_of(folder: Path, log_tail: Callable[[], str]) -> Status:
    """Return the status of the run in ``folder``; the log is read only if the run has failed."""
    state = state_of(folder)
    begun = read(folder / "started") or {}
    started = begun.get("at")
    beat = read(folder / "progress.json") or {}
    ending = read(folder / ENDINGS[state]) or {} if state in ENDINGS else {}
    updated = max((at for at in (started, beat.get("at")) if at is not None), default=None)
    working = state in (State.RUNNING, State.STOPPING)
    return Status(
        state=state,
        done=beat.get("done", 0),
        total=beat.get("total", 0),
        text=beat.get("text", ""),
        first_at=begun.get("first", started),
        started_at=started,
        updated_at=updated,
        ended_at=updated if state is State.INTERRUPTED else ending.get("at"),
        seconds_left=_seconds_left(beat, started) if working else None,
        error=_error(ending, log_tail()) if state is State.FAILED else None,
        silent_s=silence(folder, beat, started) if working else None,
        waits=waits_for_room(folder) if state is State.QUEUED else "",
    )


def silence(folder: Path, beat: dict[str, Any], started: float | None, now: float | None = None) -> float | None:
    """Return the seconds since a running worker changed a file, if it may be stuck; else None.

    ``beat`` is its progress.json, ``started`` the time at which this attempt began. The worker may have another clock,
    so the files' times of change count too.
    """
    signs = [beat.get("at") or 0.0, *(_changed(folder / name) for name in SIGNS)]
    silent = (time.time() if now is None else now) - max(signs)
    return silent if silent > _patience(folder, beat, started) else None


def _patience(folder: Path, beat: dict[str, Any], started: float | None) -> float:
    """Return the seconds of silence after which a worker may be stuck."""
    of_this_attempt = started is None or beat.get("at", 0.0) >= started
    pause = beat.get("pause") if of_this_attempt else None
    if pause is None or beat.get("done", 0) >= beat.get("total", 0):
        return SETTLING_S
    usual = min(LONGEST_S, max(QUIET_S, TIMES * pause))
    # It compiles again for tests and for other shapes.
    compiles = (read_json(folder / "config.json") or {}).get("compile", False)
    return max(SETTLING_S, usual) if compiles else usual


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _seconds_left(beat: dict[str, Any], started: float | None) -> float | None:
    """Return the seconds left at the speed so far; None if this attempt has no heartbeat yet."""
    at, rate, left = beat.get("at", 0.0), beat.get("rate"), beat.get("total", 0) - beat.get("done", 0)
    if not rate or (started is not None and at < started):
        return None
    return float(max(0.0, left / rate - (time.time() - at)))


def _error(ending: dict[str, Any], log_tail: str) -> ErrorReport:
    message = ending.get("message", "error.json cannot be read.")
    kind = ending.get("kind", "Unknown")
    final = ending.get("final", kind in ("ConfigError", "UnknownName"))  # older endings say the kind alone
    return ErrorReport(kind, message, ending.get("remedy", ""), log_tail, bool(final))
