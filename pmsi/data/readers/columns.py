"""One list of pictures: its rows, and which of its columns have the pictures, the classes and the splits.

The column with the pictures is found by its content; the others by their names or, without a header, by their place.
"""

import csv
import io
import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pmsi.base.errors import DataError
from pmsi.data.readers.splits import split_of
from pmsi.data.readers.tree import Tree

SAMPLE = 50
"""Rows by which the columns are found."""

MOST_COLUMNS, MOST_CELLS = 2_000, 20_000_000
"""Most columns of a list, and most cells with those that fill up short rows: a table of more is no list of pictures."""

LABEL_COLUMNS = ("label", "class", "class_name", "category", "species", "breed", "variety", "variant", "target",
                 "labels", "classes", "name", "label_name", "species_name", "common_name", "scientific_name",
                 "class_id", "label_id", "category_id")  # fmt: skip
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "dataset", "data_set", "fold")
MARKS = (b"\xff\xfe", b"\xfe\xff")
"""First bytes of a text in UTF-16, as spreadsheets write it."""

Find = Callable[[str], Sequence[str]]
"""A path as it is written in a list → the keys of the images that it can mean."""


@dataclass
class List:
    """A list: the names of the columns that were read, and (image key, class or None, split or "") of each row.

    ``absent`` counts rows that name no image, or several. ``others`` are columns of which any may have the classes.
    """

    path: Path
    columns: list[str]
    others: list[str] = field(default_factory=list)
    rows: list[tuple[str, str | None, str]] = field(default_factory=list)
    absent: int = 0

    def add(self, keys: Sequence[str], label: str | None, split: str) -> None:
        if len(keys) == 1:
            self.rows.append((keys[0], label, split))
        else:
            self.absent += 1


def read_list(path: Path, places: "Places", column: str | None, encoding: str | None, only: bool) -> List | None:
    """Return the list in a file, or None if it is not one of most of the images.

    ``column`` is the name of the column with the classes. If it is None and no column has a known name, it is the only
    column besides pictures and splits, unless ``only`` is false.
    """
    text = _text(path, encoding)
    rows = _rows(path, text)
    if rows is None:
        return None
    found = _table(path, rows, places, column, only) if rows else _words(path, text, places)
    if found is None or 2 * len(found.rows) <= min(places.count, len(found.rows) + found.absent):
        return None
    return found


# --- Names of images --------------------------------------------------------------------------------------------------


class Places:
    """The keys of a tree's images by all names that a list may use: with or without folders and suffix."""

    def __init__(self, tree: Tree) -> None:
        self.top, self.count = tree.top, len(tree.images)
        self._keys: dict[str, list[str]] = defaultdict(list)
        for file in tree.images:
            parts = file.path.relative_to(tree.top).parts
            for start in range(len(parts)):
                name = _plain("/".join(parts[start:]))
                for called in {name, name.removesuffix(file.path.suffix.casefold())}:
                    self._keys[called].append(file.key)

    def finder(self, written: Sequence[str], path: Path) -> Find | None:
        """Return how the paths ``written`` in the list ``path`` are to be read, or None if they name no images.

        They are all read alike: from the list's folder, or by as many of their last parts as fit most of them, as paths
        of another machine are.
        """
        beside = path.parent.relative_to(self.top).parts
        split = own_split(path, self.top) or "train"
        deepest = max((len(_parts(name)) for name in written), default=0)
        ways = [self._reader(beside, 99, split), *(self._reader((), last, split) for last in range(deepest, 0, -1))]
        counts = [len({keys[0] for name in written if (keys := way(name))}) for way in ways]
        return ways[counts.index(max(counts))] if max(counts) else None

    def _reader(self, beside: Sequence[str], last: int, split: str) -> Find:
        def find(written: str) -> Sequence[str]:
            name = _plain("/".join([*beside, *_parts(written)[-last:]]))
            keys = self._keys.get(name) or self._keys.get(re.sub(r"\.\w{1,5}$", "", name)) or []
            if len(keys) > 1:  # of equal names in several splits, that of the list's own split
                own = [key for key in keys if any(split_of(part) == split for part in PurePosixPath(key).parts[:-1])]
                return own if len(own) == 1 else keys
            return keys

        return find


def own_split(path: Path, top: Path) -> str:
    """Return the split of a list by its name, or by that of its folder below ``top``, or ""."""
    inner = split_of(path.parent.name) if path.parent != top else None
    return split_of(path.stem) or inner or ""


def _parts(path: str) -> list[str]:
    return [part for part in path.strip().strip("\"'").replace("\\", "/").split("/") if part not in ("", ".")]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


# --- Rows -------------------------------------------------------------------------------------------------------------


def _text(path: Path, encoding: str | None) -> str:
    """Return the text of a list, in UTF-8 or by its byte order mark, else in ``encoding``."""
    data = path.read_bytes()
    try:
        return data.decode("utf-16" if data.startswith(MARKS) else "utf-8-sig")
    except UnicodeDecodeError as error:
        if encoding is not None:
            return data.decode(encoding, errors="replace")
        raise DataError(
            f"{path} is not in UTF-8 ({error.reason}). Save it so (in Excel: CSV UTF-8), or give its encoding as "
            "name_encoding, such as gbk or cp1252."
        ) from error


def _rows(path: Path, text: str) -> list[list[str]] | None:
    """Return the rows of a list with commas, semicolons or tabs between its columns, or of JSON lines; else none.

    None if there are more than a list of pictures has.
    """
    if path.suffix.lower() == ".jsonl":
        return _json_rows(text)
    first = text.lstrip().partition("\n")[0]
    delimiter = next((mark for mark in (",", ";", "\t") if mark in first), None)
    if delimiter is None:
        return []
    try:
        rows = [*csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)]
    except csv.Error:
        return []
    width = max(map(len, rows))
    if not _fits(len(rows), width):
        return None
    return [[*(cell.strip() for cell in row), *[""] * (width - len(row))] for row in rows if any(map(str.strip, row))]


def _fits(rows: int, columns: int) -> bool:
    return columns <= MOST_COLUMNS and rows * columns <= MOST_CELLS


def _json_rows(text: str) -> list[list[str]] | None:
    try:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return []
    if not all(isinstance(one, dict) for one in found):
        return []
    header = list(dict.fromkeys(name for one in found for name in one))
    if not _fits(len(found), len(header)):
        return None
    return [header, *([str(one.get(name, "")) for name in header] for one in found)]


# --- Columns ----------------------------------------------------------------------------------------------------------


def _table(path: Path, rows: list[list[str]], places: Places, column: str | None, only: bool) -> List | None:
    """Return a list with columns, or None if none of them has images."""
    found = [(places.finder([row[i] for row in rows[:SAMPLE]], path), i) for i in range(len(rows[0]))]
    known = [(len({*map(tuple, map(find, (row[i] for row in rows[:SAMPLE])))}), -i, find) for find, i in found if find]
    if not known:
        return None
    _, place, find = max(known, key=lambda one: one[:2])
    place = -place
    header = None if find(rows[0][place]) else rows.pop(0)
    names = header or [f"column {i + 1}" for i in range(len(rows[0]))]
    others = [i for i in range(len(names)) if i != place]
    split = _split_column(header, rows, others)
    others = [i for i in others if i != split]
    label = _label_column(header, others, column, only)
    hot = [] if label is not None or column is not None or header is None else _one_hot(rows, others)
    used = [place, *hot, *(i for i in (label, split) if i is not None)]
    undecided = [names[i] for i in others] if label is None and not hot else []
    listed = List(path, [names[i] for i in used], undecided)
    for row in rows:
        marked = [names[i] for i in hot if _number(row[i]) == 1]
        one = marked[0] if len(marked) == 1 else "" if hot else None
        listed.add(find(row[place]), one if label is None else row[label], "" if split is None else row[split])
    return listed


def _split_column(header: Sequence[str] | None, rows: Sequence[Sequence[str]], others: Sequence[int]) -> int | None:
    """Return the column of splits: one of which all cells are names of splits, or one that is called so."""
    for i in others:
        if all(split_of(row[i]) for row in rows):
            return i
    return next(_called(SPLIT_COLUMNS, header, others), None)


def _label_column(header: Sequence[str] | None, others: Sequence[int], column: str | None, only: bool) -> int | None:
    """Return the column of classes: ``column``, one that is called so, or the only one."""
    if column is not None:
        return next((i for i in others if header and header[i].casefold() == column.strip().casefold()), None)
    sole = others[0] if only and len(others) == 1 else None
    return next(_called(LABEL_COLUMNS, header, others), sole)


def _called(names: Sequence[str], header: Sequence[str] | None, others: Sequence[int]) -> Iterator[int]:
    lower = [re.sub(r"[\s-]+", "_", name.casefold()) for name in header or ()]
    return (i for name in names for i in others if header and lower[i] == name)


def _one_hot(rows: Sequence[Sequence[str]], others: Sequence[int]) -> list[int]:
    """Return the columns of 0 and 1, several, of which just one is 1 in most rows; else none."""
    hot = [i for i in others if all(_number(row[i]) in (0, 1) for row in rows)]
    ones = [sum(_number(row[i]) == 1 for i in hot) for row in rows]
    return hot if len(hot) > 1 and 2 * ones.count(1) > len(ones) else []


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _words(path: Path, text: str, places: Places) -> List | None:
    """Return a list with blanks between path, class and split, of which the last two may be missing."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    beginnings = [" ".join(words[:count]) for words in lines[:SAMPLE] for count in range(1, min(len(words), 9) + 1)]
    find = places.finder(beginnings, path)
    if find is None:
        return None
    listed = List(path, ["path"])
    for number, words in enumerate(lines):
        count = next((count for count in range(len(words), 0, -1) if find(" ".join(words[:count]))), 0)
        if not count and number == 0:
            continue  # a header
        rest = words[count:]
        split = rest.pop() if len(rest) > 1 and split_of(rest[-1]) else ""
        listed.add(find(" ".join(words[:count])), " ".join(rest) or None, split)
    return listed
