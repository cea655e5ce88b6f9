"""How far a run is: the heartbeat that its worker writes, and the status that everybody else reads.

Times are seconds since 1970, as `time.time` gives them. This module does not know what a run computes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pmsi.files import read_json, to_json, write_atomically
from pmsi.lifecycle import ENDINGS, State, state_of

BEAT_S = 0.5
"""A heartbeat is written at most this often."""


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

    def with_error(self, error: ErrorReport) -> "Status":
        """Return the same status with this error."""
        return replace(self, error=error)


class Heartbeat:
    """Writes progress.json: the first call, the last one (``done == total``), and in between every half second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first: tuple[int, int, float] | None = None  # done, total and time, from which the speed is measured
        self._written = 0.0
        self._pending: dict[str, Any] | None = None

    def beat(self, done: int, total: int, text: str) -> None:
        """Note how far the work is."""
        now = time.time()
        if self._first is None or self._first[1] != total or done < self._first[0]:
            self._first = (done, total, now)
        first_done, _, first_at = self._first
        rate = (done - first_done) / (now - first_at) if now > first_at else 0.0
        self._pending = {"done": done, "total": total, "text": text, "at": now, "rate": rate}
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
    )


def _seconds_left(beat: dict[str, Any], started: float | None) -> float | None:
    """Return how long the rest will take at the speed so far; a heartbeat of an earlier attempt says nothing."""
    if not beat or not beat.get("rate") or (started is not None and beat["at"] < started):
        return None
    return float(max(0.0, (beat["total"] - beat["done"]) / beat["rate"] - (time.time() - beat["at"])))


def _error(ending: dict[str, Any], log_tail: str) -> ErrorReport:
    message = ending.get("message", "error.json cannot be read.")
    return ErrorReport(ending.get("kind", "Unknown"), message, ending.get("remedy", ""), log_tail)
