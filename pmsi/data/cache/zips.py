"""The unpacked archives in the cache: marking them as in use, and removing unused ones to make room.

`pmsi.data.readers.unpacking` unpacks them. Beside the folder HOME of each archive are HOME.use, its mark, HOME.lock,
held while it is unpacked, and leftovers of killed processes: .HOME.*.tmp.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pmsi.base.locks import locked
from pmsi.data.cache.disk import CacheEntry, make_room, mark_in_use, size_below
from pmsi.data.checking import cache_folder

KEPT_BYTES = 50 * 10**9
"""Limit of all unpacked archives together: before another is unpacked, the longest unused ones are removed."""

SPARE_BYTES = 10**9
"""Bytes that unpacking leaves free on the disk, for checkpoints."""

LOCK = "lock"
"""Name of the lock that is held while an archive is marked, or some are removed."""

_held: dict[Path, int] = {}


def zips_folder() -> Path:
    """Return the folder of unpacked archives in the cache."""
    return cache_folder() / "zips"


@contextmanager
def using(home: Path) -> Iterator[None]:
    """Mark an archive that is unpacked, or that the body unpacks, as in use for the life of this process.

    The mark is removed if the body raises.
    """
    with locked(home.parent / LOCK):
        if home not in _held or os.fstat(_held[home]).st_nlink == 0:  # the cache was deleted meanwhile
            _release(home)
            _held[home] = mark_in_use(_mark(home))
    try:
        yield
    except BaseException:
        _release(home)
        raise


def _release(home: Path) -> None:
    if home in _held:
        os.close(_held.pop(home))


def make_room_for(folder: Path, size: int) -> None:
    """Remove unused archives in ``folder``, the longest unused first, until ``size`` bytes more fit."""

    def fits(taken: int) -> bool:
        return taken + size <= KEPT_BYTES and size + SPARE_BYTES <= shutil.disk_usage(folder).free

    with locked(folder / LOCK):
        make_room(zip_entries(folder), fits)


def zip_entries(folder: Path) -> list[CacheEntry]:
    """Return the unpacked archives in a folder of the cache, and the leftovers of killed processes."""
    found = defaultdict(set)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name != LOCK:
            found[path.name.removeprefix(".").partition(".")[0]].add(path)
    return [_kept(folder / name, places) for name, places in found.items()]


def _kept(home: Path, places: set[Path]) -> CacheEntry:
    mark = _mark(home)
    used = mark if mark in places else home  # unpacked before there were marks
    used_ns = used.stat().st_mtime_ns if used.exists() else 0
    return CacheEntry(mark, (*places, mark), sum(size_below(place) for place in places), used_ns)


def _mark(home: Path) -> Path:
    return home.with_name(f"{home.name}.use")
