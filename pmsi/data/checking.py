"""What every reader of a data set does alike: find its lists, check its images once, leave out what cannot be used.

A bad image is named in `Dataset.problems` and skipped. What was found is remembered between runs, file by file, so that
a data set opens at once the second time and a changed file is always looked at again. How a data set is laid out on
disk is its reader's business.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, replace
from pathlib import Path

import PIL
from PIL import Image

from pmsi.base.errors import DataError
from pmsi.base.files import read_json, write_atomically
from pmsi.data.dataset import Box, Dataset, Problem, Sample
from pmsi.data.images import MAX_JPEG_PIXELS, MAX_PIXELS, Examined, examine, open_rgb

Progress = Callable[[int, int], None]
"""Called with the number of images checked so far and the number to check; not at all where all are remembered."""

FileStamp = tuple[int, int, int]
"""Size in bytes, time of last change and time of last change of status, in ns: while these stay, so do the bytes."""

THREADS = min(8, os.cpu_count() or 1)
"""Decoders run side by side, as they release the interpreter; with more threads they only wait for the disk."""

SETTLED_S = 2.0
"""A file that changed less than this before its check is not remembered: the coarsest clock of a file system ticks
every two seconds, so the file could change again and still look the same."""

RULES = f"2, Pillow {PIL.__version__}, {MAX_PIXELS} or {MAX_JPEG_PIXELS} pixels"
"""What remembered answers depend on besides the file."""


def locate(title: str, places: Sequence[Path], names: Sequence[str], source: str) -> list[Path]:
    """Return where each of ``names`` lies: in the first of ``places`` that has it.

    Raises DataError that lists those found nowhere and says where the data set called ``title`` comes from.
    """
    found = [next((place / name for place in places if (place / name).exists()), None) for name in names]
    absent = [name for name, path in zip(names, found, strict=True) if path is None]
    if absent:
        raise DataError(f"{places[0]} is not a complete {title} folder: it lacks {', '.join(absent)}. {source}")
    return [path for path in found if path is not None]


def read_rows(path: Path, columns: int, numbered: bool = False) -> dict[str, str]:
    """Return {first word: rest of its line} of a list file in its order, without blank lines.

    ``columns`` is the least number of words on a line; raises DataError that names a line which has fewer. Where lines
    are ``numbered``, what other tools make of such lists is read alike: commas for blanks, a header, 7.0 for 7.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}). Expected a text file; unpack the archive again.") from error
    rows: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if numbered:
            line = line.replace(",", " ")
        if line.strip():
            words = line.split(maxsplit=1)
            if len(line.split()) < columns:
                raise DataError(f"{path}, line {number}: {line!r} has fewer than {columns} words. It may be cut off.")
            rows[words[0]] = words[1].strip() if len(words) > 1 else ""
    if not numbered:
        return rows
    first = next(iter(rows.items()), ("", ""))
    if len(rows) > 1 and not re.search(r"\d", " ".join(first)):
        del rows[first[0]]  # a header
    return {whole(key): rest for key, rest in rows.items()}


def whole(word: str) -> str:
    """Return 7 for 7.0, as a table of numbers writes it, and other words as they are."""
    return re.sub(r"^(\d+)\.0*$", r"\1", word)


def four_numbers(path: Path, key: str, text: str) -> tuple[float, float, float, float]:
    """Return the four numbers of a box, ``text``; raises DataError that names the file and the line's ``key``."""
    try:
        first, second, third, fourth = (float(word) for word in text.split())
    except ValueError as error:
        raise DataError(f"{path}: the box of {key} is {text!r}. Expected four numbers.") from error
    return first, second, third, fourth


def box_of_corners(x1: float, y1: float, x2: float, y2: float) -> Box:
    """Return the box between two corner pixels, both included and counted from 1."""
    return x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1


def open_sample(sample: Sample) -> Image.Image:
    """Return the RGB image of a sample that has a file: the `Dataset.open_image` of every reader."""
    if sample.path is None:
        raise DataError(f"Image {sample.key!r} has no file: it belongs to a data set that is drawn.")
    return open_rgb(sample.path)


def assemble(
    name: str, classes: Sequence[str], good: Iterable[Sample], tested: Collection[str], problems: Iterable[Problem]
) -> Dataset:
    """Return the data set of the ``good`` samples: test images are those whose keys are ``tested``.

    A class without a training image cannot be learnt: its test images are reported as problems, and the other classes
    move up.
    """
    good = list(good)
    train = [sample for sample in good if sample.key not in tested]
    test = [sample for sample in good if sample.key in tested]
    labels = {old: new for new, old in enumerate(sorted({sample.label for sample in train}))}
    untaught = [
        Problem(sample.key, f"its class {classes[sample.label]!r} has no training image")
        for sample in test
        if sample.label not in labels
    ]
    return Dataset(
        name=name,
        classes=tuple(classes[old] for old in labels),
        train=tuple(replace(sample, label=labels[sample.label]) for sample in train),
        test=tuple(replace(sample, label=labels[sample.label]) for sample in test if sample.label in labels),
        open_image=open_sample,
        problems=(*problems, *untaught),
    )


def check(
    samples: Sequence[Sample], root: Path, progress: Progress | None = None
) -> tuple[list[Sample], list[Problem]]:
    """Decode every image once; return those that can be used, in their order, and what is wrong with the others.

    Every sample needs a path; what is returned has its digest, and its box in pixels of the upright image. One whose
    path leaves ``root`` by ".." is a problem, and so is a key seen before; links are followed. Answers are remembered
    under `cache_folder`; where that cannot be written, everything is checked again next time.
    """
    first: dict[str, Sample] = {}
    problems = []
    for sample in samples:
        if first.setdefault(sample.key, sample) is not sample:
            problems.append(Problem(sample.key, "it is listed twice; only the first counts"))
    examined = _examined(list(first.values()), root, progress)
    problems += [Problem(key, about.fault) for key, about in examined.items() if about.fault]
    return [_known(sample, examined[key]) for key, sample in first.items() if not examined[key].fault], problems


def _known(sample: Sample, about: Examined) -> Sample:
    box = about.upright_box(sample.box) if sample.box is not None else None
    return replace(sample, box=box, digest=about.digest)


def cache_folder() -> Path:
    """Return where answers and resized images are kept: $PMSI_CACHE, or pmsi in $XDG_CACHE_HOME or in ~/.cache."""
    if own := os.environ.get("PMSI_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "pmsi"  # noqa: PTH111


def _examined(samples: Sequence[Sample], root: Path, progress: Progress | None) -> dict[str, Examined]:
    """Return {key: what decoding its file tells}, remembered or found now."""
    memory, inside = _Memory(root), os.path.abspath(root).rstrip(os.sep) + os.sep  # noqa: PTH100
    examined: dict[str, Examined] = {}
    unknown: list[tuple[str, Path, str, FileStamp | None]] = []
    for sample in samples:
        path = Path(sample.path or "")
        place = os.path.abspath(path)  # noqa: PTH100
        if not place.startswith(inside):
            examined[sample.key] = Examined("its path leads out of the data set's folder")
            continue
        name, mark = place[len(inside) :], stamp_of(path)
        known = memory.recall(name, mark)
        if known is None:
            unknown.append((sample.key, path, name, mark))
        else:
            examined[sample.key] = known
    pool = ThreadPoolExecutor(THREADS)
    try:
        answers = pool.map(examine, [path for _, path, _, _ in unknown])
        for done, ((key, _, name, mark), about) in enumerate(zip(unknown, answers, strict=True), 1):
            examined[key] = about
            memory.remember(name, mark, about)
            if progress is not None:
                progress(done, len(unknown))
    finally:
        pool.shutdown(cancel_futures=True)
        memory.save()
    return {sample.key: examined[sample.key] for sample in samples}


def stamp_of(path: Path) -> FileStamp | None:
    """Return what changes whenever the file does, or None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns


def confined(dataset: Dataset, allows: Callable[[Path], bool]) -> Dataset:
    """Return the data set without images that really lie where ``allows`` says no; these become problems.

    For an app that serves others: at a person's own machine, links are followed wherever they lead.
    """
    known: dict[Path, bool] = {}

    def stays(path: Path | None) -> bool:
        if path is None:
            return True
        place = path if path.is_symlink() else path.parent
        if place not in known:
            known[place] = allows(place)
        return known[place]

    outside = {sample.key for sample in (*dataset.train, *dataset.test) if not stays(sample.path)}
    train, test = (
        tuple(sample for sample in side if sample.key not in outside) for side in (dataset.train, dataset.test)
    )
    refused = (Problem(key, "it is a link to a folder that this app may not read") for key in sorted(outside))
    return replace(dataset, train=train, test=test, problems=(*dataset.problems, *refused)) if outside else dataset


class _Memory:
    """What earlier checks of the images below a folder found, by path and `FileStamp`, in one JSON file."""

    def __init__(self, root: Path) -> None:
        digest = hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=12).hexdigest()
        self._file = cache_folder() / f"images-{digest}.json"
        stored = read_json(self._file) or {}
        old = stored.get("files") if stored.get("rules") == RULES else None
        self._old: dict[str, list] = old if isinstance(old, dict) else {}
        self._new: dict[str, list] = {}

    def recall(self, name: str, mark: FileStamp | None) -> Examined | None:
        """Return what decoding the file told, or None where that is not known of the file as it is."""
        entry = self._old.get(name)
        if mark is None or not isinstance(entry, list) or entry[:3] != list(mark):
            return None
        try:
            about = Examined(*entry[3:])
        except TypeError:  # somebody else wrote this
            return None
        self._new[name] = entry
        return about

    def remember(self, name: str, mark: FileStamp | None, about: Examined) -> None:
        if mark is not None and time.time() - mark[2] / 1e9 >= SETTLED_S:
            self._new[name] = [*mark, *astuple(about)]

    def save(self) -> None:
        if self._new == self._old:
            return
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps({"rules": RULES, "files": self._new}), durable=False)
