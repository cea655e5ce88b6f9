"""Archives unpacked into the cache, or into a folder of one's own: as a whole or not at all."""

import hashlib
import secrets
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from pmsi.base import text
from pmsi.base.errors import DataError
from pmsi.base.files import mount_of
from pmsi.base.locks import locked
from pmsi.data.cache.zips import SPARE_BYTES, make_room_for, using, zips_folder
from pmsi.data.checking import Progress
from pmsi.data.readers.archive import contents, files
from pmsi.data.readers.archive_rules import LIMITS, REMEDY, Contents, Limits, identity, reading
from pmsi.data.readers.tree import LISTS, is_system

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tbz", ".tar.bz2", ".txz", ".tar.xz")
"""Suffixes of the archives that are opened where they lie in a data set's folder."""

MOST_ARCHIVES = 16
"""Limit of such archives; ImageNet's 1,000 inner tars are not opened one by one."""


def unpacked(
    archive: Path, progress: Progress | None = None, limits: Limits = LIMITS, encoding: str | None = None
) -> Path:
    """Return the folder with the images and lists of an archive, unpacked below `cache_folder` now or earlier.

    An archive is unpacked again if it has changed, or if unpacked files are missing. The folder exists as long as this
    process; others may be removed (`pmsi.data.cache.zips`). ``progress`` counts the files written. Raises what
    `contents` does, and DataError if the cache is full or cannot be written.
    """
    inside = contents(archive, limits, encoding)
    return kept(
        archive,
        zips_folder() / identity(archive, inside),
        inside.size,
        lambda home: _is_whole(home, inside),
        lambda home: _write(archive, inside, home, progress),
    )


def packed_in(folder: Path) -> list[Path]:
    """Return the archives in a data set's folder, none if there are more than `MOST_ARCHIVES`."""
    try:
        files = [path for path in folder.iterdir() if path.name.lower().endswith(ARCHIVES) and path.is_file()]
    except OSError:
        return []
    found = sorted(path for path in files if not is_system(path.name))
    return found if len(found) <= MOST_ARCHIVES else []


def unpacked_inside(folder: Path, progress: Progress | None = None, encoding: str | None = None) -> Path | None:
    """Return a folder with what the archives in ``folder`` hold and the lists beside them; None where it has none.

    That is how data sets are downloaded: images.tar beside lists.tar, 102flowers.tgz beside setid.mat. An archive with
    files at its root becomes a folder of its own name. Raises what `unpacked` does.
    """
    packed = packed_in(folder)
    if not packed:
        return None
    inside = {archive: contents(archive, encoding=encoding, lists_alone=True) for archive in packed}
    lists = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in LISTS)

    def home_of(archive: Path, home: Path) -> Path:
        at_root = any("/" not in path for path in inside[archive].files)
        return home / archive.name.partition(".")[0] if at_root else home

    def fill(home: Path) -> None:
        for archive, found in inside.items():
            _write(archive, found, home_of(archive, home), progress)
        for path in lists:
            shutil.copyfile(path, _new(home / path.name, path))

    def is_whole(home: Path) -> bool:
        whole = all(_is_whole(home_of(archive, home), found) for archive, found in inside.items())
        return whole and all((home / path.name).is_file() for path in lists)

    known = [*(identity(archive, found) for archive, found in inside.items()), *map(identity, lists)]
    name = hashlib.blake2b(" ".join(known).encode(), digest_size=16).hexdigest()
    return kept(folder, zips_folder() / name, sum(found.size for found in inside.values()), is_whole, fill)


def kept(source: Path, home: Path, size: int, is_whole: Callable[[Path], bool], fill: Callable[[Path], object]) -> Path:
    """Return the folder ``home`` of the cache with what is unpacked of ``source``, filled if it is not whole.

    ``fill`` gets a new folder's path. Raises DataError if the cache, of which ``size`` bytes are needed, cannot be
    written.
    """
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        with using(home), locked(home.with_name(f"{home.name}.lock")):
            if not is_whole(home):
                make_room_for(home.parent, size)
                _replace(home, fill)
    except OSError as error:
        raise DataError(
            f"{source} cannot be unpacked into {home.parent} ({error.strerror or error}). Set PMSI_CACHE to a folder "
            "that can be written, or unpack it yourself and give the folder."
        ) from error
    return home


def _replace(home: Path, fill: Callable[[Path], object]) -> None:
    """Fill a temporary folder beside ``home``, and rename it."""
    for leftover in home.parent.glob(f".{home.name}.*.tmp"):  # of killed processes, because this one holds the lock
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = home.with_name(f".{home.name}.{secrets.token_hex(4)}.tmp")
    try:
        fill(temporary)
        if home.exists():
            shutil.rmtree(home)
        temporary.replace(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def unpack_into(
    archive: Path,
    home: Path,
    progress: Progress | None = None,
    limits: Limits = LIMITS,
    encoding: str | None = None,
) -> Path:
    """Unpack the images and lists of an archive into the new folder ``home``, and return it.

    ``progress`` counts the files written. Raises what `contents` does, and DataError if the disk is full.
    """
    inside = contents(archive, limits, encoding)
    _replace(home, lambda temporary: _write(archive, inside, temporary, progress))
    return home


def _is_whole(home: Path, inside: Contents) -> bool:
    """Return whether every file exists with its size; a crash or a cache cleaner may have removed some."""
    try:
        return home.is_dir() and all(
            (home / path).stat().st_size == (inside.files[entry.link].size if entry.link else entry.size)
            for path, entry in inside.files.items()
        )
    except OSError:
        return False


def _write(archive: Path, inside: Contents, home: Path, progress: Progress | None) -> None:
    """Write all files of an archive into the new folder ``home``."""
    require_space(archive, home.parent, inside.size)
    with reading(archive):
        for done, (path, source, chunk) in enumerate(files(archive, inside), 1):
            with _new(home / path, archive).open("xb") as file:
                _copy(source, file, path, inside.files[path].size, chunk)
            if progress is not None:
                progress(done, len(inside.files))
        for path, entry in inside.files.items():
            if entry.link:
                shutil.copyfile(home / entry.link, _new(home / path, archive))


def _new(target: Path, archive: Path) -> Path:
    """Return ``target`` after making its folder; DataError if it exists, as on a disk that ignores capitals."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise DataError(f"{archive}: the disk takes {target.name!r} and another name for the same file. {REMEDY}")
    return target


def require_space(source: Path, place: Path, size: int) -> None:
    """Raise DataError if the disk of ``place`` has no room for ``size`` bytes, those of ``source``."""
    free = shutil.disk_usage(place).free
    if size + SPARE_BYTES > free:
        raise DataError(
            f"{source} takes {text.size(size)} unpacked, and the disk at {mount_of(place)} has {text.size(free)} free, "
            f"of which {text.size(SPARE_BYTES)} should stay. Free some (`pmsi data cache` shows what is kept), or set "
            "PMSI_CACHE (PMSI_DATASETS, for an import) to a folder on another disk."
        )


def _copy(source: IO[bytes], file: IO[bytes], name: str, size: int, chunk: int) -> None:
    """Copy one file; raises BadZipFile if it does not have the declared ``size``."""
    left = size
    while data := source.read(chunk):
        left -= len(data)
        if left < 0:
            break
        file.write(data)
    if left:
        raise zipfile.BadZipFile(f"{name!r} is not of the {size:,} bytes that it declares")
