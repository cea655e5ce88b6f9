"""MATLAB files: what SciPy writes is read back alike, other forms are built byte by byte, and damage is refused."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from pmsi.data.readers import matlab
from pmsi.data.readers.matlab import NotMatlab, read_matlab


@pytest.mark.parametrize("compressed", [False, True])
def test_what_scipy_writes_is_read(tmp_path: Path, compressed: bool) -> None:
    people = np.zeros((1, 2), dtype=[("name", "O"), ("age", "O"), ("longer_name", "O")])
    people[0, 0] = ("Ann", np.uint8(7), np.array([1.5, 2.5]))
    people[0, 1] = ("Jörg", np.int32(-300), np.zeros((0, 0)))
    written = {
        "people": people,
        "one": {"a": 3},
        "names": np.array(["x", "a longer one"], dtype=object),
        "table": np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int16),
        "big": np.uint64(2**63),
        "nested": np.array([np.array(["deep"], dtype=object), 1.0], dtype=object),
    }
    scipy.io.savemat(tmp_path / "a.mat", written, do_compression=compressed)
    assert read_matlab(tmp_path / "a.mat") == {
        "people": [
            {"name": "Ann", "age": 7, "longer_name": [1.5, 2.5]},
            {"name": "Jörg", "age": -300, "longer_name": []},
        ],
        "one": [{"a": 3}],
        "names": ["x", "a longer one"],
        "table": [1, 4, 2, 5, 3, 6],  # MATLAB counts along columns
        "big": 2**63,
        "nested": [["deep"], 1.0],
    }


def element(order: str, kind: int, data: bytes) -> bytes:
    return struct.pack(f"{order}II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def array(order: str, family: int, shape: tuple[int, int], content: bytes, name: bytes = b"v") -> bytes:
    flags = element(order, 6, struct.pack(f"{order}II", family, 0))
    sizes = element(order, 5, struct.pack(f"{order}ii", *shape))
    return element(order, 14, flags + sizes + element(order, 1, name) + content)


def file(path: Path, *elements: bytes, order: str = "<") -> Path:
    end = b"\0\1IM" if order == "<" else b"\1\0MI"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + end + b"".join(elements))
    return path


@pytest.mark.parametrize("order", ["<", ">"])
def test_texts_of_matlab_itself_are_of_two_bytes_a_letter_in_either_byte_order(tmp_path: Path, order: str) -> None:
    letters = element(order, 4, struct.pack(f"{order}3H", *map(ord, "año")))
    utf16 = element(order, 17, "año".encode({"<": "utf-16-le", ">": "utf-16-be"}[order]))
    for content in (letters, utf16):
        assert read_matlab(file(tmp_path / "a", array(order, 4, (1, 3), content), order=order)) == {"v": "año"}


@pytest.mark.parametrize("order", ["<", ">"])
def test_small_elements_hold_their_bytes_in_the_tag(tmp_path: Path, order: str) -> None:
    small = struct.pack(f"{order}I", 2 << 16 | 4) + struct.pack(f"{order}H", 999) + b"\0\0"
    assert read_matlab(file(tmp_path / "a", array(order, 6, (1, 1), small), order=order)) == {"v": 999}


def deep(levels: int) -> bytes:
    inner = array("<", 9, (1, 1), element("<", 2, b"\5"), b"")
    for _ in range(levels):
        inner = array("<", 1, (1, 1), inner, b"v")
    return inner


REFUSED = {
    "is of MATLAB's version 7.3": b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512),
    "version 7.3; save": b"\x89HDF\r\n\x1a\n".ljust(512),
    "does not begin as": b"<html>",
    "its end is missing": (array("<", 4, (1, 3), element("<", 4, b"abcdef"))[:-6],),
    "damaged or cut off": (element("<", 15, b"no zlib"),),
    "array of class 5": (array("<", 5, (1, 1), b""),),
    "numbers of type 99": (array("<", 6, (1, 1), element("<", 99, b"12345678")),),
    "1000000 cells cannot lie in": (array("<", 1, (1000, 1000), b""),),
    "more than 8 deep": (deep(20),),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_other_files_and_damaged_ones_are_refused(tmp_path: Path, reason: str) -> None:
    content: Any = REFUSED[reason]
    path = tmp_path / "a.mat"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        file(path, *content)
    with pytest.raises(NotMatlab, match=reason):
        read_matlab(path)


def test_any_cut_or_flipped_byte_is_refused_or_read_but_never_crashes(tmp_path: Path) -> None:
    cells = np.array(["one", "two"], dtype=object)
    scipy.io.savemat(tmp_path / "a.mat", {"cells": cells, "numbers": np.arange(4)}, do_compression=False)
    whole = (tmp_path / "a.mat").read_bytes()
    refused = 0
    rng = np.random.default_rng(0)
    damaged = [whole[:n] for n in range(0, len(whole), 7)]
    damaged += [whole[:at] + bytes([rng.integers(256)]) + whole[at + 1 :] for at in range(128, len(whole))]
    for data in damaged:
        (tmp_path / "b.mat").write_bytes(data)
        try:
            read_matlab(tmp_path / "b.mat")
        except NotMatlab:
            refused += 1
    assert refused > len(damaged) // 4


def test_a_variable_that_grows_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matlab, "MAX_BYTES", 1000)
    numbers = array("<", 9, (1, 5000), element("<", 2, bytes(5000)))
    with pytest.raises(NotMatlab, match="unpacks to more than"):
        read_matlab(file(tmp_path / "a.mat", element("<", 15, zlib.compress(numbers))))
