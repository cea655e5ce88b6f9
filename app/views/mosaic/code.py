"""The Mosaic page's pictures as code: Python lines and commands that make the same pixels."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from app.shared.panels import BUILT_IN, Picked
from pmsi.config import TrainConfig
from pmsi.data import kind_of


@dataclass(frozen=True)
class Drawn:
    """What is shown: an image, and how its mosaic is drawn."""

    name: str
    dataset: str | None
    data: str | None
    seed: int
    permutation: str
    borders: bool
    size: int


@dataclass(frozen=True)
class Scene:
    """What the page's closer looks look at: the image that was picked, where it is from, and it as a square."""

    picked: Picked
    square: Image.Image
    drawn: Drawn


def drawn(picked: Picked, seed: int, permutation: str, borders: bool, size: int) -> Drawn:
    """Return how a picked image is drawn."""
    if not picked.place:
        return Drawn(picked.title, None, None, seed, permutation, borders, size)
    return Drawn(picked.key, *data_of(picked.place), seed, permutation, borders, size)


def data_of(place: str) -> tuple[str, str | None]:
    """Return the data set's name and folder, as a config has them, of ``place``; an upload's are the built-in one's."""
    if place in ("", BUILT_IN):
        return BUILT_IN, None
    return kind_of(Path(place)), place


def python_of(shown: Drawn, out: str = "mosaic.png") -> str:
    """Return the lines of Python that write the strip r = 0, …, 3."""
    options = f"seed={shown.seed}, size={shown.size}, permutation={shown.permutation!r}, borders={shown.borders}"
    last = f"mosaic_strip(image, 3, {options}).save({out!r})"
    return "\n".join(("from pmsi.pictures.mosaics import mosaic_strip", *_opening(shown), "", last))


def _opening(shown: Drawn) -> tuple[str, ...]:
    if shown.dataset is None:
        return ("from pmsi.data.images import open_rgb", "", f"image = open_rgb({shown.name!r})")
    folder = f", data={shown.data!r}" if shown.data else ""
    return (
        "from pmsi.config import TrainConfig",
        "from pmsi.data import open_dataset",
        "",
        f'data = open_dataset(TrainConfig(dataset="{shown.dataset}"{folder}))',
        f"image = data.open_image(data.find({shown.name!r}))",
    )


def command_of(shown: Drawn, out: str = "mosaic.png") -> str:
    """Return the command that writes the strip r = 0, …, 3; one ``out`` ending in .gif, the recursion as it happens."""
    words = [] if out.endswith(".gif") else ["--strip"]
    words += _layout(shown)
    words += [] if shown.borders else ["--no-borders"]
    return shlex.join([*_image(shown), *words, "--out", out])


def beside_command(shown: Drawn, partner: str, r: int, run: str | None) -> str:
    """Return the command that writes every augmentation of the image with another one of its data set, by its key."""
    asked = ["--run", run] if run else []
    return shlex.join(
        [*_image(shown), "--beside", partner, "--r", str(r), *_layout(shown), *asked, "--out", "beside.png"]
    )


def _image(shown: Drawn) -> list[str]:
    words = ["pmsi", "mosaic", shown.name]
    words += ["--dataset", shown.dataset] if shown.dataset else []
    return words + (["--data", shown.data] if shown.data else [])


def _layout(shown: Drawn) -> list[str]:
    words = ["--seed", str(shown.seed)]
    words += ["--size", str(shown.size)] if shown.size != TrainConfig().image_size else []
    return words + (["--permutation", shown.permutation] if shown.permutation != TrainConfig().permutation else [])
