"""What the tests of the command line share."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def trained(tiny_run):
    """A trained run; tests read it only."""
    return tiny_run


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder of its own, with a picture, a text that is called a picture, and a folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PMSI_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (90, 130, 3)).astype(np.uint8)
    Image.fromarray(pixels).save("a bird.png")
    Path("text.jpg").write_text("no picture")
    Path("folder").mkdir()
    return tmp_path
