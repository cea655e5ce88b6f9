"""Hugging Face data sets as Parquet files: their images are unpacked into the cache, with a list of their classes.

birds/data/train-00000-of-00002.parquet    image: bytes and path; label: a number, or a name
birds/data/test-00000-of-00001.parquet     (or birds/train/0000.parquet)

The names of classes are in the schema, as the package datasets writes it. Needs pyarrow (the extra "parquet").
"""

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pmsi.base.errors import DataError
from pmsi.data.cache.zips import zips_folder
from pmsi.data.checking import Progress
from pmsi.data.image_header import START, begins_as_image
from pmsi.data.readers.archive_rules import LIMITS
from pmsi.data.readers.columns import LABEL_COLUMNS, own_split
from pmsi.data.readers.unpacking import kept, require_space

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet as pq

ROWS = 64
"""Rows that are read at once."""

MAX_GROUP = 4 * 2**30
"""Largest part of a file, unpacked, that is read into memory at once."""

LIST = "labels.csv"


class Columns(NamedTuple):
    """The columns of the images and of their classes, and the names of the classes by number, if they have any."""

    image: str
    label: str
    names: Sequence[str] | None


def unpacked_tables(
    files: Sequence[Path], top: Path, column: str | None = None, progress: Progress | None = None
) -> Path:
    """Return the folder in the cache with the images in Parquet files and `LIST`, which is written if it is not there.

    ``column`` is that of the classes. Raises DataError without pyarrow, for files that cannot be read or have no column
    of images or classes, and if the cache is full or cannot be written.
    """
    opened = {path: _opened(path) for path in files}
    columns = {path: _columns(path, file.schema_arrow, column) for path, file in opened.items()}
    stamps = [(os.path.realpath(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    known = hashlib.blake2b(repr((stamps, column)).encode(errors="surrogateescape"), digest_size=16).hexdigest()
    size = sum(_size(path, file) for path, file in opened.items())

    def fill(home: Path) -> None:
        require_space(top, home.parent, size)
        home.mkdir()
        total = sum(file.metadata.num_rows for file in opened.values())
        with (home / LIST).open("w", newline="", encoding="utf-8") as text:
            rows = csv.writer(text)
            rows.writerow(("file_name", "label", "split"))
            for done, row in enumerate(_rows(opened, columns, top, home), 1):
                rows.writerow(row)
                if progress is not None:
                    progress(done, total)

    return kept(top, zips_folder() / known, size, lambda home: (home / LIST).is_file(), fill)


def _opened(path: Path) -> "pq.ParquetFile":
    try:
        from pyarrow import parquet as pq  # optional, and slow to import
    except ImportError as error:
        raise DataError(
            f"{path} is a Parquet file, and pyarrow, which reads it, is not installed: pip install 'pmsi-lab[parquet]'."
        ) from error
    try:
        return pq.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are one of these
        raise DataError(f"{path} cannot be read as a Parquet file ({error}). Download it again.") from error


def _size(path: Path, file: "pq.ParquetFile") -> int:
    """Return the bytes of a file after unpacking; DataError if these are too many."""
    about = file.metadata
    sizes = [about.row_group(i).total_byte_size for i in range(about.num_row_groups)]
    if sum(sizes) > LIMITS.unpacked_bytes or max(sizes, default=0) > MAX_GROUP:
        raise DataError(f"{path} takes {sum(sizes):,} bytes unpacked, too many to read safely.")
    return sum(sizes)


def _columns(path: Path, schema: "pa.Schema", column: str | None) -> Columns:
    features = _features(schema)
    images = [field.name for field in schema if _is_image(field, features.get(field.name, {}))]
    others = [name for name in schema.names if name not in images]
    lower = {name.casefold(): name for name in others}
    classes = [name for name in others if features.get(name, {}).get("_type") == "ClassLabel"]
    if column is not None:
        known = [lower[column.casefold()]] if column.casefold() in lower else []
    else:
        known = [lower[name] for name in LABEL_COLUMNS if name in lower] or (classes if len(classes) == 1 else [])
    if not images or not known:
        what = "classes" if images else "images"
        raise DataError(
            f"{path}: which column has the {what} cannot be told. Found: {', '.join(map(repr, schema.names))}. "
            + ("Give a column's name as label_column." if images else "Expected one with the bytes of images.")
        )
    return Columns(images[0], known[0], features.get(known[0], {}).get("names"))


def _features(schema: "pa.Schema") -> dict[str, dict[str, Any]]:
    """Return what the package datasets has written about the columns, by name."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: about for name, about in found.items() if isinstance(about, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _is_image(field: "pa.Field", feature: dict[str, Any]) -> bool:
    kind = str(field.type)
    return feature.get("_type") == "Image" or kind.startswith("struct<bytes: binary") or kind.endswith("binary")


def _rows(
    opened: dict[Path, "pq.ParquetFile"], columns: dict[Path, Columns], top: Path, home: Path
) -> Iterator[tuple[str, str, str]]:
    """Write the images into ``home``, and yield the name, class and split of each."""
    for number, (path, file) in enumerate(opened.items()):
        split, names = _split(path, top), columns[path].names
        count = 0
        for batch in file.iter_batches(ROWS, columns=[columns[path].image, columns[path].label]):
            for row in batch.to_pylist():
                data, label = _bytes(row[columns[path].image]), row[columns[path].label]
                name = f"{split or 'images'}-{number:05}-{count:07}{_suffix(data)}"
                (home / name).write_bytes(data)
                yield name, _name(label, names), split
                count += 1


def _bytes(value: Any) -> bytes:
    """Return the file in a cell; b"" if it has only a path."""
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) else b""


def _suffix(data: bytes) -> str:
    return ".jpg" if data[:2] == b"\xff\xd8" else ".png" if begins_as_image(data[:START]) else ".dat"


def _name(label: Any, names: Sequence[str] | None) -> str:
    if names and isinstance(label, int):
        return str(names[label]) if 0 <= label < len(names) else ""  # -1 where the labels of a test are kept back
    return "" if label is None else str(label)


def _split(path: Path, top: Path) -> str:
    """Return the split that a file is of, by its name, "train-00000-of-00002", or that of its folder, or ""."""
    return own_split(path.with_name(re.sub(r"(-\d+)?-of-\d+.*", "", path.stem) + path.suffix), top)
