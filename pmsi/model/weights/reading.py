"""The tensors in a file by name, read only when they are asked for, and without executing anything in the file.

torch.load refuses a file that holds anything beside tensors, such as the settings of Lightning, or else runs what the
file says. Here a pickle's names lead to the few functions below or to `Foreign`, which does nothing.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from pmsi.base.errors import CheckpointError
from pmsi.model.weights.kinds import AGAIN, check_kind, refusal

LARGEST_PICKLE = 64_000_000
"""Bytes of a file's pickle, which holds its names; the tensors' numbers are beside it."""

MOST_NAMES, LONGEST_NAME = 1_000_000, 1_000

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file: its shape and dtype, and the function that reads it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


@dataclass
class Contents:
    """What is in a file: tensors by their dotted path, and how often each kind of Python object that was not opened."""

    path: Path
    tensors: dict[str, Stored] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)
    whole: str | None = None
    """The class of the first network that was pickled whole."""

    @classmethod
    def of(cls, state: Mapping[str, Tensor], path: Path) -> "Contents":
        """Return a state dict in memory as if it were in a file of this name."""
        tensors = {k: Stored(tuple(v.shape), v.dtype, v.detach) for k, v in state.items()}
        return cls(path, tensors)


def read_contents(path: Path) -> Contents:
    """Return what is in a file of weights; raises CheckpointError, with what the file is, where it holds none."""
    kind = check_kind(path)
    try:
        return READERS[kind](path)
    except CheckpointError:
        raise
    except Exception as error:  # bytes that are no weights make a reader raise almost anything
        raise refusal(path, f"is damaged ({type(error).__name__}: {_one_line(error)})", AGAIN) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


# safetensors


def _read_safetensors(path: Path) -> Contents:
    found = Contents(path)
    with safetensors.safe_open(path, framework="pt") as file:
        if "pmsi-checkpoint" in (file.metadata() or {}).get("format", ""):
            raise refusal(path, "is the checkpoint of a run of this program", "Go on from that run: start_from = RUN")
        for name in file.keys():  # noqa: SIM118 (not a dict)
            part = file.get_slice(name)
            dtype = DTYPES.get(part.get_dtype(), torch.uint8)
            found.tensors[name] = Stored(tuple(part.get_shape()), dtype, partial(_tensor_of, path, name))
    return found


DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}
"""safetensors' names of dtypes; those that are not here are no numbers of a network."""


def _tensor_of(path: Path, name: str) -> Tensor:
    with safetensors.safe_open(path, framework="pt") as file:
        tensor: Tensor = file.get_tensor(name)
        return tensor


# torch.save


class Foreign:
    """Stands for a Python object in a pickle, and does nothing, whatever the pickle does with it.

    ``called`` is the object's class; ``is_network`` says that it was a module of torch.
    """

    called, is_network = "", False

    def __new__(cls, *arguments: Any, **named: Any) -> "Foreign":
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        self.is_network = isinstance(state, dict) and "_modules" in state

    def __setitem__(self, key: Any, value: Any) -> None: ...

    def append(self, value: Any) -> None: ...

    def extend(self, values: Any) -> None: ...

    def add(self, value: Any) -> None: ...


class Names(dict):
    """An OrderedDict of the file; what torch notes beside the names is left out."""

    def __setstate__(self, state: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class _Storage:
    """The numbers of one or more tensors: ``raw`` returns their bytes."""

    dtype: torch.dtype
    count: int
    raw: Callable[[int], bytes]
    swap: bool = False

    def tensor(self, dtype: torch.dtype, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        content = bytearray(self.raw(self.count * self.dtype.itemsize))
        if len(content) != self.count * self.dtype.itemsize:
            raise EOFError("a tensor's numbers are cut short")
        numbers = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
        if self.swap:
            numbers = numbers.view(-1, dtype.itemsize).flip(1).reshape(-1)
        return numbers.view(dtype).as_strided(shape, stride, offset).clone()


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any, dtype: Any = None) -> Any:
    """Return what the pickle calls a tensor; the numbers are not read yet."""
    if not isinstance(storage, _Storage):
        return Foreign()
    kind = dtype if isinstance(dtype, torch.dtype) else storage.dtype
    shape, stride, offset = tuple(map(int, shape)), tuple(map(int, stride)), int(offset)
    return Stored(shape, kind, lambda: storage.tensor(kind, offset, shape, stride))


@dataclass(frozen=True, slots=True)
class _Call:
    """A function that a pickle can call, and not change."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)


FUNCTIONS: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Names,
    ("torch._utils", "_rebuild_tensor"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Call(_tensor),
    ("torch._utils", "_rebuild_tensor_v3"): _Call(lambda *about: _tensor(*about[:4], dtype=about[6])),
    ("torch._utils", "_rebuild_parameter"): _Call(lambda data, *_: data),
    ("torch._utils", "_rebuild_parameter_with_state"): _Call(lambda data, *_: data),
    ("torch", "Size"): tuple,
}
"""All that a pickle can call, by the names that torch.save writes."""


class _Unpickler(pickle._Unpickler):  # the one in C makes room for as many objects as the file claims
    def __init__(self, file: Any, storage: Callable[[Any, int, int, torch.dtype], _Storage]) -> None:
        super().__init__(file, encoding="utf-8", errors="surrogateescape")
        self.storage = storage
        self.foreign: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in FUNCTIONS:
            return FUNCTIONS[module, name]
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        full = f"{module}.{name}"
        self.foreign[full] = self.foreign.get(full, 0) + 1
        return type("Foreign", (Foreign,), {"__module__": __name__, "called": full})

    def persistent_load(self, about: Any) -> Any:
        if not isinstance(about, tuple) or not about or about[0] not in ("storage", b"storage"):
            return about[1] if isinstance(about, tuple) and len(about) > 1 else Foreign()  # legacy: a module's class
        _, dtype, key, _, count, *view = about
        if not isinstance(dtype, torch.dtype):
            return Foreign()
        first = 0
        if view and view[0] is not None:  # legacy: a part of a storage
            _, first, count = view[0]
        return self.storage(key, int(first), int(count), dtype)


def _read_zip(path: Path) -> Contents:
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        listing = next(name for name in archive.namelist() if name == "data.pkl" or name.endswith("/data.pkl"))
        if archive.getinfo(listing).file_size > LARGEST_PICKLE:
            raise refusal(path, "has more names than any network", "Save the network's state dict alone")
        prefix = listing.removesuffix("data.pkl")
        swap = f"{prefix}byteorder" in names and archive.read(f"{prefix}byteorder") == b"big"
        pickled = archive.read(listing)

    def storage(key: Any, first: int, count: int, dtype: torch.dtype) -> _Storage:
        return _Storage(dtype, count, lambda length: _record(path, f"{prefix}data/{key}", length), swap)

    unpickler = _Unpickler(io.BytesIO(pickled), storage)
    return _contents(path, unpickler.load(), unpickler.foreign)


def _record(path: Path, name: str, length: int) -> bytes:
    with zipfile.ZipFile(path) as archive, archive.open(name) as file:
        return file.read(length)


def _read_legacy(path: Path) -> Contents:
    places: dict[str, int] = {}

    def storage(key: Any, first: int, count: int, dtype: torch.dtype) -> _Storage:
        itemsize[str(key)] = dtype.itemsize
        return _Storage(dtype, count, lambda length: _bytes_at(path, places[str(key)] + first * dtype.itemsize, length))

    itemsize: dict[str, int] = {}
    with path.open("rb") as file:
        for _ in range(3):  # a magic number, the format's version, the machine
            _Unpickler(file, storage).load()
        unpickler = _Unpickler(file, storage)
        content = unpickler.load()
        for key in map(str, _Unpickler(file, storage).load()):
            count = int.from_bytes(file.read(8), "little")
            places[key] = file.tell()
            file.seek(count * itemsize.get(key, 1), io.SEEK_CUR)
        if file.tell() > path.stat().st_size:
            raise refusal(path, "is cut short: the end of its numbers is missing", AGAIN)
    return _contents(path, content, unpickler.foreign)


def _bytes_at(path: Path, place: int, length: int) -> bytes:
    with path.open("rb") as file:
        file.seek(place)
        return file.read(length)


READERS: dict[str, Callable[[Path], Contents]] = {
    "zip": _read_zip,
    "legacy": _read_legacy,
    "safetensors": _read_safetensors,
}


def _contents(path: Path, content: Any, foreign: dict[str, int]) -> Contents:
    found = Contents(path, foreign=foreign)
    for name, value in _leaves(content):
        if isinstance(value, Foreign):
            if value.is_network:
                found.whole = found.whole or value.called
        elif name in found.tensors:
            raise refusal(path, f"holds {name} twice", "Save the network's state dict alone")
        else:
            found.tensors[name] = value
        if len(found.tensors) > MOST_NAMES:
            raise refusal(path, "has more names than any network", "Save the network's state dict alone")
    return found


def _leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield the tensors and foreign objects in nested dicts and lists with their dotted paths; each container once."""
    waiting, seen = [("", content)], set()
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, (Stored, Foreign)):
            yield name, value
        elif isinstance(value, (dict, list, tuple)) and id(value) not in seen:
            seen.add(id(value))
            items = dict.items(value) if isinstance(value, dict) else enumerate(value)
            held = [(key, item) for key, item in items if isinstance(item, (Stored, Foreign, dict, list, tuple))]
            if len(name) < LONGEST_NAME:
                waiting += [(f"{name}.{key}" if name else str(key), item) for key, item in reversed(held)]
