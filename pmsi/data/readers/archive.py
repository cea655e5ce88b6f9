"""A zip of pictures, unpacked once: looked through before a byte is written, then whole in the cache or not there.

The zip may come from anybody, so what an ordinary zip of pictures does not hold is refused rather than worked around.
Zips inside are not opened. This module knows images by their names alone, and nothing of classes and splits.
"""

import hashlib
import io
import os
import re
import secrets
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pmsi.base.errors import DataError
from pmsi.base.locks import locked
from pmsi.data.cache.zips import SPARE_BYTES, make_room_for, using
from pmsi.data.checking import Progress, cache_folder
from pmsi.data.readers.tree import SUFFIXES, is_system


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

CHUNK = 2**20

ENCRYPTED = 0x2041
"""Bits of an entry's flags: encrypted, strongly encrypted, and its header masked."""

KINDS = (0, stat.S_IFREG, stat.S_IFDIR)
"""What an entry's mode may say it is; zips not made on Unix say nothing."""

COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What every tool writes. The others that Python knows can ask for gigabytes of memory."""

REFUSED: tuple[tuple[Callable[[zipfile.ZipInfo], bool], str], ...] = (
    (lambda entry: bool(entry.flag_bits & ENCRYPTED), "is encrypted"),
    (lambda entry: stat.S_ISLNK(entry.external_attr >> 16), "is a link"),
    (lambda entry: stat.S_IFMT(entry.external_attr >> 16) not in KINDS, "is neither a file nor a folder"),
    (lambda entry: entry.compress_type not in COMPRESSIONS, "is compressed in an unusual way"),
    (lambda entry: bool(re.match(r"[/\\]", entry.filename)), "has an absolute path"),
    (lambda entry: bool(re.match(r"[A-Za-z]:", entry.filename)), "has a path on a drive"),
    (lambda entry: ".." in re.split(r"[/\\]", entry.filename), "has a path that leads out of the archive"),
    (lambda entry: any(ord(letter) < 32 for letter in entry.orig_filename), "has a name with control characters"),
    (lambda entry: any(len(part.encode()) > 255 for part in _parts(entry)), "has a name of more than 255 bytes"),
)
"""What no entry may be, wherever it lies, with the words for it."""

DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError)
"""What `zipfile` raises on bytes that are no zip, or damaged."""

REMEDY = "Nothing was unpacked. Make the zip again from the folder of classes, or unpack it and give the folder."


def unpacked(archive: Path, progress: Progress | None = None, limits: Limits = LIMITS) -> Path:
    """Return the folder with the images of a zip, unpacked below `cache_folder` now or before.

    An archive that has changed is unpacked anew, and so is one
    whose unpacked files are no longer all there. What is returned stays for as long as this process lives; others may
    be removed (`pmsi.data.cache.zips`). ``progress`` counts the images written. Raises what `contents` does, and
    DataError where the cache has no room or cannot be written.
    """
    inside = contents(archive, limits)
    home = cache_folder() / "zips" / _identity(archive, inside.values())
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with using(home), locked(home.with_name(f"{home.name}.lock")):
            if not _is_whole(home, inside):
                make_room_for(home.parent, sum(entry.file_size for entry in inside.values()))
                _unpack(archive, inside, home, progress)
    except OSError as error:
        raise DataError(
            f"{archive} cannot be unpacked into {home.parent} ({error.strerror or error}). Set PMSI_CACHE to a folder "
            "that can be written, or unpack it yourself and give the folder."
        ) from error
    return home


def unpack_into(archive: Path, home: Path, progress: Progress | None = None, limits: Limits = LIMITS) -> Path:
    """Unpack the images of a zip into the new folder ``home``; return that.

    ``progress`` counts the images written. Raises what `contents` does, and DataError where there is no room.
    """
    inside = contents(archive, limits)
    _unpack(archive, inside, home, progress)
    return home


def contents(archive: Path, limits: Limits = LIMITS) -> dict[str, zipfile.ZipInfo]:
    """Return the images in a zip by their paths, after looking through all entries; nothing is unpacked.

    Hidden files, __MACOSX and whatever has no image's name are passed over. Raises DataError that names the entry which
    an ordinary zip would not have (`REFUSED`, or one name twice), the limit that is exceeded, or what is wrong with the
    file; also where there is no image.
    """
    try:
        with _opened(archive) as zipped:
            entries = zipped.infolist()
    except OSError as error:
        raise DataError(
            f"{archive} cannot be read ({error.strerror or error}). Expected a zip of class folders."
        ) from error
    if len(entries) > limits.entries:
        raise DataError(f"{archive} has {len(entries):,} entries. Expected at most {limits.entries:,}. {REMEDY}")
    for entry in entries:
        for applies, reason in REFUSED:
            if applies(entry):
                raise DataError(f"{archive}: {entry.filename!r} {reason}. Expected files and folders only. {REMEDY}")
    images = [("/".join(_parts(entry)), entry) for entry in entries if _is_image(entry)]
    if not images:
        raise DataError(f"{archive} holds no image. Expected train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg.")
    _refuse_clashes(archive, [path for path, _ in images])
    _refuse_bombs(archive, sum(entry.file_size for _, entry in images), limits)
    return dict(images)


class _Bounded(io.BufferedReader):
    """A file of which no one reads more than `MAX_DIRECTORY` at once: `zipfile` reads the list of entries in one go."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"its list of entries takes {size:,} bytes, more than {MAX_DIRECTORY:,}")
        return super().read(size)


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip; what is wrong with its bytes, now or later, becomes DataError."""
    try:
        with _Bounded(io.FileIO(archive)) as file, zipfile.ZipFile(file) as zipped:
            yield zipped
    except DAMAGE as error:
        raise DataError(f"{archive} is not a zip, or damaged ({error}). Expected a zip of class folders.") from error


def _parts(entry: zipfile.ZipInfo) -> list[str]:
    """Return the folders and the name of an entry; some tools of Windows part them by backslashes."""
    return [part for part in re.split(r"[/\\]", entry.filename) if part not in ("", ".")]


def _is_image(entry: zipfile.ZipInfo) -> bool:
    parts = _parts(entry)
    if entry.is_dir() or any(map(is_system, parts)):
        return False
    return bool(parts) and Path(parts[-1]).suffix.lower() in SUFFIXES


def _refuse_clashes(archive: Path, paths: Iterable[str]) -> None:
    """Refuse two files of one name, a file as a folder, and names that differ in case alone: many disks merge them."""
    seen: dict[str, tuple[str, bool]] = {}
    for path in paths:
        ends = [match.start() for match in re.finditer("/", path)]
        for end in (*ends, len(path)):
            found = (path[:end], end == len(path))
            known = seen.setdefault(unicodedata.normalize("NFC", path[:end]).casefold(), found)
            if known != found or (found[1] and known is not found):
                raise DataError(
                    f"{archive}: {path!r} and {known[0]!r} cannot both be there: a name may not come twice, nor differ "
                    f"from another in capital letters alone. {REMEDY}"
                )


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


def _identity(archive: Path, entries: Iterable[zipfile.ZipInfo]) -> str:
    """Return a name that changes with the archive: by its path, size and time, and by the checksum of every image."""
    about = archive.stat()
    listed = sorted((entry.filename, entry.CRC, entry.file_size, entry.header_offset) for entry in entries)
    known = (os.path.realpath(archive), about.st_size, about.st_mtime_ns, listed)
    return hashlib.blake2b(repr(known).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _is_whole(home: Path, inside: dict[str, zipfile.ZipInfo]) -> bool:
    """Return whether every file is there at its size: a crash of the machine or a cleaner of caches may take some."""
    try:
        return all((home / path).stat().st_size == entry.file_size for path, entry in inside.items())
    except OSError:
        return False


def _unpack(archive: Path, inside: dict[str, zipfile.ZipInfo], home: Path, progress: Progress | None) -> None:
    """Write all images beside ``home`` and rename the folder; whatever happens, nothing of it stays but ``home``."""
    require_space(archive, home.parent, sum(entry.file_size for entry in inside.values()))
    for leftover in home.parent.glob(f".{home.name}.*.tmp"):  # of a killed process: the lock is ours
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = home.with_name(f".{home.name}.{secrets.token_hex(4)}.tmp")
    try:
        with _opened(archive) as zipped:
            for done, (path, entry) in enumerate(inside.items(), 1):
                target = temporary / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with zipped.open(entry) as source, target.open("xb") as file:
                    _copy(source, file, entry)
                if progress is not None:
                    progress(done, len(inside))
        if home.exists():
            shutil.rmtree(home)
        temporary.replace(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_space(source: Path, place: Path, size: int) -> None:
    """Raise DataError where the disk of ``place`` has no room for the ``size`` bytes that ``source`` will take."""
    free = shutil.disk_usage(place).free
    if size + SPARE_BYTES > free:
        raise DataError(
            f"{source} takes {size / 1e9:.1f} GB unpacked, and the disk of {place} has {free / 1e9:.1f} GB left, of "
            f"which {SPARE_BYTES / 1e9:.0f} should stay. Free some (`pmsi data cache` shows what is kept), or set "
            "PMSI_CACHE (PMSI_DATASETS, for an import) to a folder on another disk."
        )


def _copy(source: IO[bytes], file: IO[bytes], entry: zipfile.ZipInfo) -> None:
    """Copy one file, counting: the size that an archive declares is only its word."""
    left = entry.file_size
    while data := source.read(CHUNK):
        left -= len(data)
        if left < 0:
            break
        file.write(data)
    if left:
        raise zipfile.BadZipFile(f"{entry.filename!r} is not of the {entry.file_size:,} bytes that it declares")
