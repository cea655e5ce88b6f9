"""What an archive may hold, zip or tar: limits, names that are allowed, and which files are unpacked."""

import hashlib
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pmsi.base.errors import DataError
from pmsi.data.image_header import begins_as_image
from pmsi.data.readers.tree import LISTS, SUFFIXES, counted, is_system, system_reason


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of an archive; uploads can have stricter ones.

    ``entries``: ten times the largest data set here. ``unpacked_bytes``: the paper's three data sets take 6 GB.
    ``ratio`` of unpacked to packed bytes: photos hardly shrink, and drawings in BMP seldom to 1/50, but bombs shrink to
    1/1000; it does not matter below ``harmless_bytes``. ``looked_into``: files without an image's suffix whose first
    bytes are read. ``list_bytes``: of a list of images, which takes twenty times as much to read. ``tar_bytes``: of a
    whole tar, which must be decompressed to look into it; ``tar_s``: seconds of CPU that this may take.
    """

    entries: int = 200_000
    folders: int = 100_000
    looked_into: int = 200_000
    list_bytes: int = 10**9
    tar_bytes: int = 100 * 10**9
    tar_s: float = float("inf")
    unpacked_bytes: int = 50 * 10**9
    ratio: float = 100.0
    harmless_bytes: int = 100 * 10**6


LIMITS = Limits()

ENTRY_BYTES = 160
"""Bytes of an entry in a zip's list, which is read into memory: enough for a name of 100 letters."""

MAX_DEPTH, MAX_PATH = 64, 1024
"""Most nested folders, and most bytes of a path."""

CHUNK = 2**20

DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError,
    ValueError,
)  # fmt: skip
"""Errors for bytes that are no archive, or a damaged one, besides OSError without an errno."""

OTHERS: dict[bytes, str] = {
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"PK\7\x08": "a part of a zip in several files",
}
"""Other archives, by their first bytes."""

REMEDY = "Nothing was unpacked. Make the archive again from the folder of classes, or unpack it and give the folder."
EXPECTED = "Expected a zip, a tar or a tgz of class folders"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to unpack: its bytes, its index in the archive, and the target if it is a link in a tar."""

    size: int
    place: int
    link: str = ""
    checksum: int = 0


@dataclass(frozen=True)
class Contents:
    """The files of an archive to unpack, by path, and counts of the others by reason."""

    files: dict[str, Entry]
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def size(self) -> int:
        """Bytes of all files after unpacking."""
        return sum(entry.size for entry in self.files.values())


def identity(archive: Path, inside: Contents | None = None) -> str:
    """Return a digest of an archive's path, size and times; for a zip, given what is ``inside``, of every checksum."""
    about, place = archive.stat(), os.path.realpath(archive)
    if inside is None or not any(entry.checksum for entry in inside.files.values()):
        return _digest((place, about.st_size, about.st_mtime_ns, about.st_ctime_ns))
    listed = sorted((path, entry.size, entry.place, entry.checksum) for path, entry in inside.files.items())
    return _digest((place, about.st_size, about.st_mtime_ns, listed))


def _digest(known: object) -> str:
    return hashlib.blake2b(repr(known).encode(errors="surrogateescape"), digest_size=16).hexdigest()


@contextmanager
def reading(archive: Path) -> Iterator[None]:
    """Raise DataError for damaged bytes of an archive."""
    try:
        yield
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(
            f"{archive} is {_other(archive) or f'not a zip or tar, or damaged ({error})'}. {EXPECTED}."
        ) from error


def _other(archive: Path) -> str | None:
    with archive.open("rb") as file:
        found = OTHERS.get(file.read(4))
    return found and f"{found}: unpack it, and give the folder"


def parts_of(name: str) -> list[str]:
    """Return the folders and the name of an entry, without a slash at the start; some Windows tools use backslashes."""
    return [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]


def refuse(archive: Path, name: str, fault: str | None) -> None:
    if fault is not None:
        raise DataError(f"{archive}: {name[:300]!r} {fault}. Expected files and folders only. {REMEDY}")


def name_fault(name: str) -> str | None:
    """Return why an entry's name is not allowed, or None."""
    if ".." in re.split(r"[/\\]", name):
        return "has a path that leads out of the archive"
    if any(ord(letter) < 32 for letter in name):
        return "has a name with control characters"
    parts = parts_of(name)
    if len(name) > MAX_PATH or any(len(os.fsencode(part)) > 255 for part in parts):
        return f"has a name of more than 255 bytes, or a path of more than {MAX_PATH}"
    return f"lies more than {MAX_DEPTH} folders deep" if len(parts) > MAX_DEPTH else None


def reason_to_leave(parts: list[str], start: Callable[[], bytes]) -> str | None:
    """Return the reason to count a file instead of unpacking it, or None; ``start`` reads its first bytes."""
    for part in parts:
        if is_system(part):
            return system_reason(part)
    suffix = Path(parts[-1]).suffix.lower()
    if suffix in SUFFIXES or suffix in LISTS or begins_as_image(start()):
        return None
    return counted("not an image", parts[-1])


def count(found: Contents, path: str, entry: Entry, left: str | None) -> None:
    if left is not None:
        found.passed_over[left] += 1
        return
    if path in found.files:
        found.passed_over[counted("listed twice", path)] += 1
    found.files[path] = entry  # the last one counts, as in other programs
