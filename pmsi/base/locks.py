"""Locks that die with their holder: the kernel drops them, even after kill -9, so nothing has to be cleaned up.

On Linux these are open-file-description locks, because they can be asked about without being taken (``F_OFD_GETLK``):
a reader who looks never gets in the way of a worker who takes. Elsewhere they are ``flock`` locks; there a look is a
short shared lock, and takers try again for a moment. This module does not know what is locked.
"""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OFD = hasattr(fcntl, "F_OFD_GETLK")
"""Whether this system can ask about a lock without taking it."""

LOOK_S = 1.0
"""Without OFD locks: how long a taker tries again, in case only a reader is looking."""

_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length (0: to the end), process
_open: set[int] = set()


class Lock:
    """An exclusive lock on the file ``path``, which is made if it is missing and never removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def take(self, *, wait: bool = False) -> bool:
        """Take the lock and return True; if somebody has it, wait for them, or return False."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            taken = _take(file, wait)
        except BaseException:
            os.close(file)
            raise
        if not taken:
            os.close(file)
            return False
        self._file = file
        _open.add(file)
        return True

    def release(self) -> None:
        """Give the lock back; harmless where it is not held."""
        file, self._file = self._file, None
        if file in _open:  # not so in a forked child, where it was closed at the fork
            _open.discard(file)
            os.close(file)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock on ``path`` for a few statements, after waiting for whoever has it."""
    lock = Lock(path)
    lock.take(wait=True)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether anybody holds the lock on ``path``. Changes nothing and disturbs nobody."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if OFD:
            answer = fcntl.fcntl(file, fcntl.F_OFD_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)
        return not _flock(file, fcntl.LOCK_SH)
    finally:
        os.close(file)


def _take(file: int, wait: bool) -> bool:
    if OFD:
        command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
        try:
            fcntl.fcntl(file, command, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except (BlockingIOError, PermissionError):
            return False
        return True
    end = time.monotonic() + LOOK_S
    while not _flock(file, fcntl.LOCK_EX):
        if not wait and time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def _flock(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _forget() -> None:
    """In a forked child: let go of the parent's locks, so that they end with the parent and not with its children."""
    for file in _open:
        os.close(file)
    _open.clear()


os.register_at_fork(after_in_child=_forget)
