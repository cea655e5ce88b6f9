"""MATLAB's own files, as far as lists of images need them: numbers, texts, cells and structures of version 5 to 7.2.

Written after MathWorks' "MAT-File Format", so that reading a list needs nothing to be installed. Version 7.3 (which is
HDF5), sparse arrays and objects are not read. What the lists mean is their reader's business.
"""

import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEADER = 128
"""Bytes of text, version and byte order before the first variable."""

MAX_BYTES = 2**28
"""No compressed variable may unpack to more; a list of all 16,185 Stanford Cars takes 7 MB."""

MAX_DEPTH = 8
"""Cells may hold cells; a list of images is three deep."""

NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
"""How `struct` calls the types of numbers."""

TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
MATRIX, COMPRESSED = 14, 15
CELL, STRUCTURE, CHARACTERS, NUMERIC = 1, 2, 4, range(6, 16)


class NotMatlab(ValueError):
    """Why a file is not read."""


def read_matlab(path: Path) -> dict[str, Any]:
    """Return the variables of a file by name; raise NotMatlab where it is damaged or of another kind.

    A structure array is a list of dicts, a cell array a list, both in MATLAB's order (columns first); an array of
    characters is a str, a single number an int or a float, and other numbers a list.
    """
    data = path.read_bytes()
    orders = {b"IM": "<", b"MI": ">"}
    if data[:8] == b"\x89HDF\r\n\x1a\n" or b"MATLAB 7.3" in data[:20]:
        raise NotMatlab("it is of MATLAB's version 7.3; save it with -v7")
    if len(data) < HEADER or data[126:128] not in orders:
        raise NotMatlab("it does not begin as a MATLAB file of version 5 to 7.2 does")
    try:
        return _Reader(data, orders[data[126:128]]).variables()
    except NotMatlab:
        raise
    except (struct.error, zlib.error, ValueError, TypeError, IndexError, OverflowError) as error:
        raise NotMatlab(f"it is damaged or cut off ({error})") from error


class _Reader:
    """A walk through the elements of a file: each has a type, a length and so many bytes."""

    def __init__(self, data: bytes, order: str) -> None:
        self.data, self.order = data, order

    def variables(self) -> dict[str, Any]:
        found, at = {}, HEADER
        while at < len(self.data):
            kind, body, at = self.element(self.data, at)
            if kind == COMPRESSED:
                kind, body, _ = self.element(_inflate(body), 0)
            if kind == MATRIX:
                name, value = self.array(body, 0)
                found[name] = value
        return found

    def element(self, data: bytes, at: int) -> tuple[int, bytes, int]:
        """Return the type and the bytes of the element at ``at``, and where the next one begins."""
        kind, length = struct.unpack_from(f"{self.order}II", data, at)
        start = at + 8
        if kind >> 16:  # a small element: its length is in the type's upper half, its bytes in the length's place
            kind, length, start = kind & 0xFFFF, kind >> 16, at + 4
            end = at + 8
        else:
            end = start + length + (0 if kind == COMPRESSED else -length % 8)
        if start + length > len(data):
            raise NotMatlab("its end is missing")
        return kind, data[start : start + length], end

    def array(self, body: bytes, depth: int) -> tuple[str, Any]:
        """Return the name and the value of one array; an empty one has no bytes at all."""
        if depth > MAX_DEPTH:
            raise NotMatlab(f"its arrays lie more than {MAX_DEPTH} deep in one another")
        if not body:
            return "", []
        _, flags, at = self.element(body, 0)
        kind, dimensions, at = self.element(body, at)
        size = math.prod(self.numbers(kind, dimensions))
        _, name, at = self.element(body, at)
        family = struct.unpack_from(f"{self.order}I", flags)[0] & 0xFF
        return name.decode("latin-1"), self.content(family)(body, at, size, depth)

    def content(self, family: int) -> Callable[[bytes, int, int, int], Any]:
        """Return what reads the arrays of a family (MATLAB: class), each from (bytes, place, size, depth)."""
        readers = {CELL: self.cells, STRUCTURE: self.structures, CHARACTERS: self.characters}
        readers |= dict.fromkeys(NUMERIC, self.values)
        if family not in readers:
            raise NotMatlab(f"it holds an array of class {family}, which is not read here")
        return readers[family]

    def cells(self, body: bytes, at: int, size: int, depth: int) -> list[Any]:
        if size > len(body):
            raise NotMatlab(f"{size} cells cannot lie in {len(body)} bytes")
        found = []
        for _ in range(size):
            _, inner, at = self.element(body, at)
            found.append(self.array(inner, depth + 1)[1])
        return found

    def structures(self, body: bytes, at: int, size: int, depth: int) -> list[dict[str, Any]]:
        kind, length, at = self.element(body, at)
        (width,) = self.numbers(kind, length)
        _, text, at = self.element(body, at)
        names = [text[i : i + width].split(b"\0")[0].decode("latin-1") for i in range(0, len(text), max(width, 1))]
        fields = self.cells(body, at, size * len(names), depth)
        width = len(names)
        return [dict(zip(names, fields[i : i + width], strict=True)) for i in range(0, len(fields), max(width, 1))]

    def characters(self, body: bytes, at: int, size: int, depth: int) -> str:
        kind, text, _ = self.element(body, at)
        if kind in TEXTS:
            return text.decode(TEXTS[kind] + ("" if kind == 16 else {"<": "-le", ">": "-be"}[self.order]))
        return "".join(map(chr, self.numbers(kind, text)))

    def values(self, body: bytes, at: int, size: int, depth: int) -> Any:
        kind, data, _ = self.element(body, at)
        found = self.numbers(kind, data)
        return found[0] if len(found) == 1 else list(found)

    def numbers(self, kind: int, data: bytes) -> tuple[Any, ...]:
        if kind not in NUMBERS:
            raise NotMatlab(f"it holds numbers of type {kind}, which is not one of MATLAB's")
        count = len(data) // struct.calcsize(f"={NUMBERS[kind]}")
        return struct.unpack_from(f"{self.order}{count}{NUMBERS[kind]}", data)


def _inflate(body: bytes) -> bytes:
    """Return a compressed element, or raise NotMatlab where it would grow beyond `MAX_BYTES`."""
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(body, MAX_BYTES)
    if unpacker.unconsumed_tail:
        raise NotMatlab(f"a variable of it unpacks to more than {MAX_BYTES // 2**20} MB")
    return data
