"""The size of the cache by section, and clearing it. Everything in it can be made again."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pmsi.base.locks import locked
from pmsi.data.cache.disk import CacheEntry, file_entries, remove_unused, size_below
from pmsi.data.cache.pixels import pixel_entries
from pmsi.data.cache.zips import zip_entries
from pmsi.data.checking import cache_folder


@dataclass(frozen=True)
class CacheSection:
    """A row of SECTIONS: a folder of the cache, and the function that lists its entries."""

    title: str
    folder: str
    entries: Callable[[Path], list[CacheEntry]]


PHONE = "phone"
"""The folder of pages for phones, each in a folder of its own; the app makes them."""


def page_entries(folder: Path) -> list[CacheEntry]:
    """Return the pages in a folder of the cache, and the archives that were left behind."""
    pages = [
        CacheEntry(page / "index.html", (page,), size_below(page), page.stat().st_mtime_ns)
        for page in folder.iterdir()
        if page.is_dir()
    ]
    return [*pages, *file_entries(folder, ".zip")]


SECTIONS: dict[str, CacheSection] = {
    "pixels": CacheSection("images, decoded and resized", "pixels", pixel_entries),
    "zips": CacheSection("zips, unpacked", "zips", zip_entries),
    "graphs": CacheSection("models as graphs", "graphs", lambda folder: file_entries(folder, ".onnx", ".refused")),
    "phone": CacheSection("pages for phones", PHONE, page_entries),
    "checks": CacheSection(
        "which images were checked", ".", lambda folder: [*map(CacheEntry.file, folder.glob("images-*.json"))]
    ),
}


@dataclass(frozen=True)
class Usage:
    """The number of entries in a section, and their bytes."""

    things: int
    size: int


def usage() -> dict[str, Usage]:
    """Return the usage of each of SECTIONS."""
    return _usage(remove=False)


def clear() -> dict[str, Usage]:
    """Remove all entries that no process uses, and return the usage of those."""
    return _usage(remove=True)


def _usage(remove: bool) -> dict[str, Usage]:
    found = {}
    for name, section in SECTIONS.items():
        folder, entries = cache_folder() / section.folder, []
        if folder.is_dir():
            with locked(folder / "lock"):  # held wherever entries are marked or removed
                entries = [entry for entry in section.entries(folder) if not remove or remove_unused(entry)]
        found[name] = Usage(len(entries), sum(entry.size for entry in entries))
    return found
