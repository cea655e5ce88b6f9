"""Files that are whole or absent: atomic writes, and JSON that any reader accepts.

A reader never sees half of a file, even if the writer is killed.
"""

import contextlib
import json
import math
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LEFTOVERS = ".*.tmp"
"""Pattern of the temporary files that a killed writer leaves behind; nothing else is named like this."""


def write_atomically(path: Path, data: bytes | str, *, durable: bool = True) -> None:
    """Write ``data`` to ``path``: readers see the old file or the new one, also after a crash. Raises OSError.

    ``durable=False`` does not wait for the disk, for files that may be lost in a power cut (a heartbeat).
    """
    content = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


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


Stamp = tuple[int, int]
"""A file's time of last change in ns and its size in bytes; (0, 0) where there is no file."""


def stamp(path: Path) -> Stamp:
    """Return the stamp of a file: while it stays, so does what was read from the file."""
    try:
        about = path.stat()
    except OSError:
        return 0, 0
    return about.st_mtime_ns, about.st_size


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in ``path``; None if the file is missing or holds no JSON object."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
