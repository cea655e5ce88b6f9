"""The cache is shown by what it holds, and cleared of what no process uses."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.data.cache import clear as cache
from pmsi.data.cache.clear import Usage
from pmsi.data.cache.pixels import Pixels

ROOT = Path(__file__).parents[2]
SIDE = 32
FILL = """
import sys
from tests.data.test_clear import fill
fill(sys.argv[1])
"""


@pytest.fixture
def birds(tmp_path):
    """A zip of two classes, whose files have not changed just now: then they are remembered."""
    for name in ("jay", "tit"):
        for number in range(4):
            path = tmp_path / "birds" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (20, 20), (number, 90, 90)).save(path)
    with zipfile.ZipFile(tmp_path / "birds.zip", "w") as zipped:
        for path in sorted((tmp_path / "birds").rglob("*.png")):
            zipped.write(path, path.relative_to(tmp_path))
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


def test_what_it_holds_is_counted_and_cleared(birds, cache_folder, tmp_path, pmsi):
    subprocess.run([sys.executable, "-c", FILL, str(birds)], cwd=ROOT, check=True)
    held = files_in(tmp_path / "cache")
    assert len([path for path in held if path.suffix == ".png"]) == 8
    found = cache.usage()
    assert {name: taken.things for name, taken in found.items()} == {"pixels": 1, "zips": 1, "checks": 0}
    assert sum(taken.size for taken in found.values()) == sum(held.values())
    status, said, _ = pmsi("data", "cache")
    assert (status, said.splitlines()[0].startswith(f"{tmp_path / 'cache'}: ")) == (0, True)
    assert pmsi("data", "cache", "--clear")[0] == 0
    assert files_in(tmp_path / "cache") == {}
    assert set(cache.usage().values()) == {Usage(0, 0)}


def test_what_is_in_use_stays(birds, cache_folder, tmp_path, pmsi):
    using = fill(birds)
    before = files_in(tmp_path / "cache")
    said = pmsi("data", "cache", "--clear")[1]
    assert files_in(tmp_path / "cache") == before
    assert said.splitlines()[0].startswith(f"{tmp_path / 'cache'}: 0 B removed; ")
    del using
    cache.clear()
    after = files_in(tmp_path / "cache")
    assert {path.suffix for path in before.keys() - after.keys()} == {".pixels"}, "the zip is this process's for good"


def test_a_cache_that_is_not_there_is_empty_and_stays_away(cache_folder, tmp_path, pmsi):
    assert pmsi("data", "cache")[0] == 0
    assert pmsi("data", "cache", "--clear")[0] == 0
    assert not (tmp_path / "cache").exists()
