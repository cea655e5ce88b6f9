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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from pmsi.base.errors import DataError
from pmsi.base.locks import Lock
from pmsi.config import TrainConfig
from pmsi.data import DATASETS, kind_of, read_as
from pmsi.data.checking import Progress, confined
from pmsi.data.dataset import Dataset, Problem, Sample
from pmsi.data.image_header import START, begins_as_image
from pmsi.data.images import MAX_FILE_BYTES
from pmsi.data.readers.archive import contents
from pmsi.data.readers.archive_rules import LIMITS, Limits
from pmsi.data.readers.splits import is_split_name
from pmsi.data.readers.tree import SUFFIXES, visible
from pmsi.data.readers.unpacking import require_space, unpack_into

ROOT = "PMSI_DATASETS"
"""Environment variable with the folder of imported data sets."""

NAME_BYTES = 200
"""Longest name. File systems allow 255 bytes; a number may be added."""

Provide = Callable[[Path], Path]
"""(folder for new files) → the folder to read: the same, filled, or an existing one."""


@dataclass(frozen=True, slots=True)
class Imported:
    """An imported data set: its folder, its numbers of classes and images, and the pictures that were left out.

    ``read_as`` says how the source was read, ``passed_over`` counts its other files.
    """

    folder: Path
    classes: int
    images: int
    problems: tuple[Problem, ...]
    read_as: str = ""
    passed_over: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """A single file to import: its class, its original name, and its bytes."""

    class_name: str
    name: str
    data: bytes


def datasets_root() -> Path:
    """Return the folder of imported data sets: $PMSI_DATASETS, or ``data`` in the current folder."""
    return Path(os.environ.get(ROOT) or "data")


def imported_sets() -> dict[str, Path]:
    """Return the folders of the imported data sets by name."""
    try:
        found = sorted(datasets_root().iterdir())
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
    label_column: str | None = None,
    allows: Callable[[Path], bool] | None = None,
) -> Imported:
    """Copy the data set in ``source``, a folder or an archive, into a new one of class folders, ``name``.

    Splits are kept, those of published data sets too. ``encoding`` and ``label_column`` are those of a config. Pictures
    of a folder whose real place ``allows`` refuses are left out. ``progress`` is called for unpacking, checking and
    copying, one after the other. Raises DataError if the name exists or is empty, if ``source`` is neither a data set
    nor an archive of one (`pmsi.data.readers.archive.contents`), if there are too few usable images, or if the disk is
    full.
    """
    source = Path(source)
    if not source.exists():
        raise DataError(f"{source} does not exist. Expected a folder of class folders, or a zip of them.")
    config = TrainConfig(dataset="folder", split="stratified", name_encoding=encoding, label_column=label_column)
    if source.is_dir():
        return _import(name, lambda place: source, root, progress, config, allows)

    def unpack(place: Path) -> Path:
        return unpack_into(source, place, progress, limits, encoding)

    done = _import(name, unpack, root, progress, config)
    passed_over = contents(source, limits, encoding).passed_over + Counter(done.passed_over)
    return replace(done, passed_over=dict(passed_over))


def import_pictures(pictures: Iterable[Picture], name: str, *, progress: Progress | None = None) -> Imported:
    """Write single files into a new data set ``name``; raises what `import_dataset` does."""
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

    done = _import(name, write, None, progress, TrainConfig(dataset="folder", split="stratified"))
    return replace(done, problems=(*refused, *done.problems))


def import_files(
    files: Iterable[tuple[str, bytes]],
    name: str,
    *,
    progress: Progress | None = None,
    label_column: str | None = None,
) -> Imported:
    """Write a folder's files, given as (path, content), and import it as `import_dataset` does a folder."""

    def write(place: Path) -> Path:
        for path, data in files:
            parts = [
                re.sub(r"[\x00-\x1f\\/]", "-", part) for part in PurePosixPath(path).parts if part not in ("/", "..")
            ]
            target = place.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        return place

    config = TrainConfig(dataset="folder", split="stratified", label_column=label_column)
    return _import(name, write, None, progress, config)


def _refusal(picture: Picture) -> str | None:
    if len(picture.data) > MAX_FILE_BYTES:
        return f"its file has {len(picture.data) / 2**20:.0f} MB, more than {MAX_FILE_BYTES // 2**20}"
    if PurePosixPath(picture.name).suffix.lower() not in SUFFIXES and not begins_as_image(picture.data[:START]):
        return "it is no image, by its name and its content"
    return None


def _import(
    name: str,
    provide: Provide,
    root: Path | None,
    progress: Progress | None,
    config: TrainConfig,
    allows: Callable[[Path], bool] | None = None,
) -> Imported:
    """Build the data set in a temporary folder, and rename it; ``config`` says how the source is read."""
    root = Path(root or datasets_root())
    target = _free_place(root, name)
    try:
        with _alone_in(root), tempfile.TemporaryDirectory(prefix=".", suffix=".tmp", dir=root) as scratch:
            source = provide(Path(scratch) / "source")
            config = config.with_(dataset=kind_of(source), data=str(source))
            found = _read(config, allows, progress)
            _require_classes(found, source)
            copied = [sample.path for sample in (*found.train, *found.test) if _is_copied(sample, Path(scratch))]
            require_space(source, root, sum(path.stat().st_size for path in copied if path))
            built = Path(scratch) / "built"
            samples = [("train" if found.tested_on else "", sample) for sample in found.train]
            samples += [(found.tested_on, sample) for sample in found.test]
            samples += [("val", sample) for sample in _validation(found, config, allows)]
            count = _lay_out(found.classes, samples, built, Path(scratch), progress)
            _rename(built, target)
    except OSError as error:
        what = f"{target} cannot be written ({error.strerror or error})"
        raise DataError(f"{what}. Set {ROOT} to another folder.") from error
    if not found.tested_on:  # what has been drawn here says nothing about the import
        layout = re.sub(r", \d+% drawn.*", "", found.layout)
        found = replace(found, train=(*found.train, *found.test), test=(), layout=layout)
    return Imported(target, len(found.classes), count, found.problems, read_as(found), found.passed_over)


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


def _read(config: TrainConfig, allows: Callable[[Path], bool] | None, progress: Progress | None = None) -> Dataset:
    found = DATASETS[config.dataset].open(config, progress)
    return confined(found, allows) if allows is not None else found


def _validation(found: Dataset, config: TrainConfig, allows: Callable[[Path], bool] | None) -> list[Sample]:
    """Return the images for validation of a folder that has others for testing, with the labels of ``found``."""
    if found.tested_on != "test" or config.dataset != "folder":
        return []
    try:
        other = _read(config.with_(test_on="val"), allows)
    except DataError:  # there is no such split
        return []
    labels = {name: label for label, name in enumerate(found.classes)}
    known = [sample for sample in other.test if other.classes[sample.label] in labels]
    return [replace(sample, label=labels[other.classes[sample.label]]) for sample in known]


def _is_copied(sample: Sample, scratch: Path) -> bool:
    return sample.path is not None and not sample.path.is_relative_to(scratch)


def _lay_out(
    classes: Sequence[str],
    samples: list[tuple[str, Sample]],
    built: Path,
    scratch: Path,
    progress: Progress | None,
) -> int:
    """Put every image into the folder of its class, below that of its split, and return their number.

    Images in ``scratch`` are moved, others copied.
    """
    homes = _class_folders(classes)
    taken: set[tuple[str, str]] = set()
    for done, (split, sample) in enumerate(samples, 1):
        home = built / split / homes[sample.label]
        home.mkdir(parents=True, exist_ok=True)
        put = shutil.copyfile if _is_copied(sample, scratch) else os.rename
        put(Path(sample.path or ""), home / _free_name(str(home), _inside(sample, classes[sample.label]), taken))
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


def _inside(sample: Sample, class_name: str) -> str:
    """Return the name of an image within its class; names of folders in a class, but splits, become part of it."""
    *folders, name = PurePosixPath(sample.key).parts
    places = [i for i, part in enumerate(folders) if visible(part).casefold() == class_name.casefold()]
    inner = folders[places[0] + 1 :] if places else []
    return "-".join([*(part for part in inner if not is_split_name(part)), name])


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
