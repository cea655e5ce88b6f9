"""The cache as people see it: what is kept there between runs, what it takes, and clearing it of what nobody uses.

All of it is made again when it is needed. How each thing is kept is the affair of `pmsi.data`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pmsi.base.locks import locked
from pmsi.data.cache.disk import CacheEntry, remove_unused
from pmsi.data.cache.pixels import pixel_entries
from pmsi.data.cache.zips import zip_entries
from pmsi.data.checking import cache_folder


@dataclass(frozen=True)
class CacheSection:
    """A row of SECTIONS: a folder of the cache, and what finds the things in it."""

    title: str
    folder: str
    found: Callable[[Path], list[CacheEntry]]


def _answers(folder: Path) -> list[CacheEntry]:
    return [CacheEntry.file(path) for path in folder.glob("images-*.json")]


SECTIONS: dict[str, CacheSection] = {
    "pixels": CacheSection("images, decoded and resized", "pixels", pixel_entries),
    "zips": CacheSection("zips, unpacked", "zips", zip_entries),
    "checks": CacheSection("which images were checked", ".", _answers),
}


@dataclass(frozen=True)
class Usage:
    """How many things a shelf holds, and their bytes."""

    things: int
    size: int


def usage() -> dict[str, Usage]:
    """Return what each of SECTIONS holds."""
    return _summed(lambda kept: True)


def clear() -> dict[str, Usage]:
    """Remove all that no process uses, and return what was removed."""
    return _summed(remove_unused)


def _summed(counts: Callable[[CacheEntry], bool]) -> dict[str, Usage]:
    """Return by shelf how much there is of what counts."""
    found = {}
    for name, shelf in SECTIONS.items():
        things = _counted(cache_folder() / shelf.folder, shelf, counts)
        found[name] = Usage(len(things), sum(kept.size for kept in things))
    return found


def _counted(folder: Path, shelf: CacheSection, counts: Callable[[CacheEntry], bool]) -> list[CacheEntry]:
    if not folder.is_dir():
        return []
    with locked(folder / "lock"):  # under which things are marked and removed
        return [kept for kept in shelf.found(folder) if counts(kept)]
