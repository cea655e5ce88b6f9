"""Work that no visitor waits for: commands in processes of their own, one at a time and at low priority."""

import contextlib
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from pmsi.base.errors import PMSIError

MOST_WAITING, MOST_REMEMBERED = 8, 256
PRIORITY = 10
"""How far the work stands back behind that of visitors (nice)."""


class Background:
    """The commands that were asked for; those beyond MOST_WAITING are not taken."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._coming: OrderedDict[Hashable, tuple[list[str], Callable[[], None]]] = OrderedDict()
        self._ended: OrderedDict[Hashable, str] = OrderedDict()
        self._process: subprocess.Popen[str] | None = None
        self._closed = False

    def ask(self, key: Hashable, words: list[str], then: Callable[[], None] = lambda: None) -> str | None:
        """Have ``python -m WORDS`` done, and then ``then``, once for a key; returns at once.

        None: it is not done. "": it is. Else it has failed, with this text.
        """
        with self._lock:
            if key in self._ended:
                return self._ended[key]
            if key not in self._coming and len(self._coming) < MOST_WAITING and not self._closed:
                self._coming[key] = words, then
                if len(self._coming) == 1:
                    threading.Thread(target=self._work, name="background", daemon=True).start()
        return None

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
                key, (words, then) = next(iter(self._coming.items()))
            said = self._done(words, then)
            with self._lock:
                self._ended[key] = said
                while len(self._ended) > MOST_REMEMBERED:
                    self._ended.popitem(last=False)
                if self._coming.pop(key, None) is None or not self._coming:
                    return

    def _done(self, words: list[str], then: Callable[[], None]) -> str:
        line = [sys.executable, "-m", *words]
        with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            self._process = process
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, PRIORITY)
            said = process.communicate()[1].strip()
        self._process = None
        if process.returncode:
            return said.splitlines()[-1] if said else f"It ended with status {process.returncode}."
        try:
            then()
        except (PMSIError, OSError) as error:
            return str(error)
        return ""


BACKGROUND = Background()
