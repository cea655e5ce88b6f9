"""How far a run is: the heartbeat that its worker writes, and the status that everybody else reads.

A worker that is alive but has given no sign of life for too long may be stuck; how long is too long goes by the
worker's own beats, so that a slow one is told apart. Times are seconds since 1970, as `time.time` gives them. This
module does not know what a run computes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pmsi.base.files import read_json, to_json, write_atomically
from pmsi.runs.lifecycle import ENDINGS, State, state_of

BEAT_S = 0.5
"""A heartbeat is written at most this often."""

QUIET_S, TIMES = 60.0, 5.0
"""A worker may be stuck that is silent for longer than this, and than so many times its longest pause so far."""

SETTLING_S = 900.0
"""The same where the next beat cannot be foreseen: before the first two of a kind of work, and after its last one.
Weights are downloaded, networks compiled and caches filled there, and none of this beats."""

LONGEST_S = 3600.0
"""No silence is longer than this without being told: a computer that slept for a night made one long pause."""

SIGNS = ("started", "progress.json", "metrics.jsonl", "log.txt", "checkpoints")
"""What a living worker changes in its folder; any of them is a sign of life."""


@dataclass(frozen=True)
class ErrorReport:
    """Why a run failed: the kind of error, what it says, what to do about it, and the log's last lines."""

    kind: str
    message: str
    remedy: str = ""
    log_tail: str = ""


@dataclass(frozen=True)
class Status:
    """What a status line shows. A time or number that is not known is None; ``done`` of ``total`` are steps."""

    state: State
    done: int = 0
    total: int = 0
    text: str = ""
    started_at: float | None = None
    updated_at: float | None = None
    ended_at: float | None = None
    seconds_left: float | None = None
    error: ErrorReport | None = None
    silent_s: float | None = None
    """Seconds without a sign of life of a worker that holds its lock, where they are so many that it may be stuck."""

    def with_error(self, error: ErrorReport) -> "Status":
        """Return the same status with this error."""
        return replace(self, error=error)


class Heartbeat:
    """Writes progress.json: the first call, the last one (``done == total``), and in between every half second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first: tuple[int, int, float] | None = None  # done, total and time, from which the speed is measured
        self._last = 0.0
        self._pause: float | None = None  # the longest between two beats since then
        self._written = 0.0
        self._pending: dict[str, Any] | None = None

    def beat(self, done: int, total: int, text: str) -> None:
        """Note how far the work is."""
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
        """Write the last call, if it was not written."""
        if self._pending is not None:
            write_atomically(self.path, to_json(self._pending), durable=False)
            self._written = time.time()
            self._pending = None


def status_of(folder: Path, log_tail: Callable[[], str]) -> Status:
    """Return the status of the run in ``folder``; the log is read only where there is an error to explain."""
    state = state_of(folder)
    started = (read_json(folder / "started") or {}).get("at")
    beat = read_json(folder / "progress.json") or {}
    ending = read_json(folder / ENDINGS[state]) or {} if state in ENDINGS else {}
    updated = max((at for at in (started, beat.get("at")) if at is not None), default=None)
    working = state in (State.RUNNING, State.STOPPING)
    return Status(
        state=state,
        done=beat.get("done", 0),
        total=beat.get("total", 0),
        text=beat.get("text", ""),
        started_at=started,
        updated_at=updated,
        ended_at=updated if state is State.INTERRUPTED else ending.get("at"),
        seconds_left=_seconds_left(beat, started) if working else None,
        error=_error(ending, log_tail()) if state is State.FAILED else None,
        silent_s=silence(folder, beat, started) if working else None,
    )


def silence(folder: Path, beat: dict[str, Any], started: float | None, now: float | None = None) -> float | None:
    """Return for how long the worker of a running run has given no sign of life, if so long that it may be stuck.

    ``beat`` is its progress.json, ``started`` when this attempt began. The worker's clock may be another machine's, so
    the times at which its files changed count as well.
    """
    signs = [beat.get("at") or 0.0, *(_changed(folder / name) for name in SIGNS)]
    silent = (time.time() if now is None else now) - max(signs)
    return silent if silent > _patience(folder, beat, started) else None


def _patience(folder: Path, beat: dict[str, Any], started: float | None) -> float:
    """Return how long a worker may be silent before it is told."""
    of_this_attempt = started is None or beat.get("at", 0.0) >= started
    pause = beat.get("pause") if of_this_attempt else None
    if pause is None or beat.get("done", 0) >= beat.get("total", 0):
        return SETTLING_S
    usual = min(LONGEST_S, max(QUIET_S, TIMES * pause))
    compiles = (read_json(folder / "config.json") or {}).get("compile", False)  # anew for tests, and for other shapes
    return max(SETTLING_S, usual) if compiles else usual


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _seconds_left(beat: dict[str, Any], started: float | None) -> float | None:
    """Return how long the rest will take at the speed so far; a heartbeat of an earlier attempt says nothing."""
    if not beat or not beat.get("rate") or (started is not None and beat["at"] < started):
        return None
    return float(max(0.0, (beat["total"] - beat["done"]) / beat["rate"] - (time.time() - beat["at"])))


def _error(ending: dict[str, Any], log_tail: str) -> ErrorReport:
    message = ending.get("message", "error.json cannot be read.")
    return ErrorReport(ending.get("kind", "Unknown"), message, ending.get("remedy", ""), log_tail)
