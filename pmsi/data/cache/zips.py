"""The unpacked zips in the cache: which are in use, and which are removed when another one needs room.

They are unpacked by `pmsi.data.readers.archive`. Beside the folder HOME of each zip lie
HOME.use, its mark, HOME.lock, held while it is unpacked, and what killed processes left: .HOME.*.tmp.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pmsi.base.locks import locked
from pmsi.data.cache.disk import CacheEntry, make_room, mark_in_use, size_below

KEPT_BYTES = 50 * 10**9
"""What all unpacked zips may take together: before another is unpacked, those unused for longest are removed."""

SPARE_BYTES = 10**9
"""What unpacking leaves free on the disk, for checkpoints."""

LOCK = "lock"
"""Held in the folder of all zips while one of them is marked, or some are removed."""

_held: dict[Path, int] = {}


@contextmanager
def using(home: Path) -> Iterator[None]:
    """Mark an unpacked zip, or one that the body unpacks, as in use by this process for good, unless the body fails."""
    with locked(home.parent / LOCK):
        if home not in _held or os.fstat(_held[home]).st_nlink == 0:  # somebody emptied the cache
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
    """Remove unpacked zips in ``folder`` that nobody uses, as far as there is no room for ``size`` bytes more."""

    def fits(taken: int) -> bool:
        return taken + size <= KEPT_BYTES and size + SPARE_BYTES <= shutil.disk_usage(folder).free

    with locked(folder / LOCK):
        make_room(zip_entries(folder), fits)


def zip_entries(folder: Path) -> list[CacheEntry]:
    """Return the unpacked zips in a folder of the cache, and what killed processes left of others.

    One that is being unpacked is in use, and grows meanwhile.
    """
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
