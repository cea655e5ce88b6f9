"""The cache is shown by what it holds, and cleared of what no process uses."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from photos import photo

from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.data.cache.clear import Usage, clear, usage
from pmsi.data.cache.pixels import Pixels
from pmsi.graph import kept

ROOT = Path(__file__).parents[2]
SIDE = 32
FILL = """
import sys
sys.path.append("tests")
from tests.data.test_clear import fill
fill(sys.argv[1])
"""


@pytest.fixture
def birds(tmp_path):
    """A zip of two classes, whose files have not changed just now: then they are remembered."""
    with zipfile.ZipFile(tmp_path / "birds.zip", "w") as zipped:
        for name in (f"birds/{name}/{number}.png" for name in ("jay", "tit") for number in range(4)):
            zipped.write(photo(tmp_path / name), name)
    return tmp_path / "birds.zip"


def fill(zipped):
    """Open a data set as a run does: it is unpacked, checked and decoded. Return what uses it."""
    dataset = open_dataset(TrainConfig(dataset="folder", data=str(zipped)))
    for path in {sample.path for sample in dataset.train}:
        os.utime(path, (1, 1))
    shown = Pixels(dataset, dataset.train, SIDE)
    assert len([shown[index] for index in range(len(shown))]) == len(dataset.train)
    return shown


def files_in(folder):
    """Files and their bytes, apart from empty ones, which are locks and marks."""
    return {path: size for path in folder.rglob("*") if path.is_file() and (size := path.stat().st_size)}


def test_what_it_holds_is_counted_and_cleared(birds, cache, pmsi):
    subprocess.run([sys.executable, "-c", FILL, str(birds)], cwd=ROOT, check=True)
    kept.keep("a-model", b"its graph")
    held = files_in(cache)
    assert len([path for path in held if path.suffix == ".png"]) == 8
    found = usage()
    assert {name: taken.things for name, taken in found.items()} == {
        "pixels": 1,
        "zips": 1,
        "graphs": 1,
        "phone": 0,
        "checks": 0,
    }
    assert sum(taken.size for taken in found.values()) == sum(held.values())
    status, said, _ = pmsi("data", "cache")
    assert (status, said.splitlines()[0].startswith(f"{cache}: ")) == (0, True)
    assert pmsi("data", "cache", "--clear")[0] == 0
    assert files_in(cache) == {}
    assert set(usage().values()) == {Usage(0, 0)}


def test_what_is_in_use_stays(birds, cache, pmsi):
    using = fill(birds)
    before = files_in(cache)
    said = pmsi("data", "cache", "--clear")[1]
    assert files_in(cache) == before
    assert said.splitlines()[0].startswith(f"{cache}: 0 B removed; ")
    del using
    clear()
    after = files_in(cache)
    assert {path.suffix for path in before.keys() - after.keys()} == {".pixels"}, "the zip is this process's for good"


def test_a_cache_that_is_not_there_is_empty_and_stays_away(cache, pmsi):
    assert pmsi("data", "cache")[0] == 0
    assert pmsi("data", "cache", "--clear")[0] == 0
    assert not cache.exists()
