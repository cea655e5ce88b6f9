"""The contents of zips and tars of pictures: every entry is checked, and nothing is unpacked.

Archives are not trusted: paths that lead out of the folder and archives that would fill the disk are refused. Images,
by suffix or content, and the lists that readers need are to be unpacked; other files are only counted, also inner
archives. `pmsi.data.readers.unpacking` writes the files.
"""

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import posixpath
import re
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from pmsi.base.errors import DataError
from pmsi.base.files import LARGE, read_json, write_atomically
from pmsi.data.cache.zips import zips_folder
from pmsi.data.images import START, begins_as_image
from pmsi.data.readers.tree import LISTS, SUFFIXES, counted, is_system, system_reason


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of an archive; uploads can have stricter ones.

    ``entries``: ten times the largest data set here. ``unpacked_bytes``: the paper's three data sets take 6 GB.
    ``ratio`` of unpacked to packed bytes: photos hardly shrink, and drawings in BMP seldom to 1/50, but bombs shrink to
    1/1000; it does not matter below ``harmless_bytes``. ``looked_into``: files without an image's suffix whose first
    bytes are read. ``tar_bytes``: of a whole tar, which must be decompressed to look into it; ``tar_s``: seconds of CPU
    that this may take.
    """

    entries: int = 200_000
    folders: int = 100_000
    looked_into: int = 200_000
    tar_bytes: int = 100 * 10**9
    tar_s: float = float("inf")
    unpacked_bytes: int = 50 * 10**9
    ratio: float = 100.0
    harmless_bytes: int = 100 * 10**6


LIMITS = Limits()

ENTRY_BYTES = 160
"""Bytes of an entry in a zip's list, which is read into memory: enough for a name of 100 letters."""

MAX_DIRECTORY = ENTRY_BYTES * LIMITS.entries
"""Largest header of a tar, in bytes."""

MAX_DEPTH, MAX_PATH = 64, 1024
"""Most nested folders, and most bytes of a path."""

CHUNK, STEP = 2**20, 2**24

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

DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError,
    ValueError,
)  # fmt: skip
"""Errors for bytes that are no archive, or a damaged one, besides OSError without an errno."""

COMPRESSED_TARS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}
"""Readers of compressed tars, by a file's first bytes."""

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


def contents(archive: Path, limits: Limits = LIMITS, encoding: str | None = None) -> Contents:
    """Return the contents of an archive after checking all entries; nothing is unpacked.

    ``encoding`` is that of the names in a zip, if the zip does not say it. Raises DataError for an entry that is not
    allowed (`_entry_fault`, `_name_fault`), an exceeded limit, a damaged file, or an archive without images.
    """
    try:
        found = _tar_contents(archive, limits) if is_tar(archive) else _zip_contents(archive, limits, encoding)
    except OSError as error:
        raise DataError(f"{archive} cannot be read ({error.strerror or error}). {EXPECTED}.") from error
    if all(Path(path).suffix.lower() in LISTS - {".parquet"} for path in found.files):
        inner = [reason for reason in found.passed_over if re.search(r"\.(zip|tar|tgz|gz|rar|7z)\)$", reason)]
        packed = " It holds other archives: unpack it, and give one of them." if inner else ""
        raise DataError(
            f"{archive} holds no image.{packed} {EXPECTED}: train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg."
        )
    _refuse_clashes(archive, found.files, limits)
    _refuse_bombs(archive, found.size, limits)
    return found


def files(archive: Path, inside: Contents) -> Iterator[tuple[str, IO[bytes], int]]:
    """Yield the path of each file of ``inside`` but links, an open file to read it from, and the bytes to read at once.

    To be used within `reading`.
    """
    yield from (_tar_files if is_tar(archive) else _zip_files)(archive, inside)


def identity(archive: Path, inside: Contents | None = None) -> str:
    """Return a digest of an archive's path, size and times; for a zip, given what is ``inside``, of every checksum."""
    about, place = archive.stat(), os.path.realpath(archive)
    if inside is None or is_tar(archive):
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


# --- Names -----------------------------------------------------------------------------------------------------------


def _parts(name: str) -> list[str]:
    """Return the folders and the name of an entry, without a slash at the start; some Windows tools use backslashes."""
    return [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]


def _refuse(archive: Path, name: str, fault: str | None) -> None:
    if fault is not None:
        raise DataError(f"{archive}: {name[:300]!r} {fault}. Expected files and folders only. {REMEDY}")


def _name_fault(name: str) -> str | None:
    """Return why an entry's name is not allowed, or None."""
    if ".." in re.split(r"[/\\]", name):
        return "has a path that leads out of the archive"
    if any(ord(letter) < 32 for letter in name):
        return "has a name with control characters"
    parts = _parts(name)
    if len(name) > MAX_PATH or any(len(os.fsencode(part)) > 255 for part in parts):
        return f"has a name of more than 255 bytes, or a path of more than {MAX_PATH}"
    return f"lies more than {MAX_DEPTH} folders deep" if len(parts) > MAX_DEPTH else None


def _entry_fault(entry: zipfile.ZipInfo) -> str | None:
    """Return why an entry of a zip is not allowed, or None."""
    mode = entry.external_attr >> 16
    if entry.flag_bits & ENCRYPTED:
        return "is encrypted"
    if stat.S_ISLNK(mode):
        return "is a link"
    return None if stat.S_IFMT(mode) in KINDS else "is neither a file nor a folder"


def _reason_to_leave(parts: list[str], start: Callable[[], bytes]) -> str | None:
    """Return the reason to count a file instead of unpacking it, or None; ``start`` reads its first bytes."""
    for part in parts:
        if is_system(part):
            return system_reason(part)
    suffix = Path(parts[-1]).suffix.lower()
    if suffix in SUFFIXES or suffix in LISTS or begins_as_image(start()):
        return None
    return counted("not an image", parts[-1])


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


# --- Zips ------------------------------------------------------------------------------------------------------------


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


def _zip_contents(archive: Path, limits: Limits, encoding: str | None) -> Contents:
    with _opened_zip(archive, limits.entries) as zipped:
        entries = zipped.infolist()
        names = _zip_names(archive, entries, encoding)
        found, looked = Contents({}), Counter[str]()
        for place, (entry, name) in enumerate(zip(entries, names, strict=True)):
            _refuse(archive, name, _entry_fault(entry) or _name_fault(name))
            if not (parts := _parts(name)) or name.endswith(("/", "\\")):
                continue
            left = _reason_to_leave(parts, partial(_first_bytes, zipped, entry, looked, limits))
            path = "/".join(parts)
            if entry.compress_type not in COMPRESSIONS and left is None:
                raise DataError(f"{archive}: {name!r} is compressed in a way that is not read here. {REMEDY}")
            _count(found, path, Entry(entry.file_size, place, checksum=entry.CRC), left)
    return found


def _count(found: Contents, path: str, entry: Entry, left: str | None) -> None:
    if left is not None:
        found.passed_over[left] += 1
        return
    if path in found.files:
        found.passed_over[counted("listed twice", path)] += 1
    found.files[path] = entry  # the last one counts, as in other programs


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


def _zip_files(archive: Path, inside: Contents) -> Iterator[tuple[str, IO[bytes], int]]:
    with _opened_zip(archive, LIMITS.entries) as zipped:
        entries = zipped.infolist()
        for path, about in inside.files.items():
            entry = entries[about.place]
            with zipped.open(entry) as source:
                yield path, source, COMPRESSIONS[entry.compress_type]


# --- Tars ------------------------------------------------------------------------------------------------------------


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


def _tar_contents(archive: Path, limits: Limits) -> Contents:
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
            _refuse(archive, entry.name, _name_fault(entry.name))
            if entry.isdir() or not (parts := _parts(entry.name)):
                continue
            if not (entry.isreg() or entry.issym() or entry.islnk()):
                raise DataError(f"{archive}: {entry.name!r} is neither a file nor a folder. {REMEDY}")
            link = "" if entry.isreg() else _target(archive, entry)
            left = _reason_to_leave(parts, partial(_tar_start, tar, entry))
            _count(found, "/".join(parts), Entry(entry.size, place, link), left)
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
    return "/".join(_parts(path))


def _tar_files(archive: Path, inside: Contents) -> Iterator[tuple[str, IO[bytes], int]]:
    wanted = {entry.place: path for path, entry in inside.files.items() if not entry.link}
    with _opened_tar(archive, Limits(unpacked_bytes=2**62, ratio=float("inf"), tar_bytes=2**62)) as tar:
        for place, entry in enumerate(tar):
            if (path := wanted.get(place)) and (source := tar.extractfile(entry)):
                yield path, source, CHUNK
