"""Atomic writes and strict JSON."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from pmsi.base.files import parse_json, read_file, read_json, remove_leftovers, to_json, unpack, write_atomically

# These forks use no thread of the parent, whatever other tests have started there.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.mark.parametrize("data", ["ünïcode\n", b"\x00\xff"])
def test_write_replaces_whole_files_with_the_usual_permissions(tmp_path, data):
    path = tmp_path / "file"
    path.write_text("a longer, older text")
    usual = path.stat().st_mode
    write_atomically(path, data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert path.stat().st_mode == usual
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("operation", ["replace", "fsync"])
def test_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch, operation):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write_atomically(path, "old")
    monkeypatch.setattr(os, operation, fail)
    with pytest.raises(OSError, match=r"file in .* needs 3 B"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_killed_writer_leaves_the_old_file_and_a_leftover_that_can_be_told(tmp_path):
    path = tmp_path / ".hidden.json"
    write_atomically(path, "old")
    child = os.fork()
    if child == 0:
        os.replace = lambda *_, **__: os._exit(9)
        write_atomically(path, "new")
    os.waitpid(child, 0)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_strict():
    value = {"nan": float("nan"), "inf": [float("-inf"), np.float32("nan")], "n": np.int64(3), 4: (Path("a"), None)}
    value["array"] = np.array([[1.5, np.inf]])
    expected = {"nan": None, "inf": [None, None], "n": 3, "4": ["a", None], "array": [[1.5, None]]}
    assert json.loads(to_json(value), parse_constant=pytest.fail) == expected
    with pytest.raises(TypeError):
        to_json({"x": object()})


@pytest.mark.parametrize("content", [None, b'{"a": 1', b"[1]", b"\xff"])
def test_reading_what_is_no_json_object(tmp_path, content):
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    assert read_json(tmp_path / "x") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"[" * 10**5, "inside each other"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "inside each other"),
        (b"[" + b"[]," * 2**21, "more than"),
        (b"9" * 21, "too large"),
        (b"1e999", "not finite"),
        (b"NaN", "not finite"),
        (b"[" * 65 + b'"' + b'\\"' * 10**6, "inside each other"),
    ],
)
def test_json_is_bounded_before_it_is_built(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(text)
    assert parse_json(b'{"a": "' + b"[" * 100 + b'\\"", "b": [[1, 2.5]]}')["b"] == [[1, 2.5]]


def test_only_regular_files_of_bounded_size_are_read(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(OSError, match="more than"):
        read_file(path, 4)
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="It is a"):
            read_file(other)


def test_a_gzip_bomb_is_refused_before_it_unfolds():
    with pytest.raises(ValueError, match="unpacks to more"):
        unpack(gzip.compress(bytes(2**24)))
    assert unpack(gzip.compress(b"text" * 999)) == b"text" * 999


def test_what_was_there_is_kept_also_where_a_writer_died_after_keeping_it(tmp_path):
    path, kept = tmp_path / "last", tmp_path / "previous"
    write_atomically(path, "one")
    os.link(path, kept)  # as far as a writer of "two" came
    write_atomically(path, "two", keep=kept)
    assert (path.read_text(), kept.read_text()) == ("two", "one")
    assert sorted(tmp_path.iterdir()) == [path, kept]
