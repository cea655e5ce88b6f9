"""The cache as people see it: what is kept there between runs, what it takes, and clearing it of what nobody uses.

All of it is made again when it is needed. How each thing is kept is the affair of `pmsi.data`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pmsi.base.locks import locked
from pmsi.data.cache.disk import Kept, remove_unused
from pmsi.data.cache.pixels import kept_pixels
from pmsi.data.cache.zips import kept_zips
from pmsi.data.checking import cache_folder


@dataclass(frozen=True)
class Shelf:
    """A row of SHELVES: a folder of the cache, and what finds the things in it."""

    title: str
    folder: str
    found: Callable[[Path], list[Kept]]


def _answers(folder: Path) -> list[Kept]:
    return [Kept.file(path) for path in folder.glob("images-*.json")]


SHELVES: dict[str, Shelf] = {
    "pixels": Shelf("images, decoded and resized", "pixels", kept_pixels),
    "zips": Shelf("zips, unpacked", "zips", kept_zips),
    "checks": Shelf("which images were checked", ".", _answers),
}


@dataclass(frozen=True)
class Taken:
    """How many things a shelf holds, and their bytes."""

    things: int
    size: int


def taken() -> dict[str, Taken]:
    """Return what each of SHELVES holds."""
    return _summed(lambda kept: True)


def clear() -> dict[str, Taken]:
    """Remove all that no process uses, and return what was removed."""
    return _summed(remove_unused)


def _summed(counts: Callable[[Kept], bool]) -> dict[str, Taken]:
    """Return by shelf how much there is of what counts."""
    found = {}
    for name, shelf in SHELVES.items():
        things = _counted(cache_folder() / shelf.folder, shelf, counts)
        found[name] = Taken(len(things), sum(kept.size for kept in things))
    return found


def _counted(folder: Path, shelf: Shelf, counts: Callable[[Kept], bool]) -> list[Kept]:
    if not folder.is_dir():
        return []
    with locked(folder / "lock"):  # under which things are marked and removed
        return [kept for kept in shelf.found(folder) if counts(kept)]
