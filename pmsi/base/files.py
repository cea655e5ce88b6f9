"""Files that are whole or absent: atomic writes, JSON that any reader accepts, and reading within bounds.

A reader never sees half of a file, even if the writer is killed. What is read may have been written by anybody: its
bytes, its depth and its numbers are bounded here, before they cost anything, and only regular files are opened.
"""

import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, wraps
from pathlib import Path
from typing import IO, Any, ParamSpec, TypeVar

from pmsi.base.errors import DiskFull
from pmsi.base.text import size

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

LEFTOVERS = ".*.tmp"
"""Pattern of the temporary files that a killed writer leaves behind; nothing else is named like this."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that say that a file has no room: on its disk, in the user's quota, or under the process's limit."""


def disk_full(path: Path, needed: int, why: int = errno.ENOSPC, what: str = "") -> DiskFull:
    """Return the error about a file, or ``what`` is to be there: which disk, how much is needed, what is free."""
    what = what or f"{path.name} in {path.parent}"
    if why == errno.EFBIG:
        return DiskFull(f"{what} needs {size(needed)}, more than a process may write here (ulimit -f).", needed)
    disk = mount_of(path)
    cause = "your quota is used up" if why == errno.EDQUOT else f"{size(free_at(path))} are free"
    return DiskFull(f"The disk at {disk} is full: {what} needs {size(needed)}, and {cause}. Free some space.", needed)


@contextlib.contextmanager
def telling_full(path: Path, needed: int) -> Iterator[None]:
    """Raise DiskFull in place of the system's errors that say that a file of ``needed`` bytes has no room."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(path, needed, error.errno) from error
        raise


def mount_of(path: Path) -> Path:
    """Return where the disk is mounted on which a path is, or would be."""
    place = path.absolute()
    while not (place.exists() and os.path.ismount(place)) and place != place.parent:
        place = place.parent
    return place


def free_at(path: Path) -> int:
    """Return the bytes that are free on the disk of a path, which need not exist."""
    return shutil.disk_usage(mount_of(path)).free


def require_room(path: Path, needed: int, what: str = "") -> None:
    """Raise DiskFull unless ``needed`` bytes are free on the disk of a path."""
    if free_at(path) < needed:
        raise disk_full(path, needed, what=what)


def write_atomically(path: Path, data: bytes | str, *, durable: bool = True, keep: Path | None = None) -> None:
    """Write ``data`` to ``path``: readers see the old file or the new one, also after a crash.

    Raises DiskFull where there is no room, and else OSError.

    ``durable=False`` does not wait for the disk, for files that may be lost in a power cut (a heartbeat). The file that
    was there before is kept as ``keep``.
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with telling_full(path, len(content)):
        try:
            with temporary.open("xb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            if keep is not None and path.exists():
                _link(path, keep)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    if durable:
        _sync_folder(path.parent)


def _link(path: Path, other: Path) -> None:
    """Let ``other`` be the file ``path`` too, in place of what it was."""
    temporary = other.with_name(f".{other.name}.{secrets.token_hex(4)}.tmp")
    try:
        os.link(path, temporary)
    except OSError:  # a file system without hard links
        try:
            shutil.copyfile(path, temporary)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    temporary.replace(other)
    temporary.unlink(missing_ok=True)  # rename does nothing where both were one file already: a writer died in between


def _sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable, on file systems that support it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of killed writers from ``folder``. Call it only while no process writes there."""
    for path in folder.glob(LEFTOVERS):
        path.unlink(missing_ok=True)


def to_json(value: Any, *, indent: int | None = None) -> str:
    """Return ``value`` as strict JSON: NaN and infinities become null, numpy's and torch's numbers become numbers."""
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, indent=indent)


def _plain(value: Any) -> Any:
    """Return ``value`` converted to JSON types; `json.dumps` refuses what cannot be converted."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, (str, int, type(None))) and hasattr(value, "tolist"):
        return _plain(value.tolist())  # numpy and torch, scalars and arrays
    return value


def expanded(path: str | Path) -> Path:
    """Return a path with ``~`` replaced by a home folder; one of nobody stays as it is, and is then not found."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 (which raises RuntimeError)


Stamp = tuple[int, int]
"""A file's time of last change in ns and its size in bytes; (0, 0) where there is no file."""


def stamp(path: Path) -> Stamp:
    """Return the stamp of a file: while it stays, so does what was read from the file."""
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_mtime_ns, about.st_size


def cached_by_files(
    files: Callable[Arguments, Iterable[Path]], most: int = 4096
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Return a decorator that caches a function's results until one of the ``files`` of its arguments changes.

    ``files`` takes the function's arguments, which are hashable and given by position. ``most`` results are kept.
    """

    def decorate(read: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        @lru_cache(most)
        def known(changed: tuple[Stamp, ...], *arguments: Any) -> Result:
            return read(*arguments)  # type: ignore[call-arg]

        @wraps(read)
        def cached(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
            return known(tuple(map(stamp, files(*arguments, **named))), *arguments)

        return cached

    return decorate


SMALL, LARGE = 2**24, 2**28
"""Most bytes of a file: of one that a page may read for each run, and of one with something on every image."""

DEEPEST, MOST_LISTS, LONGEST_NUMBER = 64, 2_000_000, 20
"""Most levels, and most lists and objects, of a JSON text; most digits of a whole number in it."""

MOST_RATIO = 64
"""Most bytes that a byte of a gzip file may unpack to: text of ours to 4, a bomb to 1000."""

_KINDS = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a named pipe", stat.S_ISSOCK: "a socket"}


def open_regular(path: Path, mode: str = "rb") -> IO[Any]:
    """Open a file as `open` does, but raise OSError at once for what is no regular file: a pipe would block."""
    return open(path, mode, opener=_regular)


def _regular(path: str, flags: int) -> int:
    file = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return file
    os.close(file)
    kind = next((words for is_kind, words in _KINDS.items() if is_kind(mode)), "a device")
    raise OSError(errno.EINVAL, f"It is {kind}, expected a file", path)


def read_file(path: Path, most: int = SMALL) -> bytes:
    """Return the content of a regular file; raises OSError where there is none, or one of more than ``most`` bytes."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content: bytes = file.read(most + 1) if size <= most else b""
    if max(size, len(content)) > most:
        raise OSError(errno.EFBIG, f"It has more than {most // 2**20} MB", str(path))
    return content


def unpack(data: bytes, most: int = LARGE) -> bytes:
    """Return the content of a gzip file; raises ValueError if it is damaged, cut off or too large for its size."""
    unpacker = zlib.decompressobj(wbits=31)
    most = min(most, MOST_RATIO * len(data) + 2**16)
    try:
        content = unpacker.decompress(data, most)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacker.eof:
        raise ValueError(f"it is cut off, or unpacks to more than {most / 2**20:.1f} MB")
    return content


_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([\[{])|([\]}])', re.DOTALL)


def parse_json(text: bytes | str) -> Any:
    """Return the value of a JSON text; ValueError if it is none, is too deep, or has NaN or numbers out of bounds."""
    data = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    if (lists := data.count(b"[") + data.count(b"{")) > MOST_LISTS:
        raise ValueError(f"it has more than {MOST_LISTS:,} lists and objects")
    depth = 0
    for found in _BRACKETS.finditer(data) if lists > DEEPEST else ():
        depth += 1 if found[1] else -1 if found[2] else 0
        if depth > DEEPEST:
            raise ValueError(f"it has more than {DEEPEST} lists and objects inside each other")
    return json.loads(data.decode("utf-8-sig"), parse_int=_whole, parse_float=_real, parse_constant=_real)


def _whole(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"the number {text[:LONGEST_NUMBER]}… is too large")
    return int(text)


def _real(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the number {text[:LONGEST_NUMBER]} is not finite")
    return number


def read_json(path: Path, most: int = SMALL) -> dict[str, Any] | None:
    """Return the JSON object in ``path``; None if the file is missing, too large or holds no JSON object."""
    try:
        value = parse_json(read_file(path, most))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
