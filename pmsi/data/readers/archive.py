"""A zip or a tar of pictures, unpacked once: looked through before a byte is written, then whole in the cache or not.

An archive may come from anybody: what leads out of its folder or would fill the disk is refused. Images, also known by
their content, and the lists that readers need are unpacked; everything else is counted. Archives inside stay closed.
"""

import bz2
import gzip
import hashlib
import io
import json
import os
import posixpath
import re
import secrets
import shutil
import stat
import struct
import tarfile
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
from pmsi.base.files import read_json, write_atomically
from pmsi.base.locks import locked
from pmsi.data.cache.zips import SPARE_BYTES, make_room_for, using
from pmsi.data.checking import Progress, cache_folder
from pmsi.data.images import START, begins_as_image
from pmsi.data.readers.tree import SUFFIXES, counted, is_system, system_reason


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an archive may hold; a place that takes uploads can be stricter."""

    entries: int = 200_000
    """Ten times the largest data set here. A larger one is better kept as a folder."""

    unpacked_bytes: int = 50 * 10**9
    """CUB-200-2011, Stanford Cars and FGVC-Aircraft together take 6 GB."""

    ratio: float = 100.0
    """Photos hardly shrink in a zip, and drawings in BMP seldom to a fiftieth; a bomb shrinks to a thousandth."""

    harmless_bytes: int = 100 * 10**6
    """Below this, the ratio does not matter."""


LIMITS = Limits()

MAX_DIRECTORY = 32 * 2**20
"""Bytes of the list of entries, which is read into memory: enough for 200,000 with names of 100 letters each."""

MAX_DEPTH = 64
"""Folders in one another."""

CHUNK = 2**20

ENCRYPTED = 0x2041
"""Bits of an entry's flags: encrypted, strongly encrypted, and its header masked."""

UTF8 = 0x800
"""Bit of an entry's flags: its name is in UTF-8."""

UNICODE_PATH = 0x7075
"""Tag of the extra field that has an entry's name in UTF-8, behind a version and a checksum of the plain name."""

KINDS = (0, stat.S_IFREG, stat.S_IFDIR)
"""What an entry's mode may say it is; zips not made on Unix say nothing."""

COMPRESSIONS = {
    zipfile.ZIP_STORED: CHUNK,
    zipfile.ZIP_DEFLATED: CHUNK,
    zipfile.ZIP_BZIP2: 2**12,
    zipfile.ZIP_LZMA: 2**12,
}
"""Bytes to ask for at once: the last two can unpack to thousands of times what is read for them."""

LISTS = frozenset((".txt", ".csv", ".tsv", ".mat"))
"""Suffixes of lists that readers need."""

REFUSED: tuple[tuple[Callable[[zipfile.ZipInfo], bool], str], ...] = (
    (lambda entry: bool(entry.flag_bits & ENCRYPTED), "is encrypted"),
    (lambda entry: stat.S_ISLNK(entry.external_attr >> 16), "is a link"),
    (lambda entry: stat.S_IFMT(entry.external_attr >> 16) not in KINDS, "is neither a file nor a folder"),
)
"""What no entry of a zip may be, with the words for it."""

REFUSED_NAMES: tuple[tuple[Callable[[str], bool], str], ...] = (
    (lambda name: ".." in re.split(r"[/\\]", name), "has a path that leads out of the archive"),
    (lambda name: any(ord(letter) < 32 for letter in name), "has a name with control characters"),
    (lambda name: any(len(os.fsencode(part)) > 255 for part in _parts(name)), "has a name of more than 255 bytes"),
    (lambda name: len(_parts(name)) > MAX_DEPTH, f"lies more than {MAX_DEPTH} folders deep"),
)
"""What no name may be. A slash at its start is left away, as by every program that unpacks."""

ENCODINGS = ("gbk", "big5", "shift_jis", "euc_kr", "cp437", "cp850", "cp1252", "cp1251")
"""What the names in a zip may be written in that does not say so; shown as candidates."""

DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, struct.error, EOFError, NotImplementedError, ValueError)
"""What is raised on bytes that are no archive, or damaged, beside an OSError without a number."""

COMPRESSED_TARS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
}
"""What reads the tar within, by how a file begins."""

REMEDY = "Nothing was unpacked. Make the archive again from the folder of classes, or unpack it and give the folder."
EXPECTED = "Expected a zip, a tar or a tgz of class folders"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to be unpacked: its bytes, its place in the archive's order, and, of a link in a tar, what it leads to."""

    size: int
    place: int
    link: str = ""
    checksum: int = 0


@dataclass(frozen=True)
class Contents:
    """The files of an archive that are unpacked, by their paths, and counts of the others."""

    files: dict[str, Entry]
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def size(self) -> int:
        """Bytes of all files, unpacked."""
        return sum(entry.size for entry in self.files.values())


def unpacked(
    archive: Path, progress: Progress | None = None, limits: Limits = LIMITS, encoding: str | None = None
) -> Path:
    """Return the folder with the images and lists of an archive, unpacked below `cache_folder` now or before.

    An archive that has changed is unpacked anew, and so is one whose unpacked files are no longer all there. What is
    returned stays for as long as this process lives; others may be removed (`pmsi.data.cache.zips`). ``progress``
    counts the files written. Raises what `contents` does, and DataError where the cache has no room or cannot be
    written.
    """
    inside = contents(archive, limits, encoding)
    home = _shelf() / _identity(archive, inside, encoding)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with using(home), locked(home.with_name(f"{home.name}.lock")):
            if not _is_whole(home, inside):
                make_room_for(home.parent, inside.size)
                _unpack(archive, inside, home, progress)
    except OSError as error:
        raise DataError(
            f"{archive} cannot be unpacked into {home.parent} ({error.strerror or error}). Set PMSI_CACHE to a folder "
            "that can be written, or unpack it yourself and give the folder."
        ) from error
    return home


def unpack_into(
    archive: Path,
    home: Path,
    progress: Progress | None = None,
    limits: Limits = LIMITS,
    encoding: str | None = None,
) -> Path:
    """Unpack the images and lists of an archive into the new folder ``home``; return that.

    ``progress`` counts the files written. Raises what `contents` does, and DataError where there is no room.
    """
    _unpack(archive, contents(archive, limits, encoding), home, progress)
    return home


def contents(archive: Path, limits: Limits = LIMITS, encoding: str | None = None) -> Contents:
    """Return what an archive holds, after looking through all entries; nothing is unpacked.

    ``encoding`` is that of the names in a zip that does not say it. Raises DataError that names the entry which an
    ordinary archive would not have (`REFUSED`, `REFUSED_NAMES`), the limit that is exceeded, or what is wrong with the
    file; also where there is no image.
    """
    try:
        found = _tar_contents(archive, limits) if _is_tar(archive) else _zip_contents(archive, limits, encoding)
    except OSError as error:
        raise DataError(f"{archive} cannot be read ({error.strerror or error}). {EXPECTED}.") from error
    if all(Path(path).suffix.lower() in LISTS for path in found.files):
        inner = [reason for reason in found.passed_over if re.search(r"\.(zip|tar|tgz|gz|rar|7z)\)$", reason)]
        packed = " It holds other archives: unpack it, and give one of them." if inner else ""
        raise DataError(
            f"{archive} holds no image.{packed} {EXPECTED}: train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg."
        )
    _refuse_clashes(archive, found.files)
    _refuse_bombs(archive, found.size, limits)
    return found


def is_archive(path: Path) -> bool:
    """Return whether a file begins as an archive that is read."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(2) == b"PK" or _is_tar(path)
    return False


# --- Names -----------------------------------------------------------------------------------------------------------


def _parts(name: str) -> list[str]:
    """Return the folders and the name of an entry; some tools of Windows part them by backslashes."""
    return [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]


def _refuse_name(archive: Path, name: str) -> None:
    for applies, reason in REFUSED_NAMES:
        if applies(name):
            raise DataError(f"{archive}: {name[:300]!r} {reason}. Expected files and folders only. {REMEDY}")


def _reason_to_leave(parts: list[str], start: Callable[[], bytes]) -> str | None:
    """Return the words under which a file is counted that is not unpacked, or None; ``start`` reads its first bytes."""
    for part in parts:
        if is_system(part):
            return system_reason(part)
    suffix = Path(parts[-1]).suffix.lower()
    if suffix in SUFFIXES or suffix in LISTS or begins_as_image(start()):
        return None
    return counted("not an image", parts[-1])


def _refuse_clashes(archive: Path, files: dict[str, Entry]) -> None:
    """Refuse a file that is a folder too."""
    folders = {path[: match.start()] for path in files for match in re.finditer("/", path)}
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
    """A file of which no one reads more than `MAX_DIRECTORY` at once: `zipfile` reads the list of entries in one go."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"its list of entries takes {size:,} bytes, more than {MAX_DIRECTORY:,}")
        return super().read(size)


@contextmanager
def _whole(archive: Path) -> Iterator[None]:
    """Turn what is wrong with an archive's bytes into DataError."""
    try:
        yield
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(f"{archive} is not a zip or tar, or damaged ({error}). {EXPECTED}.") from error


@contextmanager
def _opened_zip(archive: Path) -> Iterator[zipfile.ZipFile]:
    with _whole(archive), _Bounded(io.FileIO(archive)) as file, zipfile.ZipFile(file) as zipped:
        yield zipped


def _zip_contents(archive: Path, limits: Limits, encoding: str | None) -> Contents:
    with _opened_zip(archive) as zipped:
        entries = zipped.infolist()
        if len(entries) > limits.entries:
            raise DataError(f"{archive} has {len(entries):,} entries. Expected at most {limits.entries:,}. {REMEDY}")
        names = _zip_names(archive, entries, encoding)
        found = Contents({})
        for place, (entry, name) in enumerate(zip(entries, names, strict=True)):
            for applies, reason in REFUSED:
                if applies(entry):
                    raise DataError(f"{archive}: {name!r} {reason}. Expected files and folders only. {REMEDY}")
            _refuse_name(archive, name)
            if not (parts := _parts(name)) or name.endswith(("/", "\\")):
                continue
            left = _reason_to_leave(parts, partial(_first_bytes, zipped, entry))
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
    found.files[path] = entry  # the last one counts, as for every program that unpacks


def _first_bytes(zipped: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type not in COMPRESSIONS:
        return b""
    with zipped.open(entry) as file:
        return file.read(START)


def _zip_names(archive: Path, entries: list[zipfile.ZipInfo], encoding: str | None) -> list[str]:
    """Return the entries' names: as flagged, by their extra field, in UTF-8, or in ``encoding``."""
    names = [_sure_name(entry) for entry in entries]
    unsure = {place: entry.orig_filename.encode("cp437") for place, entry in enumerate(entries) if names[place] is None}
    if unsure and encoding is None:
        raise DataError(f"{archive} {_candidates(list(unsure.values()))}")
    try:
        return [name if name is not None else unsure[place].decode(encoding or "") for place, name in enumerate(names)]
    except (UnicodeDecodeError, LookupError) as error:
        raise DataError(f"{archive} {_candidates(list(unsure.values()))} Found: {error}.") from error


def _sure_name(entry: zipfile.ZipInfo) -> str | None:
    """Return the name of an entry where it is known without a guess, else None."""
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
    """Return the words for names whose encoding is not known, as they would read in each of `ENCODINGS`."""
    read = {}
    for encoding in ENCODINGS:
        with suppress(UnicodeDecodeError):
            decoded = [name.decode(encoding) for name in names]
            read[encoding] = decoded[0]
    shown = ", ".join(f"{name!r} in {encoding}" for encoding, name in read.items())
    return (
        f"does not say how its names are encoded; the first is {shown}. Give name_encoding = {next(iter(read))!r}, say."
    )


def _zip_files(archive: Path, inside: Contents) -> Iterator[tuple[str, IO[bytes], int]]:
    """Yield the path of each file, an open file to read it from, and how many bytes to ask for at once."""
    with _opened_zip(archive) as zipped:
        entries = zipped.infolist()
        for path, about in inside.files.items():
            entry = entries[about.place]
            with zipped.open(entry) as source:
                yield path, source, COMPRESSIONS[entry.compress_type]


# --- Tars ------------------------------------------------------------------------------------------------------------


class _Unpacking(io.RawIOBase):
    """The tar within a file, as far as ``limit`` bytes of it; nobody reads more than `MAX_DIRECTORY` at once."""

    def __init__(self, file: Any, limit: float) -> None:
        self._file, self._limit = file, limit
        self.last = b""
        """What was read last: at the end of a whole tar, a block of zeros."""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_DIRECTORY:
            raise tarfile.ReadError(f"one of its headers takes {size:,} bytes, more than {MAX_DIRECTORY:,}")
        self._check(self._file.tell() + size)
        self.last = self._file.read(size)
        return self.last

    def seek(self, place: int, whence: int = 0) -> int:
        self._check(place)
        return int(self._file.seek(place, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def _check(self, place: int) -> None:
        if place > self._limit:
            raise tarfile.ReadError(f"it unpacks to more than {self._limit:,.0f} bytes, as no archive of pictures does")


def _is_tar(archive: Path) -> bool:
    with archive.open("rb") as file:
        start = file.read(512)
    return any(map(start.startswith, COMPRESSED_TARS)) or start[257:262] == b"ustar"


@contextmanager
def _opened_tar(archive: Path, limits: Limits) -> Iterator[tarfile.TarFile]:
    size = archive.stat().st_size
    limit = min(2 * limits.unpacked_bytes, max(limits.harmless_bytes, limits.ratio * size)) + 2**20
    with _whole(archive), archive.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        reader = next((make for magic, make in COMPRESSED_TARS.items() if start.startswith(magic)), None)
        inner = reader(file) if reader else file
        unpacking = _Unpacking(inner, limit)
        with tarfile.open(fileobj=unpacking, mode="r:") as tar:
            yield tar
        if unpacking.last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("its end is missing")


def _tar_contents(archive: Path, limits: Limits) -> Contents:
    """Return the contents of a tar, remembered in the cache: all of it has to be read for them."""
    memory = _shelf() / f"{_tar_identity(archive)}.list"
    if (stored := read_json(memory)) is not None:
        with suppress(KeyError, TypeError, AttributeError):
            files = {path: Entry(*row) for path, row in stored["files"].items()}
            return Contents(files, Counter(stored["passed_over"]))
    found = _tar_listing(archive, limits)
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        rows = {path: [entry.size, entry.place, entry.link] for path, entry in found.files.items()}
        write_atomically(memory, json.dumps({"files": rows, "passed_over": found.passed_over}), durable=False)
    return found


def _tar_listing(archive: Path, limits: Limits) -> Contents:
    found = Contents({})
    with _opened_tar(archive, limits) as tar:
        for place, entry in enumerate(tar):
            if place >= limits.entries:
                raise DataError(f"{archive} has more than {limits.entries:,} entries. {REMEDY}")
            _refuse_name(archive, entry.name)
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
    """Return the path in the archive to which a link leads."""
    base = posixpath.dirname(entry.name) if entry.issym() else ""
    path = posixpath.normpath(posixpath.join(base, entry.linkname))
    if entry.linkname.startswith("/") or path.startswith(".."):
        raise DataError(f"{archive}: {entry.name!r} is a link that leads out of the archive. {REMEDY}")
    return "/".join(_parts(path))


def _tar_files(archive: Path, inside: Contents) -> Iterator[tuple[str, IO[bytes], int]]:
    wanted = {entry.place: path for path, entry in inside.files.items() if not entry.link}
    with _opened_tar(archive, Limits(unpacked_bytes=2**62, ratio=float("inf"))) as tar:
        for place, entry in enumerate(tar):
            if (path := wanted.get(place)) and (source := tar.extractfile(entry)):
                yield path, source, CHUNK


# --- In the cache ----------------------------------------------------------------------------------------------------


def _shelf() -> Path:
    return cache_folder() / "zips"


def _tar_identity(archive: Path) -> str:
    about = archive.stat()
    known = (os.path.realpath(archive), about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    return _digest(known)


def _identity(archive: Path, inside: Contents, encoding: str | None) -> str:
    """Return a name that changes with the archive: by its path, size and time, and of a zip by every checksum."""
    if _is_tar(archive):
        return _tar_identity(archive)
    about = archive.stat()
    listed = sorted((path, entry.size, entry.place, entry.checksum) for path, entry in inside.files.items())
    return _digest((os.path.realpath(archive), about.st_size, about.st_mtime_ns, listed))


def _digest(known: object) -> str:
    return hashlib.blake2b(repr(known).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _is_whole(home: Path, inside: Contents) -> bool:
    """Return whether every file is there at its size: a crash of the machine or a cleaner of caches may take some."""
    try:
        return home.is_dir() and all(
            (home / path).stat().st_size == (inside.files[entry.link].size if entry.link else entry.size)
            for path, entry in inside.files.items()
        )
    except OSError:
        return False


def _unpack(archive: Path, inside: Contents, home: Path, progress: Progress | None) -> None:
    """Write all files beside ``home`` and rename the folder; whatever happens, nothing of it stays but ``home``."""
    require_space(archive, home.parent, inside.size)
    for leftover in home.parent.glob(f".{home.name}.*.tmp"):  # of a killed process: the lock is ours
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = home.with_name(f".{home.name}.{secrets.token_hex(4)}.tmp")
    files = _tar_files if _is_tar(archive) else _zip_files
    try:
        with _whole(archive):
            for done, (path, source, chunk) in enumerate(files(archive, inside), 1):
                with _new(temporary / path, archive).open("xb") as file:
                    _copy(source, file, path, inside.files[path].size, chunk)
                if progress is not None:
                    progress(done, len(inside.files))
            for path, entry in inside.files.items():
                if entry.link:
                    shutil.copyfile(temporary / entry.link, _new(temporary / path, archive))
            if home.exists():
                shutil.rmtree(home)
            temporary.replace(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _new(target: Path, archive: Path) -> Path:
    """Return a path at which there is nothing yet; disks that merge names by their capitals may have another file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise DataError(f"{archive}: the disk takes {target.name!r} and another name for the same file. {REMEDY}")
    return target


def require_space(source: Path, place: Path, size: int) -> None:
    """Raise DataError where the disk of ``place`` has no room for the ``size`` bytes that ``source`` will take."""
    free = shutil.disk_usage(place).free
    if size + SPARE_BYTES > free:
        raise DataError(
            f"{source} takes {size / 1e9:.1f} GB unpacked, and the disk of {place} has {free / 1e9:.1f} GB left, of "
            f"which {SPARE_BYTES / 1e9:.0f} should stay. Free some (`pmsi data cache` shows what is kept), or set "
            "PMSI_CACHE (PMSI_DATASETS, for an import) to a folder on another disk."
        )


def _copy(source: IO[bytes], file: IO[bytes], name: str, size: int, chunk: int) -> None:
    """Copy one file, counting: the size that an archive declares is only its word."""
    left = size
    while data := source.read(chunk):
        left -= len(data)
        if left < 0:
            break
        file.write(data)
    if left:
        raise zipfile.BadZipFile(f"{name!r} is not of the {size:,} bytes that it declares")
