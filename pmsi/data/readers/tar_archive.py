"""The contents of a tar, also a compressed one: it is read as a whole to list it, within limits of bytes and time."""

import bz2
import gzip
import io
import json
import lzma
import posixpath
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

from pmsi.base.errors import DataError
from pmsi.base.files import LARGE, read_json, write_atomically
from pmsi.data.cache.zips import zips_folder
from pmsi.data.image_header import START
from pmsi.data.readers.archive_rules import (
    CHUNK,
    ENTRY_BYTES,
    LIMITS,
    REMEDY,
    Contents,
    Entry,
    Limits,
    count,
    identity,
    name_fault,
    parts_of,
    reading,
    reason_to_leave,
    refuse,
)

MAX_DIRECTORY = ENTRY_BYTES * LIMITS.entries
"""Largest header of a tar, in bytes."""

STEP = 2**24

COMPRESSED_TARS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""Readers of compressed tars, by a file's first bytes."""


class _Unpacking(io.RawIOBase):
    """The tar within a file: at most ``limit`` bytes and ``seconds`` of CPU in all, and `MAX_DIRECTORY` bytes at once.

    ``last`` are the bytes read last: a block of zeros at the end of a complete tar.
    """

    def __init__(self, file: Any, limit: float, seconds: float) -> None:
        self._file, self._limit, self._seconds = file, limit, seconds
        self._end = time.thread_time() + seconds
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_DIRECTORY:
            raise tarfile.ReadError(f"one of its headers takes {size:,} bytes, more than {MAX_DIRECTORY:,}")
        self._check(self._file.tell() + size)
        self.last = self._file.read(size)
        return self.last

    def seek(self, place: int, whence: int = 0) -> int:
        self._check(place)
        while whence == 0 and self._file.tell() + STEP < place:  # a compressed file is unpacked on the way
            self._file.seek(STEP, 1)
            self._check(place)
        return int(self._file.seek(place, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def _check(self, place: int) -> None:
        if time.thread_time() > self._end:
            raise tarfile.ReadError(f"it takes more than {self._seconds:g} s to look into; a zip is faster")
        if place > self._limit:
            raise tarfile.ReadError(f"it unpacks to more than {self._limit:,.0f} bytes, as no archive of pictures does")


def is_tar(archive: Path) -> bool:
    with archive.open("rb") as file:
        start = file.read(512)
    return any(map(start.startswith, COMPRESSED_TARS)) or start[257:262] == b"ustar"


@contextmanager
def _opened_tar(archive: Path, limits: Limits) -> Iterator[tarfile.TarFile]:
    size = archive.stat().st_size
    limit = min(limits.tar_bytes, 2 * limits.unpacked_bytes, max(limits.harmless_bytes, limits.ratio * size)) + 2**20
    with reading(archive), archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        reader = next((make for magic, make in COMPRESSED_TARS.items() if start.startswith(magic)), None)
        inner = reader(file) if reader else file
        unpacking = _Unpacking(inner, limit, limits.tar_s)
        with tarfile.open(fileobj=unpacking, mode="r:") as tar:
            yield tar
        if unpacking.last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("its end is missing")


def tar_contents(archive: Path, limits: Limits) -> Contents:
    """Return the contents of a tar, from the cache if possible: finding them means reading the whole tar."""
    cached = zips_folder() / f"{identity(archive)}.list"
    if (stored := read_json(cached, LARGE)) is not None:
        with suppress(KeyError, TypeError, AttributeError):
            files = {path: Entry(*row) for path, row in stored["files"].items()}
            return Contents(files, Counter(stored["passed_over"]))
    found = _tar_listing(archive, limits)
    with suppress(OSError):
        cached.parent.mkdir(parents=True, exist_ok=True)
        rows = {path: [entry.size, entry.place, entry.link] for path, entry in found.files.items()}
        write_atomically(cached, json.dumps({"files": rows, "passed_over": found.passed_over}), durable=False)
    return found


def _tar_listing(archive: Path, limits: Limits) -> Contents:
    found = Contents({})
    with _opened_tar(archive, limits) as tar:
        for place, entry in enumerate(tar):
            if place >= limits.entries:
                raise DataError(f"{archive} has more than {limits.entries:,} entries. {REMEDY}")
            refuse(archive, entry.name, name_fault(entry.name))
            if entry.isdir() or not (parts := parts_of(entry.name)):
                continue
            if not (entry.isreg() or entry.issym() or entry.islnk()):
                raise DataError(f"{archive}: {entry.name!r} is neither a file nor a folder. {REMEDY}")
            link = "" if entry.isreg() else _target(archive, entry)
            left = reason_to_leave(parts, partial(_tar_start, tar, entry))
            count(found, "/".join(parts), Entry(entry.size, place, link), left)
    for path, about in found.files.items():
        if about.link and (about.link not in found.files or found.files[about.link].link):
            raise DataError(f"{archive}: {path!r} is a link to {about.link!r}, which is no image in it. {REMEDY}")
    return found


def _tar_start(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(entry) if entry.isreg() else None
    return file.read(START) if file else b""


def _target(archive: Path, entry: tarfile.TarInfo) -> str:
    """Return the path in the archive of a link's target."""
    base = posixpath.dirname(entry.name) if entry.issym() else ""
    path = posixpath.normpath(posixpath.join(base, entry.linkname))
    if entry.linkname.startswith("/") or path.startswith(".."):
        raise DataError(f"{archive}: {entry.name!r} is a link that leads out of the archive. {REMEDY}")
    return "/".join(parts_of(path))


def tar_files(archive: Path, inside: Contents) -> Iterator[tuple[str, IO[bytes], int]]:
    wanted = {entry.place: path for path, entry in inside.files.items() if not entry.link}
    with _opened_tar(archive, Limits(unpacked_bytes=2**62, ratio=float("inf"), tar_bytes=2**62)) as tar:
        for place, entry in enumerate(tar):
            if (path := wanted.get(place)) and (source := tar.extractfile(entry)):
                yield path, source, CHUNK
