"""Lists with the classes of pictures that are not in class folders: labels.csv, as in competitions, or metadata.csv.

dogs/labels.csv            id,breed
dogs/train/0001.jpg        0001,beagle
dogs/test/0002.jpg         (images that are not in the list are not used)
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pmsi.data.readers.tree import File, Tree

MAX_BYTES = 2**28
NAMES = ("labels", "metadata", "train", "train_labels", "annotations", "list")
"""Names of lists without .csv, .tsv or .txt, in order of preference; in the root and in its folders."""

FILE_COLUMNS = ("file_name", "filename", "file", "image", "image_id", "img", "id", "path", "image_path", "filepath",
                "fname")  # fmt: skip
LABEL_COLUMNS = ("label", "class", "class_name", "category", "species", "breed", "variety", "target", "labels", "name")
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold")


@dataclass(frozen=True)
class Labels:
    """The content of a list.

    ``title`` is the file and the columns that were read: "labels.csv (id, breed)". ``rows`` are key → (class, split or
    ""), ``absent`` is the number of rows without an image.
    """

    title: str
    rows: dict[str, tuple[str, str]]
    absent: int


def find_labels(tree: Tree) -> Labels | None:
    """Return the list of a tree whose pictures are in fewer folders than the list has classes, or None."""
    for place in sorted({tree.root, *(file.path.parent for file in tree.images if len(file.parts) == 2)}):
        for name in NAMES:
            for suffix in (".csv", ".tsv", ".txt"):
                if (found := _read(place / f"{name}{suffix}", tree)) is not None:
                    return found
    return None


def _read(path: Path, tree: Tree) -> Labels | None:
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    header, rows = _table(text)
    columns = [_column(header, known) for known in (FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS)]
    named, label, split = columns
    if named is None or label is None or named == label:
        return None
    places = _places(tree.images)
    found: dict[str, tuple[str, str]] = {}
    absent = 0
    for row in rows:
        if len(row) <= max(named, label, split or 0):
            continue
        keys = places.get(row[named].strip().replace("\\", "/").removeprefix("./"), [])
        absent += not keys
        if len(keys) == 1:
            found[keys[0]] = (row[label].strip(), row[split].strip() if split is not None else "")
    folders = {PurePosixPath(key).parent for key in found}
    if len(found) <= absent or len(folders) >= len({name for name, _ in found.values()}):
        return None
    read = ", ".join(header[column] for column in columns if column is not None)
    return Labels(f"{path.name} ({read})", found, absent)


def _table(text: str) -> tuple[list[str], Iterable[Sequence[str]]]:
    """Return the header and the rows of a list with commas, semicolons, tabs or blanks between its columns."""
    first = text.partition("\n")[0]
    delimiter = next((mark for mark in (",", ";", "\t") if mark in first), " ")
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    return [name.strip() for name in next(rows, [])], rows


def _column(header: Sequence[str], known: Sequence[str]) -> int | None:
    lower = [name.casefold() for name in header]
    return next((lower.index(name) for name in known if name in lower), None)


def _places(files: Iterable[File]) -> Mapping[str, list[str]]:
    """Return the keys of images by all names that a list may use: with or without folders and suffix."""
    places: dict[str, list[str]] = {}
    for file in files:
        for start in range(len(file.parts)):
            name = "/".join(file.parts[start:])
            for called in {name, name[: -len(file.path.suffix)] if file.path.suffix else name}:
                places.setdefault(called, []).append(file.key)
    return places
