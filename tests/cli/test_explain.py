"""`pmsi explain --figure`: a figure for print of runs and pictures, and what cannot be one."""

import io
from pathlib import Path

import pytest
from PIL import Image
from untrained import untrained


@pytest.fixture
def runs(tiny_config, tmp_path):
    return [untrained(tmp_path / "runs", tiny_config.with_(method=method)) for method in ("pmr", "baseline")]


def test_a_figure_of_runs_and_pictures_is_written(pmsi, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        Image.new("RGB", (80, 70), "olive").save(f"{name}.png")
    words = ["explain", runs[0].id, "one.png", "two.png", "--beside", runs[1].id, "--runs", tmp_path / "runs"]
    assert pmsi(*words, "--figure", "new/fig.svg", "--method", "layercam") == (0, "new/fig.svg\n", "")
    text = Path("new/fig.svg").read_text()
    assert all(word in text for word in (">one<", ">two<", runs[0].id[-4:], runs[1].id[-4:], "LayerCAM"))
    assert text.count("<image") == 2 * 7 + 1
    status, _, said = pmsi(*words, "--figure", "fig.png", "--scale", "all", "--method", "fem")
    assert status == 0
    assert said.count(" s an image") == 2, "a line for each run, as this method is the package's"
    assert Image.open(io.BytesIO(Path("fig.png").read_bytes())).width > 2000
