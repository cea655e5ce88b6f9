"""The contents of zips and tars of pictures: every entry is checked, and nothing is unpacked.

Archives are not trusted: paths that lead out of the folder and archives that would fill the disk are refused. Images,
by suffix or content, and the lists that readers need are to be unpacked; other files are only counted, also inner
archives. `pmsi.data.readers.unpacking` writes the files.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pmsi.base.errors import DataError
from pmsi.data.readers.archive_rules import EXPECTED, LIMITS, REMEDY, Contents, Entry, Limits
from pmsi.data.readers.tar_archive import is_tar, tar_contents, tar_files
from pmsi.data.readers.tree import LISTS
from pmsi.data.readers.zip_archive import zip_contents, zip_files


def contents(
    archive: Path, limits: Limits = LIMITS, encoding: str | None = None, lists_alone: bool = False
) -> Contents:
    """Return the contents of an archive after checking all entries; nothing is unpacked.

    ``encoding`` is that of the names in a zip, if the zip does not say it; ``lists_alone`` allows one without images.
    Raises DataError for an entry that is not allowed, an exceeded limit, a damaged file, or an archive without images.
    """
    try:
        found = tar_contents(archive, limits) if is_tar(archive) else zip_contents(archive, limits, encoding)
    except OSError as error:
        raise DataError(f"{archive} cannot be read ({error.strerror or error}). {EXPECTED}.") from error
    if not lists_alone and all(Path(path).suffix.lower() in LISTS - {".parquet"} for path in found.files):
        inner = [reason for reason in found.passed_over if re.search(r"\.(zip|tar|tgz|gz|rar|7z)\)$", reason)]
        packed = " It holds other archives: unpack it, and give one of them." if inner else ""
        raise DataError(
            f"{archive} holds no image.{packed} {EXPECTED}: train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg."
        )
    for path, entry in found.files.items():
        if Path(path).suffix.lower() in LISTS - {".parquet"}:
            check_list(f"{archive}: {path[:300]!r}", entry.size, limits)
    _refuse_clashes(archive, found.files, limits)
    _refuse_bombs(archive, found.size, limits)
    return found


def files(archive: Path, inside: Contents) -> Iterator[tuple[str, IO[bytes], int]]:
    """Yield the path of each file of ``inside`` but links, an open file to read it from, and the bytes to read at once.

    To be used within `reading`.
    """
    yield from (tar_files if is_tar(archive) else zip_files)(archive, inside)


def check_list(name: str, size: int, limits: Limits) -> None:
    """Raise DataError where a list of images has more bytes than are read."""
    if size > limits.list_bytes:
        raise DataError(
            f"{name} has {size / 10**6:,.0f} MB. Expected a list of images of at most {limits.list_bytes / 10**6:,.0f}."
        )


def _refuse_clashes(archive: Path, files: dict[str, Entry], limits: Limits) -> None:
    """Raise DataError if a path is both a file and a folder, or if there are too many folders."""
    folders: set[str] = set()
    for path in files:
        while (path := path.rpartition("/")[0]) and path not in folders:
            folders.add(path)
        if len(folders) > limits.folders:
            raise DataError(f"{archive} has more than {limits.folders:,} folders. {REMEDY}")
    for path in files:
        if path in folders:
            raise DataError(f"{archive}: {path!r} is a file and a folder; they cannot both be there. {REMEDY}")


def _refuse_bombs(archive: Path, size: int, limits: Limits) -> None:
    packed = archive.stat().st_size
    if size > limits.unpacked_bytes:
        raise DataError(
            f"{archive} unpacks to {size:,} bytes. Expected at most {limits.unpacked_bytes:,}. Unpack it yourself "
            "and give the folder."
        )
    if size > limits.harmless_bytes and size > limits.ratio * packed:
        raise DataError(
            f"{archive} unpacks to {size / packed:,.0f} times its size. Expected at most {limits.ratio:.0f} times, as "
            "pictures do. It may be made to fill the disk; if it is your own, unpack it and give the folder."
        )
