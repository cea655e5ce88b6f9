"""The tree of files below a folder: its images, and counts of other files.

Links are followed. Files of the operating system and of network drives, and files that are not images by their content,
are only counted.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from pmsi.data.dataset import Problem
from pmsi.data.images import is_image

SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif",
     ".ppm", ".pgm", ".pbm", ".pnm", ".jp2")
)  # fmt: skip
"""Suffixes of images in lower case: such a file is an image, or a problem. Other files are recognised by content."""

SYSTEM = frozenset(
    ("@eadir", "#recycle", "#snapshot", "@recycle", "$recycle.bin", "lost+found", "system volume information",
     "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
)  # fmt: skip
"""Names in lower case of files and folders that operating systems and network drives create."""

LISTS = frozenset((".txt", ".csv", ".tsv", ".jsonl", ".mat", ".parquet"))
"""Suffixes, in lower case, of lists of images and of tables with images."""


@dataclass(frozen=True, slots=True)
class File:
    """An image file: its path, and the parts of its path from the tree's root."""

    parts: tuple[str, ...]
    path: Path

    @property
    def key(self) -> str:
        return "/".join(self.parts)


@dataclass(frozen=True)
class Tree:
    """The files below a folder: images in the order of their keys, problems, and counts of other files by reason.

    ``lists`` are files with a suffix of LISTS, and ``bare`` folders without any image, below ``top``, the folder that
    was given; ``root`` may be one inside it.
    """

    root: Path
    images: tuple[File, ...]
    problems: tuple[Problem, ...] = ()
    passed_over: Counter[str] = field(default_factory=Counter)
    lists: tuple[Path, ...] = ()
    bare: tuple[Path, ...] = ()
    top: Path = Path()

    def tops(self) -> dict[str, list[File]]:
        """Return the images below each folder of the root."""
        found: dict[str, list[File]] = {}
        for file in self.images:
            if len(file.parts) > 1:
                found.setdefault(file.parts[0], []).append(file)
        return found

    def below(self, name: str) -> "Tree":
        """Return the tree of one folder of the root; images directly in the root become problems."""
        inner = [File(file.parts[1:], file.path) for file in self.images if len(file.parts) > 1]
        reason = f"it lies beside {name}/, which holds the classes"
        beside = [Problem(file.key, reason) for file in self.images if len(file.parts) == 1]
        return replace(self, root=self.root / name, images=tuple(inner), problems=(*self.problems, *beside))


def is_system(name: str) -> bool:
    """Return whether a file or folder belongs to the system, by its name: hidden, or one of `SYSTEM`."""
    return name.startswith(".") or name.casefold() in SYSTEM


def system_reason(name: str) -> str:
    """Return the reason under which a file of the system is counted."""
    return f"of the system ({name})" if name.casefold() in SYSTEM else counted("hidden", name)


def folders_below(root: Path, depth: int = 3) -> Iterator[Path]:
    """Yield the folders below ``root`` to this depth, those further up first; not those of the system."""
    level = [root]
    for _ in range(depth):
        level = [inner for place in level for inner in _folders_in(place)]
        yield from level


def _folders_in(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as found:
            return sorted(Path(entry.path) for entry in found if _is_folder(entry) and not is_system(entry.name))
    except OSError:
        return []


def read_tree(root: Path) -> Tree:
    """Return the tree below ``root``; files and folders that cannot be read are problems."""
    images: list[File] = []
    lists: list[Path] = []
    folders: dict[Path, None] = {}
    problems: list[Problem] = []
    passed_over: Counter[str] = Counter()
    for file in _files(root, (), frozenset([os.path.realpath(root)]), folders, problems, passed_over):
        suffix = file.path.suffix.lower()
        if not _is_text(file.key):
            problems.append(Problem(repr(file.key), "its name is not valid UTF-8; rename it"))
        elif suffix in SUFFIXES or is_image(file.path):
            images.append(file)
        else:
            passed_over[counted("not an image", file.parts[-1])] += 1
            if suffix in LISTS:
                lists.append(file.path)
    images.sort(key=lambda file: file.key)
    filled = {folder for place in {file.path.parent for file in images} for folder in (place, *place.parents)}
    bare = tuple(folder for folder in folders if folder not in filled)
    return Tree(root, tuple(images), tuple(problems), passed_over, tuple(lists), bare, root)


def counted(reason: str, name: str) -> str:
    """Return the key under which an unused file is counted: the reason, and its suffix."""
    return f"{reason} ({Path(name).suffix.lower() or 'no suffix'})"


def _files(
    place: Path,
    parts: tuple[str, ...],
    trail: frozenset[str],
    folders: dict[Path, None],
    problems: list[Problem],
    passed_over: Counter[str],
) -> Iterator[File]:
    """Yield the files below ``place``, and add the ``folders``; ``trail`` has the real paths of those above it."""
    try:
        with os.scandir(place) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        problems.append(Problem("/".join(parts) or str(place), f"it cannot be read ({error.strerror})"))
        return
    for entry in entries:
        inner = (*parts, entry.name)
        if is_system(entry.name):
            passed_over[system_reason(entry.name)] += _count(entry)
        elif not _is_folder(entry):
            yield File(inner, Path(entry.path))
        elif (real := os.path.realpath(entry.path)) in trail:
            problems.append(Problem("/".join(inner), "it is a link to a folder above it"))
        else:
            folders[Path(entry.path)] = None
            yield from _files(Path(entry.path), inner, trail | {real}, folders, problems, passed_over)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _count(entry: os.DirEntry) -> int:
    """Return the number of files of an entry, 1 or those below a folder; links are not followed."""
    if not entry.is_dir(follow_symlinks=False):
        return 1
    return sum(len(names) for _, _, names in os.walk(entry.path))


def visible(name: str) -> str:
    """Return the name of a class as it is seen: in Unicode NFC, without blanks at its ends."""
    return unicodedata.normalize("NFC", name).strip() or name


def _is_text(name: str) -> bool:
    """Return whether a file name is valid UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
