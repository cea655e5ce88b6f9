"""Graphs of models in the cache, by what the models are; of a model that has none, the reason."""

import contextlib
import hashlib
import os
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from pmsi.base.errors import ExportError
from pmsi.base.files import write_atomically
from pmsi.base.locks import locked
from pmsi.data.cache.disk import file_entries, make_room
from pmsi.data.checking import cache_folder
from pmsi.model import Recognizer

FORMAT = 2
"""To be raised with what `recording` or `onnx_file` write: graphs of another format are made anew."""

FOLDER, GRAPH, REFUSED = "graphs", ".onnx", ".refused"
PACKAGES = ("torch", "onnx", "onnxscript")
KEPT_BYTES = 2 * 10**9
"""Limit of all graphs together; the longest unused go first."""


def key_of(model: Recognizer, sizes: tuple[int, int]) -> str:
    """Return what is another text for other weights, layers, sizes or versions."""
    versions = [version(name) for name in PACKAGES if find_spec(name)]
    about = (FORMAT, versions, sizes, model.heads, model.primary, str(model))
    digest = hashlib.blake2b(repr(about).encode(), digest_size=16)
    for name, value in model.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def find(key: str) -> bytes | None:
    """Return the kept graph, None where there is none; raises ExportError where the model is known to have none."""
    path = _folder() / f"{key}{GRAPH}"
    if reason := _read(path.with_suffix(REFUSED)):
        raise ExportError(reason.decode())
    data = _read(path)
    return data[SEAL:] if data[:SEAL] == _seal(data[SEAL:]) else None


def _read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        data = path.read_bytes()
        with contextlib.suppress(OSError):
            os.utime(path)
        return data
    return b""


def keep(key: str, graph: bytes) -> None:
    """Keep a graph, where the cache can be written."""
    _write(_folder() / f"{key}{GRAPH}", _seal(graph) + graph)


def refuse(key: str, reason: str) -> None:
    """Remember that a model has no graph."""
    _write(_folder() / f"{key}{REFUSED}", reason.encode())


SEAL = 16
"""Bytes of the digest before a graph, which shows damage."""


def _seal(graph: bytes) -> bytes:
    return hashlib.blake2b(graph, digest_size=SEAL).digest()


def _folder() -> Path:
    return cache_folder() / FOLDER


def _write(path: Path, data: bytes) -> None:
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent / "lock"):
            make_room(file_entries(path.parent, GRAPH, REFUSED), lambda taken: taken + len(data) <= KEPT_BYTES)
            write_atomically(path, data)
