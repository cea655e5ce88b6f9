"""Things kept between runs because they may be needed again: how much of the disk they take, and which may go.

Whoever uses one holds a shared lock on its mark, a file, until the kernel drops the lock with the process; what is in
use is never removed. This module does not know what the things are, nor how they are made.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One thing: its mark, what is removed with it (files and folders), their bytes, and its last use in ns."""

    mark: Path
    places: tuple[Path, ...]
    size: int
    used_ns: int

    @classmethod
    def file(cls, path: Path) -> "CacheEntry":
        """Return a file that is its own mark."""
        about = path.stat()
        return cls(path, (path,), about.st_size, about.st_mtime_ns)


def mark_in_use(mark: Path) -> int:
    """Mark a thing as in use, now and for as long as the file that is returned is open here or in a forked child."""
    file = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    fcntl.flock(file, fcntl.LOCK_SH)
    os.utime(file)
    return file


def make_room(found: Iterable[CacheEntry], fits: Callable[[int], bool]) -> bool:
    """Remove things, the longest unused first, until ``fits`` (the bytes that all take) is true; return whether it is.

    Only for whoever holds the lock under which these things are marked.
    """
    things = sorted(found, key=lambda kept: kept.used_ns)
    taken = sum(kept.size for kept in things)
    for kept in things:
        if fits(taken):
            break
        if remove_unused(kept):
            taken -= kept.size
    return fits(taken)


def remove_unused(kept: CacheEntry) -> bool:
    """Remove a thing and return True, or False where somebody uses it."""
    file = os.open(kept.mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for place in kept.places:
            _remove(place)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def size_below(folder: Path) -> int:
    """Return the bytes of all files in a folder and below; what vanishes meanwhile counts for nothing."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118
    return size


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
