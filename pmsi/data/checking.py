"""The common part of all readers: finding list files, parsing them, and checking every image once.

Images that cannot be used are skipped, and listed in `Dataset.problems`. Results are cached file by file, so a data set
opens quickly the second time, and a changed file is checked again.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import astuple, replace
from pathlib import Path

import PIL
from PIL import Image

from pmsi.base.errors import DataError
from pmsi.base.files import LARGE, read_json, write_atomically
from pmsi.data.dataset import Box, Dataset, Problem, Sample
from pmsi.data.image_header import MAX_JPEG_PIXELS, MAX_PIXELS
from pmsi.data.images import Examined, examine, open_rgb
from pmsi.data.readers.tree import counted, folders_below, read_tree

Progress = Callable[[int, int], None]
"""Called with the number of images checked so far and the number to check; not called for cached results."""

Tested = Collection[str] | Callable[[list[Sample]], Collection[str]]
"""The keys of the test images, or a function that draws them from the usable samples."""

FileStamp = tuple[int, int, int]
"""A file's size in bytes, and its mtime and ctime in ns: if these are the same, the file is taken to be unchanged."""

THREADS = min(8, os.cpu_count() or 1)
"""Threads that decode images; decoders release the GIL, and more threads would only wait for the disk."""

Examiner = Callable[[Sequence[Path]], Generator[Examined]]
"""Decodes files; yields the result of each, in their order."""


def in_threads(paths: Sequence[Path], look: Callable[[Path], Examined], threads: int = THREADS) -> Generator[Examined]:
    """Yield the results of ``look`` at files, in this process."""
    pool = ThreadPoolExecutor(threads)
    try:
        yield from pool.map(look, paths)
    finally:
        pool.shutdown(cancel_futures=True)


EXAMINER: ContextVar[Examiner] = ContextVar("examiner", default=lambda paths: in_threads(paths, examine))
"""What decodes the files of a data set; `pmsi.data.uploads.apart` sets another for files that strangers sent."""

SETTLED_S = 2.0
"""Results are cached only for files that changed at least this long before the check: file systems' clocks are as
coarse as two seconds, so a younger file could change again and keep its stamp."""

RULES = f"3, Pillow {PIL.__version__}, {MAX_PIXELS} or {MAX_JPEG_PIXELS} pixels"
"""The version of cached results, which depend on these besides the file."""


def locate(title: str, places: Sequence[Path], names: Sequence[str], source: str) -> list[Path]:
    """Return the path of each of ``names``, in the first of ``places`` that has it, or in a folder below the first.

    Raises DataError that lists missing ones, and says where the data set ``title`` comes from (``source``).
    """
    found = [_first(places, name) for name in names]
    if None in found:
        found = [_first([*places, *folders_below(places[0])], name) for name in names]
    absent = [name for name, path in zip(names, found, strict=True) if path is None]
    if absent:
        raise DataError(f"{places[0]} is not a complete {title} folder: it lacks {', '.join(absent)}. {source}")
    return [path for path in found if path is not None]


def _first(places: Iterable[Path], name: str) -> Path | None:
    return next((place / name for place in places if (place / name).exists()), None)


def read_rows(path: Path, columns: int, numbered: bool = False) -> dict[str, str]:
    """Return `read_lines` as {first word: rest}; DataError if a word has two different rests."""
    rows: dict[str, str] = {}
    for word, rest in read_lines(path, columns, numbered):
        if rows.setdefault(word, rest) != rest:
            raise DataError(f"{path} lists {word!r} twice, with {rows[word]!r} and {rest!r}. Remove one of the lines.")
    return rows


def read_lines(path: Path, columns: int, numbered: bool = False) -> list[tuple[str, str]]:
    """Return the first word and the rest of each line of a list file, without blank lines.

    Raises DataError if a line has fewer than ``columns`` words. If the lines are ``numbered``, lists written by other
    tools are read too: with commas between words, a header, or 7.0 for 7.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}). Expected a text file; unpack the archive again.") from error
    rows = []
    for number, line in enumerate(lines, 1):
        words = re.split(r"\s*,\s*|\s+", line.strip()) if numbered and "," in line else line.split()
        if words:
            if len(words) < columns:
                raise DataError(f"{path}, line {number}: {line!r} has fewer than {columns} words. It may be cut off.")
            rows.append((words[0], line.strip()[len(words[0]) :].lstrip(" \t,").rstrip()))
    if numbered and len(rows) > 1 and not re.search(r"\d", " ".join(rows[0])):
        del rows[0]  # a header
    return [(whole(word), rest) for word, rest in rows] if numbered else rows


def whole(word: str) -> str:
    """Return "7" for "7.0" and the like, and other words unchanged."""
    return re.sub(r"^(\d+)\.0*$", r"\1", word)


def four_numbers(path: Path, key: str, text: str) -> tuple[float, float, float, float]:
    """Return the four numbers of a box in ``text``; DataError, with file and line ``key``, if there are no such."""
    try:
        first, second, third, fourth = (float(word) for word in text.replace(",", " ").split())
    except ValueError as error:
        raise DataError(f"{path}: the box of {key} is {text!r}. Expected four numbers.") from error
    return first, second, third, fourth


def box_of_corners(x1: float, y1: float, x2: float, y2: float) -> Box:
    """Return the box between two corner pixels, both included and counted from 1."""
    return x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1


def open_sample(sample: Sample) -> Image.Image:
    """Return the RGB image of a sample's file; this is the `Dataset.open_image` of every reader."""
    if sample.path is None:
        raise DataError(f"Image {sample.key!r} has no file: it belongs to a data set that is drawn.")
    return open_rgb(sample.path)


def assemble(
    name: str,
    classes: Sequence[str],
    samples: Sequence[Sample],
    tested: Tested,
    root: Path,
    progress: Progress | None = None,
) -> Dataset:
    """Return the data set of those ``samples`` that can be used (`check`), with their split.

    Classes without training images are dropped: their test images
    become problems, and labels are renumbered. Classes without any usable image are named in `Dataset.notes`.
    """
    good, problems = check(samples, root, progress)
    tested = tested(good) if callable(tested) else tested
    train = [sample for sample in good if sample.key not in tested]
    test = [sample for sample in good if sample.key in tested]
    labels = {old: new for new, old in enumerate(sorted({sample.label for sample in train}))}
    untaught = [
        Problem(sample.key, f"its class {classes[sample.label]!r} has no training image")
        for sample in test
        if sample.label not in labels
    ]
    lost = sorted({sample.label for sample in samples} - {sample.label for sample in good})
    return Dataset(
        name=name,
        notes=(*_about_bits(good), *(f"The class {classes[old]!r} has no image that can be used." for old in lost)),
        classes=tuple(classes[old] for old in labels),
        train=tuple(replace(sample, label=labels[sample.label]) for sample in train),
        test=tuple(replace(sample, label=labels[sample.label]) for sample in test if sample.label in labels),
        open_image=open_sample,
        problems=(*problems, *untaught),
    )


def published(home: Path, dataset: Dataset, listed: Sequence[Sample], lists: Iterable[Path]) -> Dataset:
    """Return the data set of a published layout in ``home``, with counts of the files that are not in its ``lists``."""
    tree, used = read_tree(home), {sample.path for sample in listed}
    unlisted = Counter(counted("not in the list", file.parts[-1]) for file in tree.images if file.path not in used)
    needed = Counter(counted("not an image", path.name) for path in lists if path.is_file())
    return replace(
        dataset,
        layout="official split train/test",
        tested_on="test",
        passed_over=dict(tree.passed_over + unlisted - needed),
        problems=(*tree.problems, *dataset.problems),
    )


def _about_bits(samples: Iterable[Sample]) -> Iterator[str]:
    """Yield a sentence if images of 16 bits leave the highest bits unused, as cameras and microscopes do."""
    deep = [sample.bits for sample in samples if sample.bits > 8]
    if deep and (most := max(deep)) < 16:
        yield (
            f"{len(deep):,} images have 16 bits for each value and use {most} of them at most, so they look "
            f"{2 ** (16 - most)} times too dark. Multiply their values by that to use the whole range."
        )


def check(
    samples: Sequence[Sample], root: Path, progress: Progress | None = None
) -> tuple[list[Sample], list[Problem]]:
    """Decode every image once; return the usable samples in their order, and the problems of the others.

    Every sample needs a path. Returned samples have a digest, and boxes in pixels of the upright image. A path that
    leaves ``root`` by ".." is a problem, and so is a repeated key; links are followed. Results are cached under
    `cache_folder`, if it can be written.
    """
    first: dict[str, Sample] = {}
    problems = []
    for sample in samples:
        if first.setdefault(sample.key, sample) is not sample:
            problems.append(Problem(sample.key, "it is listed twice; only the first counts"))
    examined = _examined(list(first.values()), root, progress)
    problems += [Problem(key, about.fault) for key, about in examined.items() if about.fault]
    good = []
    for key, sample in first.items():
        about = examined[key]
        if not about.fault:
            box = about.upright_box(sample.box) if sample.box is not None else None
            good.append(replace(sample, box=box, digest=about.digest, look=about.look, bits=about.bits))
    return good, problems


def cache_folder() -> Path:
    """Return the cache's folder: $PMSI_CACHE, or pmsi in $XDG_CACHE_HOME or in ~/.cache."""
    if own := os.environ.get("PMSI_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "pmsi"  # noqa: PTH111


def _examined(samples: Sequence[Sample], root: Path, progress: Progress | None) -> dict[str, Examined]:
    """Return the check of each sample's file by key, from the cache or by decoding it now."""
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
    try:
        with contextlib.closing(EXAMINER.get()([path for _, path, _, _ in unknown])) as answers:
            for done, ((key, _, name, mark), about) in enumerate(zip(unknown, answers, strict=True), 1):
                examined[key] = about
                memory.remember(name, mark, about)
                if progress is not None:
                    progress(done, len(unknown))
    finally:
        memory.save()
    return {sample.key: examined[sample.key] for sample in samples}


def stamp_of(path: Path) -> FileStamp | None:
    """Return the stamp of a file, or None if there is no file."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns


def confined(dataset: Dataset, allows: Callable[[Path], bool]) -> Dataset:
    """Return the data set without images whose real place ``allows`` refuses; these become problems.

    For an app that serves other people: links must not lead out of the folders that they may read.
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
    """Cached checks of the images below a folder, by path and `FileStamp`, in one JSON file."""

    def __init__(self, root: Path) -> None:
        digest = hashlib.blake2b(os.fsencode(os.path.realpath(root)), digest_size=12).hexdigest()
        self._file = cache_folder() / f"images-{digest}.json"
        stored = read_json(self._file, LARGE) or {}
        old = stored.get("files") if stored.get("rules") == RULES else None
        self._old: dict[str, list] = old if isinstance(old, dict) else {}
        self._new: dict[str, list] = {}

    def recall(self, name: str, mark: FileStamp | None) -> Examined | None:
        """Return the cached check of a file, or None if there is none for its stamp."""
        entry = self._old.get(name)
        if mark is None or not isinstance(entry, list) or entry[:3] != list(mark):
            return None
        try:
            about = Examined(*entry[3:])
        except TypeError:  # not written by this version
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
