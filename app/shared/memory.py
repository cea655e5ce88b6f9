"""The memory that the server may take: PMSI_MEMORY, the values that are kept within, and making room."""

import ctypes
import gc
import os
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import streamlit as st
from PIL import Image
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

from app.shared.work import SHORT, Line, turn
from pmsi.base.errors import ConfigError, PMSIError

MEMORY = "PMSI_MEMORY"
"""Environment: the bytes that the server may take beyond its loaded libraries, such as 2G or 512M."""
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
DEFAULT = "2G"

KEPT, ANSWERS, UPLOADS = 0.35, 0.05, 0.15
"""Shares of the budget: for the values of `once`, for those of st.cache_data, and for files that visitors sent."""
LARGEST = 0.25
"""Share of the budget that one piece of work may take; the last fifth is for the short work of others beside it."""
FULL = 0.7
"""Share of the budget above which kept values make room."""

MANY = 64
"""Values of a sequence that are looked at for its size."""

Value = TypeVar("Value")


class RoomError(PMSIError):
    """Something would take more memory than there is."""


def budget() -> int:
    """Return the bytes that the server may take; raises ConfigError."""
    text = os.environ.get(MEMORY) or DEFAULT
    found = re.fullmatch(r"(\d{1,6}) ?([KMG])(I?B)?", text.strip().upper())
    if found is None or not int(found[1]):
        raise ConfigError(f"{MEMORY} = {text!r}: expected a number with its unit, such as 512M or 2G.")
    return int(found[1]) * UNITS[found[2]]


# The process


_LIBRARIES: list[int] = []
"""The bytes that the process had when all was loaded; empty before that, and where nobody serves."""


def loaded() -> None:
    """Note that all libraries are loaded: what is taken from now on counts."""
    _LIBRARIES[:] = [resident()]


def used() -> int:
    """Return how many bytes the process has taken since `loaded`."""
    return max(0, resident() - _LIBRARIES[0]) if _LIBRARIES else 0


def resident() -> int:
    """Return how many bytes of memory the process has; 0 where that is not known."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


M_ARENA_MAX, ARENAS = -8, 2
"""glibc's number of that setting, and how many heaps threads share: one for each would never be given back whole."""


def share_heaps() -> None:
    """Let all threads take memory from few heaps; each run of a page is a thread of its own. For glibc only."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_ARENA_MAX, ARENAS)


def tidy() -> None:
    """Collect garbage, give back what is free, and make room where the budget is nearly used up."""
    gc.collect()
    _give_back()
    if used() > FULL * budget():
        forget()
        gc.collect()
        _give_back()


def _give_back() -> None:
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)


def require_room(size: int, what: str) -> None:
    """Make room for ``size`` bytes; raises RoomError where there is not so much."""
    if used() + size > FULL * budget() and used() - _KEPT.size + size <= budget():
        tidy()
        _say()
    free = max(0, min(int(LARGEST * budget()), budget() - used()))
    if size > free:
        raise RoomError(
            f"{what} takes about {size / 2**20:,.0f} MB of memory, and {free / 2**20:,.0f} MB are free for it "
            f"here. Choose less of it, or start the app with a larger {MEMORY}."
        )


SAID, SAID_FOR_S = "made-room", 60
"""The session's key of when a visitor was told that room was made, and for how long that is enough."""


def _say() -> None:
    now = time.monotonic()
    if get_script_run_ctx(suppress_warning=True) is not None and now >= st.session_state.get(SAID, now):
        st.session_state[SAID] = now + SAID_FOR_S
        st.toast("The server made room in its memory: some of this is computed anew.", icon=":material/memory:")


# Values that are kept


@dataclass(frozen=True, slots=True)
class _Entry:
    value: Any
    size: int
    until: float


class _Kept:
    """Values by key, at most `KEPT` of the budget; the least recently used go first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self.size = 0
        self._making: dict[Hashable, threading.RLock] = {}

    def find(self, key: Hashable) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.until < time.monotonic():
                self._drop(key)
                return None
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def put(self, key: Hashable, value: Any, size: int, ttl: float) -> None:
        entry = _Entry(value, size, time.monotonic() + ttl)
        with self._lock:
            self._drop(key)
            self._entries[key] = entry
            self.size += entry.size
            while self.size > KEPT * budget():  # one that is larger than all of it is not kept
                self._drop(next(iter(self._entries)))

    def making(self, key: Hashable) -> threading.RLock:
        """Return the lock under which the value of a key is made."""
        with self._lock:
            return self._making.setdefault(key, threading.RLock())

    def made(self, key: Hashable) -> None:
        with self._lock:
            self._making.pop(key, None)

    def clear(self, kinds: tuple[str, ...]) -> None:
        with self._lock:
            for key in [key for key in self._entries if not kinds or (isinstance(key, tuple) and key[0] in kinds)]:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        self.size -= entry.size if entry else 0


_KEPT = _Kept()


def once(
    key: Hashable,
    make: Callable[[], Value],
    *,
    line: Line | None = SHORT,
    doing: str = "",
    ttl: float = float("inf"),
    size: Callable[[Value], int] | None = None,
) -> Value:
    """Return ``make()``, made once for all visitors for as long as there is room. Not to be changed by anybody.

    The making waits for its turn in ``line``, and calls `once` for nothing else then; ``doing`` says on the page what
    is made. ``size`` tells the bytes of a value, by default `size_of`.
    """
    entry = _KEPT.find(key)
    if entry is not None:
        return entry.value
    with _KEPT.making(key):
        entry = _KEPT.find(key)  # another visitor may have made it meanwhile
        if entry is not None:
            return entry.value
        try:
            require_room(0, "This")
            with turn(line, doing):
                value = make()
            _KEPT.put(key, value, (size or size_of)(value), ttl)
        finally:
            _KEPT.made(key)
    return value


def replace(key: Hashable, value: Value, size: Callable[[Value], int]) -> None:
    """Keep another value in the place of the one that `once` made for a key."""
    _KEPT.put(key, value, size(value), float("inf"))


def forget(*kinds: str) -> None:
    """Forget the values whose keys begin with one of some words; without any, all that is kept."""
    _KEPT.clear(kinds)
    if not kinds:
        st.cache_data.clear()


def size_of(value: Any) -> int:
    """Return about how many bytes a value takes."""
    match value:
        case np.ndarray():
            return value.nbytes
        case Image.Image():
            return 4 * value.width * value.height
        case str() | bytes():
            return len(value)
        case Mapping():
            return sum(64 + size_of(one) for one in value.values())
        case tuple() | list():
            some = value[:MANY]  # of many, all are alike
            return sum(64 + size_of(one) for one in some) * len(value) // max(1, len(some))
    if is_dataclass(value):
        return sum(64 + size_of(getattr(value, about.name)) for about in fields(value))
    return sys.getsizeof(value)
