"""Entries of the cache: their size, marking them as in use, and removing unused ones.

A process that uses an entry holds a shared lock on a file, its mark; the kernel releases the lock when the process
ends. An entry in use is never removed.
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
    """One entry: its mark, the files and folders to remove with it, their bytes, and the time of its last use in ns."""

    mark: Path
    places: tuple[Path, ...]
    size: int
    used_ns: int

    @classmethod
    def file(cls, path: Path) -> "CacheEntry":
        """Return the entry of a file that is its own mark."""
        about = path.stat()
        return cls(path, (path,), about.st_size, about.st_mtime_ns)


def file_entries(folder: Path, *endings: str) -> list[CacheEntry]:
    """Return the files of a folder with one of some endings, each an entry of its own."""
    return [CacheEntry.file(path) for ending in endings for path in folder.glob(f"*{ending}")]


def mark_in_use(mark: Path) -> int:
    """Return a file descriptor; the entry is in use until it is closed, here and in forked children."""
    file = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    fcntl.flock(file, fcntl.LOCK_SH)
    os.utime(file)
    return file


def make_room(found: Iterable[CacheEntry], fits: Callable[[int], bool]) -> bool:
    """Remove unused entries, the longest unused first, until ``fits(bytes of all entries)``; return whether it does.

    The caller holds the lock under which these entries are marked.
    """
    entries = sorted(found, key=lambda entry: entry.used_ns)
    taken = sum(entry.size for entry in entries)
    for entry in entries:
        if fits(taken):
            break
        if remove_unused(entry):
            taken -= entry.size
    return fits(taken)


def remove_unused(entry: CacheEntry) -> bool:
    """Remove an entry and return True; return False if it is in use."""
    file = os.open(entry.mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for place in entry.places:
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def size_below(folder: Path) -> int:
    """Return the bytes of all files in a folder and below; files that vanish meanwhile do not count."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118
    return size
