"""The contents of a zip: its list is bounded before it is read, and names are decoded by what the zip says of them."""

import io
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from pmsi.base.errors import DataError
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
    name_fault,
    parts_of,
    reading,
    reason_to_leave,
    refuse,
)

ENCRYPTED = 0x2041
"""Flags of a zip entry: encrypted, strongly encrypted, and header masked."""

UTF8 = 0x800
"""Flag of a zip entry: its name is in UTF-8."""

UNICODE_PATH = 0x7075
"""Tag of the extra field with an entry's name in UTF-8, after a version and a checksum of the plain name."""

KINDS = (0, stat.S_IFREG, stat.S_IFDIR)
"""Allowed file types of a zip entry; 0 in zips that were not made on Unix."""

COMPRESSIONS = {
    zipfile.ZIP_STORED: CHUNK,
    zipfile.ZIP_DEFLATED: CHUNK,
    zipfile.ZIP_BZIP2: 2**12,
    zipfile.ZIP_LZMA: 2**12,
}
"""Compressions that are read, with the bytes to read at once: the last two can expand input a thousandfold."""

SLOW = 100
"""How many files of the other two can be looked into in the time for one of those."""

ENCODINGS = ("gbk", "big5", "cp932", "cp949", "cp866", "cp437", "cp850", "cp1252", "cp1251")
"""Encodings to suggest for the names in a zip that does not say its own."""


def _entry_fault(entry: zipfile.ZipInfo) -> str | None:
    """Return why an entry of a zip is not allowed, or None."""
    mode = entry.external_attr >> 16
    if entry.flag_bits & ENCRYPTED:
        return "is encrypted"
    if stat.S_ISLNK(mode):
        return "is a link"
    return None if stat.S_IFMT(mode) in KINDS else "is neither a file nor a folder"


class _Bounded(io.BufferedReader):
    """A zip whose list of entries is refused where it is too long, before `zipfile` makes objects of it."""

    def __init__(self, archive: Path, entries: int) -> None:
        super().__init__(io.FileIO(archive))
        self._archive, self._entries = archive, entries

    def read(self, size: int | None = -1, /) -> bytes:
        most = max(2**20, ENTRY_BYTES * self._entries)
        if size is not None and size > most:
            raise zipfile.BadZipFile(f"its list of entries takes {size:,} bytes, more than {most:,}")
        data = super().read(size)
        if data.startswith(LISTED) and (count := data.count(LISTED)) > self._entries:
            raise DataError(f"{self._archive} has {count:,} entries. Expected at most {self._entries:,}. {REMEDY}")
        return data


LISTED = b"PK\1\2"
"""What each entry in the list of a zip begins with."""


@contextmanager
def _opened_zip(archive: Path, entries: int) -> Iterator[zipfile.ZipFile]:
    with reading(archive), _Bounded(archive, entries) as file, zipfile.ZipFile(file) as zipped:
        yield zipped


def zip_contents(archive: Path, limits: Limits, encoding: str | None) -> Contents:
    with _opened_zip(archive, limits.entries) as zipped:
        entries = zipped.infolist()
        names = _zip_names(archive, entries, encoding)
        found, looked = Contents({}), Counter[str]()
        for place, (entry, name) in enumerate(zip(entries, names, strict=True)):
            refuse(archive, name, _entry_fault(entry) or name_fault(name))
            if not (parts := parts_of(name)) or name.endswith(("/", "\\")):
                continue
            left = reason_to_leave(parts, partial(_first_bytes, zipped, entry, looked, limits))
            path = "/".join(parts)
            if entry.compress_type not in COMPRESSIONS and left is None:
                raise DataError(f"{archive}: {name!r} is compressed in a way that is not read here. {REMEDY}")
            count(found, path, Entry(entry.file_size, place, checksum=entry.CRC), left)
    return found


def _first_bytes(zipped: zipfile.ZipFile, entry: zipfile.ZipInfo, looked: Counter[str], limits: Limits) -> bytes:
    """Return the first bytes of an entry; none beyond the limit of entries that are looked into."""
    looked["into"] += 1 if COMPRESSIONS.get(entry.compress_type) == CHUNK else SLOW
    if entry.compress_type not in COMPRESSIONS or looked["into"] > limits.looked_into:
        return b""
    with zipped.open(entry) as file:
        return file.read(START)


def _zip_names(archive: Path, entries: list[zipfile.ZipInfo], encoding: str | None) -> list[str]:
    """Return the entries' names, by their flag, their extra field, in UTF-8, or in ``encoding``."""
    names = [_sure_name(entry) for entry in entries]
    unsure = {place: entry.orig_filename.encode("cp437") for place, entry in enumerate(entries) if names[place] is None}
    if unsure and encoding is None:
        raise DataError(f"{archive} {_candidates(list(unsure.values()))}")
    try:
        return [name if name is not None else unsure[place].decode(encoding or "") for place, name in enumerate(names)]
    except (UnicodeDecodeError, LookupError) as error:
        raise DataError(f"{archive} {_candidates(list(unsure.values()))} Found: {error}.") from error


def _sure_name(entry: zipfile.ZipInfo) -> str | None:
    """Return the name of an entry if its encoding is certain, else None."""
    if entry.flag_bits & UTF8 or entry.orig_filename.isascii():
        return entry.orig_filename
    raw, extra = entry.orig_filename.encode("cp437"), entry.extra
    while len(extra) >= 4:
        tag, length = struct.unpack_from("<HH", extra)
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if tag == UNICODE_PATH and len(body) > 5 and struct.unpack_from("<I", body, 1)[0] == zlib.crc32(raw):
            return body[5:].decode()
    with suppress(UnicodeDecodeError):
        return raw.decode()
    return None


def _candidates(names: list[bytes]) -> str:
    """Return the message for names of unknown encoding, with the first name in each of `ENCODINGS`."""
    read = {}
    for encoding in ENCODINGS:
        with suppress(UnicodeDecodeError):
            decoded = [name.decode(encoding) for name in names]
            read[encoding] = decoded[0]
    shown = ", ".join(f"{name!r} in {encoding}" for encoding, name in read.items())
    return (
        f"does not say how its names are encoded; the first is {shown}. Give the encoding that reads right as "
        "name_encoding."
    )


def zip_files(archive: Path, inside: Contents) -> Iterator[tuple[str, IO[bytes], int]]:
    with _opened_zip(archive, LIMITS.entries) as zipped:
        entries = zipped.infolist()
        for path, about in inside.files.items():
            entry = entries[about.place]
            with zipped.open(entry) as source:
                yield path, source, COMPRESSIONS[entry.compress_type]
