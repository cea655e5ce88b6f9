"""Data sets by the command line: listed, checked, shown."""

import io
import json
import sys
from dataclasses import fields

from PIL import Image

from pmsi.choices import options_of
from pmsi.cli.console import image_counter
from pmsi.config import TrainConfig


class Terminal(io.StringIO):
    def isatty(self):
        return True


def class_folders(folder):
    """Two classes of three pictures, and one bad file."""
    for name in ("jay", "wren"):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (9, 9)).save(folder / name / f"{number}.png")
    (folder / "wren" / "bad.png").touch()


def test_data_sets_are_listed_checked_and_shown(here, pmsi):
    assert [line.split()[0] for line in pmsi("data", "list")[1].splitlines()] == list(
        options_of(next(about for about in fields(TrainConfig) if about.name == "dataset"))
    )
    class_folders(here / "my birds")
    words = ["--dataset", "folder", "--data", "my birds"]
    status, out, err = pmsi("data", "check", *words)
    assert (status, err) == (0, "")
    assert {"      2     1  jay", "      2     1  wren"} <= set(out.splitlines())
    assert "wren/bad.png" in out
    assert json.loads(pmsi("data", "check", "--json", *words)[1])["classes"]["jay"] == {"train": 2, "test": 1}
    assert pmsi("data", "preview", *words, "--columns", 2, "--out", "sheet.png") == (0, "sheet.png\n", "")
    with Image.open("sheet.png") as sheet:
        assert sheet.mode == "RGB"
    assert pmsi("data", "preview", *words, "--columns", 2, "--parts", "--out", "same.png")[0] == 0
    assert (here / "same.png").read_bytes() == (here / "sheet.png").read_bytes(), "nothing is known of parts here"


def test_the_images_of_a_data_set_are_named_by_their_keys(here, pmsi):
    class_folders(here / "my birds")
    words = ["data", "images", "--dataset", "folder", "--data", "my birds"]
    lines = pmsi(*words)[1].splitlines()
    assert sorted(line.split()[-1] for line in lines) == [
        f"{name}/{i}.png" for name in ("jay", "wren") for i in range(3)
    ]
    assert [line.split()[0] for line in lines] == ["train"] * 4 + ["test"] * 2
    (jays, all_of_them) = (json.loads(pmsi(*words, "--json", *more)[1]) for more in (["--class", "jay"], []))
    assert jays == [about for about in all_of_them if about["class"] == "jay"]
    assert len(jays) == 3
    status, _, err = pmsi(*words, "--class", "owl")
    assert (status, "Choose one of: jay, wren" in err) == (2, True)


def test_a_terminal_is_shown_how_far_the_check_is(here, pmsi, monkeypatch):
    class_folders(here / "birds")
    monkeypatch.setattr(sys, "stderr", Terminal())
    pmsi("data", "check", "--dataset", "folder", "--data", "birds")
    shown = sys.stderr.getvalue()
    assert "\r\033[K7 of 7 images checked" in shown
    assert shown.endswith("\r\033[K")
    with image_counter(io.StringIO(), "images") as progress:
        assert progress is None
