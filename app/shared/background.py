"""Work that no visitor waits for: commands in processes of their own, one at a time and at low priority."""

import contextlib
import os
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import NamedTuple

from pmsi.base.errors import PMSIError
from pmsi.base.steps import Step, parsed, seconds_left

MOST_WAITING, MOST_REMEMBERED = 8, 256
PRIORITY = 10
"""How far the work stands back behind that of visitors (nice)."""


@dataclass(frozen=True)
class _Job:
    words: list[str]
    then: Callable[[], None]
    urgent: bool
    said: deque[str] = field(default_factory=lambda: deque(maxlen=1))
    steps: list[Step] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Take in a line of the command."""
        if line.strip():
            self.said.append(line.strip())
        if step := parsed(line):
            self.steps.append(step)


class Progress(NamedTuple):
    """How far work is: so many come ``before`` it; its last ``step``; how long it still takes, where that is known."""

    before: int
    step: Step | None = None
    seconds_left: float | None = None


class Background:
    """The commands that were asked for; those beyond MOST_WAITING are not taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coming: OrderedDict[Hashable, _Job] = OrderedDict()
        self._ended: OrderedDict[Hashable, str] = OrderedDict()
        self._process: subprocess.Popen[str] | None = None
        self._closed = False

    def ask(
        self, key: Hashable, words: list[str], then: Callable[[], None] = lambda: None, urgent: bool = False
    ) -> str | None:
        """Have ``python -m WORDS`` done, and then ``then``, once for a key; returns at once.

        What is urgent comes before what is not. None: it is not done. "": it is. Else it has failed, with this text.
        """
        with self._lock:
            if key in self._ended:
                return self._ended[key]
            if key not in self._coming and len(self._coming) < MOST_WAITING and not self._closed:
                self._coming[key] = _Job(words, then, urgent)
                if len(self._coming) == 1:
                    threading.Thread(target=self._work, name="background", daemon=True).start()
                for other, job in list(self._coming.items())[1:] if urgent else ():
                    if not job.urgent:
                        self._coming.move_to_end(other)
        return None

    def progress(self, key: Hashable) -> Progress:
        """Return how far the work for a key is; what was not taken has all others before it."""
        with self._lock:
            keys = [*self._coming]
            if key not in keys or keys.index(key):
                return Progress(keys.index(key) if key in keys else len(keys))
            job = self._coming[key]
            return Progress(0, job.steps[-1] if job.steps else None, seconds_left(job.steps))

    def forget(self, key: Hashable) -> None:
        """Let a key be asked for anew."""
        with self._lock:
            self._ended.pop(key, None)

    def close(self) -> None:
        """End what is at work; nothing more is taken."""
        with self._lock:
            self._closed = True
            self._coming.clear()
            if self._process is not None:
                self._process.kill()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._coming:
                    return
                key, job = next(iter(self._coming.items()))
            said = self._done(job)
            with self._lock:
                self._ended[key] = said
                while len(self._ended) > MOST_REMEMBERED:
                    self._ended.popitem(last=False)
                if self._coming.pop(key, None) is None or not self._coming:
                    return

    def _done(self, job: _Job) -> str:
        line = [sys.executable, "-m", *job.words]
        with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            self._process = process
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, PRIORITY)
            assert process.stderr is not None
            for said in process.stderr:
                job.hear(said)
        self._process = None
        if process.returncode:
            return job.said[-1] if job.said else f"It ended with status {process.returncode}."
        try:
            job.then()
        except (PMSIError, OSError) as error:
            return str(error)
        return ""


BACKGROUND = Background()
