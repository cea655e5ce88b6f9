"""File locks that the kernel releases when their process ends, even after kill -9.

On Linux these are open-file-description locks: `is_held` can test one without taking it (``F_OFD_GETLK``), so readers
never block a worker. Elsewhere they are ``flock`` locks: there `is_held` takes a short shared lock, and `Lock.take`
retries for `RETRY_S`.
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

RETRY_S = 1.0
"""Seconds for which `Lock.take` retries without OFD locks, since a reader may hold a short shared lock."""

_FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length (0: to the end), process
_open: set[int] = set()


class Lock:
    """An exclusive lock on the file ``path``, which is created if it is missing and never removed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def take(self, *, wait: bool = False) -> bool:
        """Take the lock and return True. If another process holds it, wait for it (``wait``) or return False."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
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
        """Release the lock; does nothing if it is not held."""
        file, self._file = self._file, None
        if file in _open:  # not so in a forked child, where it was closed at the fork
            _open.discard(file)
            os.close(file)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock on ``path`` and hold it within the ``with`` block."""
    lock = Lock(path)
    lock.take(wait=True)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether a process holds the lock on ``path``; False if it cannot be opened. Changes nothing."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would block
    except OSError:  # none, or nothing that a worker could have locked
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
    end = time.monotonic() + RETRY_S
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
    """Close the parent's lock files in a forked child, so that the locks end with the parent."""
    for file in _open:
        os.close(file)
    _open.clear()


os.register_at_fork(after_in_child=_forget)
