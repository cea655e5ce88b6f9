"""Import of pictures as a new data set: checked one by one, then written as a whole or not at all.

    data/garden/jay/1.jpg          data/garden/train/jay/1.jpg
    data/garden/tit/2.jpg    or    data/garden/test/jay/2.jpg

The source is a folder, a zip or single files, and is not trusted: names are made harmless, damaged images are left out
and reported, and existing data sets are not changed. `pmsi.data.readers.folder` reads the result.
"""

import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pmsi.base.errors import DataError
from pmsi.base.locks import Lock
from pmsi.data.checking import Progress, confined
from pmsi.data.dataset import Dataset, Problem, Sample
from pmsi.data.images import MAX_FILE_BYTES
from pmsi.data.readers.archive import LIMITS, Limits
from pmsi.data.readers.folder import find_splits, folder, is_split_name, unwrapped
from pmsi.data.readers.tree import SUFFIXES, read_tree
from pmsi.data.readers.unpacking import require_space, unpack_into

ROOT = "PMSI_DATASETS"
"""Environment variable with the folder of imported data sets."""

NAME_BYTES = 200
"""Longest name. File systems allow 255 bytes; a number may be added."""

Provide = Callable[[Path], Path]
"""(folder for new files) → the folder to read: the same, filled, or an existing one."""


@dataclass(frozen=True, slots=True)
class Imported:
    """An imported data set: its folder, its numbers of classes and images, and the pictures that were left out."""

    folder: Path
    classes: int
    images: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A single file to import: its class, its original name, and its bytes."""

    class_name: str
    name: str
    data: bytes


def datasets_root() -> Path:
    """Return the folder of imported data sets: $PMSI_DATASETS, or ``data`` in the current folder."""
    return Path(os.environ.get(ROOT) or "data")


def imported_sets(root: Path | None = None) -> dict[str, Path]:
    """Return the folders of the imported data sets by name."""
    try:
        found = sorted((root or datasets_root()).iterdir())
    except OSError:
        return {}
    return {place.name: place for place in found if place.is_dir() and not place.name.startswith(".")}


def safe_name(text: str) -> str:
    """Return a harmless file name: letters, digits, spaces and ``.,_()+-``; "" if nothing is left."""
    name = re.sub(r"[^\w .,()+-]", "-", unicodedata.normalize("NFC", text)).strip(" ._-")
    return name.encode()[:NAME_BYTES].decode(errors="ignore").strip(" ._-")


def import_dataset(
    source: Path,
    name: str,
    *,
    root: Path | None = None,
    progress: Progress | None = None,
    limits: Limits = LIMITS,
    encoding: str | None = None,
    allows: Callable[[Path], bool] | None = None,
) -> Imported:
    """Copy the class folders in ``source``, a folder or an archive, into a new data set ``name`` below ``root``.

    Splits are kept. ``encoding`` is that of a zip's names, if the zip does not say it. Pictures of a folder whose real
    place ``allows`` refuses are left out. ``progress`` is called for unpacking, checking and copying, one after the
    other. Raises DataError if the name exists or is empty, if ``source`` is neither a folder of classes nor an archive
    of one (`pmsi.data.readers.archive.contents`), if there are too few usable images, or if the disk is full.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source} does not exist. Expected a folder of class folders, or a zip of them.")
    if source.is_dir():
        return _import(name, lambda place: source, root, progress, shutil.copyfile, allows)

    def unpack(place: Path) -> Path:
        return unpack_into(source, place, progress, limits, encoding)

    return _import(name, unpack, root, progress, os.rename)


def import_pictures(
    pictures: Iterable[Picture], name: str, *, root: Path | None = None, progress: Progress | None = None
) -> Imported:
    """Write single files into a new data set ``name`` below ``root``; raises what `import_dataset` does."""
    refused: list[Problem] = []

    def write(place: Path) -> Path:
        place.mkdir()
        for number, picture in enumerate(pictures):
            if reason := _refusal(picture):
                refused.append(Problem(f"{picture.class_name}/{picture.name}", reason))
                continue
            home = place / _class_folder(picture.class_name)
            home.mkdir(exist_ok=True)
            (home / f"{number:06d}-{_file_name(picture.name)}").write_bytes(picture.data)
        return place

    done = _import(name, write, root, progress, os.rename)
    return replace(done, problems=(*refused, *done.problems))


def _refusal(picture: Picture) -> str | None:
    if len(picture.data) > MAX_FILE_BYTES:
        return f"its file has {len(picture.data) / 2**20:.0f} MB, more than {MAX_FILE_BYTES // 2**20}"
    if PurePosixPath(picture.name).suffix.lower() not in SUFFIXES:
        return "its name does not end as that of an image, such as .jpg or .png"
    return None


def _import(
    name: str,
    provide: Provide,
    root: Path | None,
    progress: Progress | None,
    put: Callable[[Path, Path], object],
    allows: Callable[[Path], bool] | None = None,
) -> Imported:
    """Build the data set in a temporary folder, and rename it; ``put(from, to)`` moves or copies an image."""
    root = Path(root or datasets_root())
    target = _free_place(root, name)
    try:
        with _alone_in(root), tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=root) as scratch:
            source = provide(Path(scratch) / "source")
            found = folder(source, name=target.name, split="stratified", progress=progress)
            found = confined(found, allows) if allows is not None else found
            _require_classes(found, source)
            if put is not os.rename:
                size = sum(sample.path.stat().st_size for sample in (*found.train, *found.test) if sample.path)
                require_space(source, root, size)
            built = Path(scratch) / "built"
            count = _lay_out(found.classes, _by_split(found, source, allows), built, put, progress)
            _rename(built, target)
    except OSError as error:
        what = f"{target} cannot be written ({error.strerror or error})"
        raise DataError(f"{what}. Set {ROOT} to another folder.") from error
    return Imported(target, len(found.classes), count, found.problems)


@contextmanager
def _alone_in(root: Path) -> Iterator[None]:
    """Hold the lock of imports into ``root``, and remove the leftovers of killed imports; DataError if it is held."""
    root.mkdir(parents=True, exist_ok=True)
    lock = Lock(root / ".importing.lock")
    if not lock.take():
        raise DataError(f"Another data set is being imported into {root}. Try again when that is done.")
    try:
        for leftover in root.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()


def _free_place(root: Path, name: str) -> Path:
    """Return the new data set's folder; DataError if the name is empty, or exists in any capitalisation."""
    safe = safe_name(name)
    if not safe:
        raise DataError(f"The name {name!r} has no letter or digit. Expected a name such as garden-birds.")
    taken = {path.name.casefold() for path in root.iterdir()} if root.is_dir() else set()
    if safe.casefold() in taken:
        raise DataError(
            f"There is a data set {safe!r} in {root} already, and it is left as it is. Choose another name."
        )
    return root / safe


def _rename(built: Path, target: Path) -> None:
    """Rename the finished data set; DataError if its place has been taken meanwhile."""
    try:
        built.rename(target)
    except OSError as error:
        if target.exists():
            raise DataError(f"{target} was made meanwhile, and is left as it is. Choose another name.") from error
        raise


def _require_classes(found: Dataset, source: Path) -> None:
    reasons = "; ".join(f"{problem.key}: {problem.reason}" for problem in found.problems[:3])
    left_out = f" {len(found.problems)} pictures were left out ({reasons})." if reasons else ""
    if len(found.classes) < 2 or not found.test:
        raise DataError(
            f"Found {len(found.classes)} classes with {len(found.train)} training and {len(found.test)} test images in "
            f"{source.name}.{left_out} Expected two classes or more, with two images or more each."
        )


def _by_split(found: Dataset, source: Path, allows: Callable[[Path], bool] | None) -> list[tuple[str, Sample]]:
    """Return all images, each with the folder of its split, or "" without splits."""
    roles = find_splits(unwrapped(read_tree(source)))
    if roles is None:
        return [("", sample) for sample in (*found.train, *found.test)]
    tested = "test" if "test" in roles else "val"
    split = [("train", sample) for sample in found.train] + [(tested, sample) for sample in found.test]
    if {"test", "val"} <= roles.keys():
        labels = {name: label for label, name in enumerate(found.classes)}
        other = folder(source, test_on="val")
        other = confined(other, allows) if allows is not None else other
        known = [sample for sample in other.test if other.classes[sample.label] in labels]
        split += [("val", replace(sample, label=labels[other.classes[sample.label]])) for sample in known]
    return split


def _lay_out(
    classes: Iterable[str],
    samples: list[tuple[str, Sample]],
    built: Path,
    put: Callable[[Path, Path], object],
    progress: Progress | None,
) -> int:
    """Put every image into the folder of its class, below that of its split, and return their number."""
    homes = _class_folders(classes)
    taken: set[tuple[str, str]] = set()
    for done, (split, sample) in enumerate(samples, 1):
        home = built / split / homes[sample.label]
        home.mkdir(parents=True, exist_ok=True)
        put(Path(sample.path or ""), home / _free_name(str(home), _inside(sample, bool(split)), taken))
        if progress is not None:
            progress(done, len(samples))
    return len(samples)


def _class_folders(classes: Iterable[str]) -> list[str]:
    """Return a harmless name for each class; DataError if two classes would get the same."""
    known: dict[str, str] = {}
    for name in classes:
        safe = _class_folder(name)
        if other := known.get(safe.casefold()):
            raise DataError(f"The classes {other!r} and {name!r} would both be called {safe!r}. Rename one of them.")
        known[safe.casefold()] = name
    return [_class_folder(name) for name in classes]


def _class_folder(name: str) -> str:
    safe = safe_name(name)
    if not safe:
        raise DataError(f"The class {name!r} has no letter or digit in its name. Give it another one.")
    return f"{safe} class" if is_split_name(safe) else safe  # a split's name would be read as a split


def _inside(sample: Sample, has_split: bool) -> str:
    """Return the name of an image within its class; names of folders in a class become part of it."""
    return "-".join(PurePosixPath(sample.key).parts[2 if has_split else 1 :])


def _file_name(name: str) -> str:
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    return (safe_name(path.name[: len(path.name) - len(suffix)]) or "image") + suffix


def _free_name(home: str, name: str, taken: set[tuple[str, str]]) -> str:
    """Return a harmless name that is not ``taken`` in this folder, and add it to ``taken``."""
    wanted = path = PurePosixPath(_file_name(name))
    number = 2
    while (home, path.name.casefold()) in taken:
        path = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        number += 1
    taken.add((home, path.name.casefold()))
    return path.name
