"""`pmsi mosaic`: cut a picture into a recursive mosaic, show the way to it, or what every augmentation makes of it."""

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pmsi.base.errors import ConfigError
from pmsi.base.files import to_json
from pmsi.base.text import percent
from pmsi.cli.arguments import KEYED, add_images_of, add_like, add_runs
from pmsi.cli.flags import path, whole
from pmsi.cli.inputs import Pictured, Pictures
from pmsi.cli.output import picture_format, save_picture, write_output
from pmsi.config import TrainConfig
from pmsi.runs import Run

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


HELP = "Cut a picture into a recursive mosaic G(p, r)."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=path, metavar="IMAGE", help=f"Picture to cut{KEYED}.")
    add_images_of(parser)
    parser.add_argument("--r", type=whole(0, 8), default=3, metavar="N", help="Recursions, 0 to 8 [3].")
    add_like(parser, "seed", "Seed of the layout", type=whole(0, 2**31 - 1), metavar="N")
    size = TrainConfig().image_size
    parser.add_argument(
        "--size", type=whole(1, 4096), default=size, metavar="N", help=f"Side in pixels, a multiple of 2^r [{size}]."
    )
    add_like(parser, "permutation", "One of the 24 orders of four patches, or of the six 4-cycles", metavar="NAME")
    parser.add_argument(
        "--strip", action="store_true", help="Show r = 0, 1, …, N side by side with borders; else G(p, N) alone."
    )
    parser.add_argument("--no-borders", dest="borders", action="store_false", help="Draw no borders of patches.")
    parser.add_argument("--layout", type=path, metavar="FILE", help="Write the layout as JSON too.")
    help = "Write what every augmentation makes of the image, mixed with this one (a picture, or a key as IMAGE is)."
    parser.add_argument("--beside", type=path, metavar="IMAGE", help=help)
    help = "With --beside: the run that SnapMix asks where it looks [none: every place counts alike]."
    parser.add_argument("--run", metavar="RUN", help=help)
    help = "Picture to write (.png, .jpg, …), or the recursion as it happens (.gif)."
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Write a recursive mosaic of a picture, the way to it, or what every augmentation makes of the picture."""
    from pmsi.pictures.mosaics import layouts, square

    moving = typed.out.suffix.lower() == ".gif" and typed.beside is None
    if not moving:
        picture_format(typed.out)
    if typed.beside is not None:
        return _augmentations(typed)
    if typed.run is not None:
        raise ConfigError("--run is for --beside: it is SnapMix that asks where a run looks.")
    image = square(Pictures.of(typed).open(typed.image)[0], typed.size)
    drawn = _drawn(typed)
    (_save_animation if moving else _save_mosaic)(image, typed, drawn)
    if typed.layout:
        write_output(typed.layout, to_json(layouts(typed.r, **drawn)[-1].to_json()))
    print(typed.out)
    return 0


def _drawn(typed: argparse.Namespace) -> dict[str, Any]:
    return {"seed": typed.seed, "permutation": typed.permutation}


def _save_mosaic(image: "Image", typed: argparse.Namespace, drawn: dict[str, Any]) -> None:
    from pmsi.pictures.mosaics import mosaics
    from pmsi.pictures.sheets import side_by_side

    pictures = mosaics(image, typed.r, **drawn, borders=typed.strip and typed.borders)
    save_picture(side_by_side(pictures) if typed.strip else pictures[-1], typed.out)


def _save_animation(image: "Image", typed: argparse.Namespace, drawn: dict[str, Any]) -> None:
    from pmsi.pictures.mosaics import frames, gif

    write_output(typed.out, gif(frames(image, typed.r, **drawn, borders=typed.borders)))


def _augmentations(typed: argparse.Namespace) -> int:
    """Write a picture, its partner, and what each augmentation makes of them; print what the labels count."""
    from pmsi.augment import AUGMENTATIONS
    from pmsi.pictures.augmentations import ORDER, augmented
    from pmsi.pictures.mosaics import square
    from pmsi.pictures.sheets import side_by_side

    if typed.strip or typed.layout:
        raise ConfigError("--strip and --layout are about one mosaic: leave them out, or leave out --beside.")
    pair = [*map(Pictures.of(typed).open, (typed.image, typed.beside))]
    own, partner = (square(picture, typed.size) for picture, _ in pair)
    look = None if typed.run is None else _attention(Run.open(typed.runs, typed.run), pair)
    made = {name: augmented(name, own, partner, typed.r, **_drawn(typed), attention=look) for name in ORDER}
    save_picture(side_by_side([own, partner, *(each.picture for each in made.values())]), typed.out)
    print(f"{typed.out}: the image, its partner, and from left to right")
    for name, each in made.items():
        shares = f"{percent(each.own)} the image's label, {percent(each.partner)} its partner's"
        print(f"  {AUGMENTATIONS[name].title}: {shares if each.partner else 'its own label'}")
    return 0


def _attention(run: Run, pair: Sequence[Pictured]) -> "Callable[[], Tensor]":
    """Return what computes, once, where a run sees each picture's class, or what it predicts where that is unknown."""
    import torch

    from pmsi.predictor import Predictor

    @cache
    def look() -> "Tensor":
        predictor, found = Predictor.load(run), []
        for picture, name in pair:
            label = None if name is None else predictor.class_number(name)
            found.append(torch.from_numpy(predictor.explain(predictor.prepare(picture), label=label).maps["S5"]))
        return torch.stack(found)

    return look
