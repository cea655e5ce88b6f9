"""Cut a picture into a recursive mosaic G(p, r)."""

import argparse
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pmsi.augment import AUGMENTATIONS
from pmsi.base.errors import ConfigError
from pmsi.base.files import to_json
from pmsi.base.text import percent
from pmsi.cli.flags import KEYED, add_images_of, add_like, add_runs, path, whole
from pmsi.cli.inputs import Pictured, Pictures
from pmsi.cli.output import picture_format, save_picture, write_output
from pmsi.config import TrainConfig
from pmsi.pictures.augmentations import ORDER, augmented
from pmsi.pictures.mosaics import frames, gif, layouts, mosaics, square
from pmsi.pictures.sheets import side_by_side
from pmsi.predictor import Predictor
from pmsi.runs import Run


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
    help = "Write the image under every augmentation, mixed with this one (a picture, or a key as IMAGE is)."
    parser.add_argument("--beside", type=path, metavar="IMAGE", help=help)
    help = "With --beside: the run whose class activation maps SnapMix uses [none: uniform maps]."
    parser.add_argument("--run", metavar="RUN", help=help)
    help = "Picture to write (.png, .jpg, …), or an animation of the recursions (.gif)."
    parser.add_argument("--out", type=path, required=True, metavar="FILE", help=help)
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Write the mosaic, animation or augmentations that the flags describe."""
    animated = typed.out.suffix.lower() == ".gif" and typed.beside is None
    if not animated:
        picture_format(typed.out)
    if typed.beside is not None:
        return _augmentations(typed)
    if typed.run is not None:
        raise ConfigError("--run needs --beside: only SnapMix uses the maps of a run.")
    image = square(Pictures.of(typed).open(typed.image)[0], typed.size)
    drawn = _drawn(typed)
    if animated:
        write_output(typed.out, gif(frames(image, typed.r, **drawn, borders=typed.borders)))
    else:
        pictures = mosaics(image, typed.r, **drawn, borders=typed.strip and typed.borders)
        save_picture(side_by_side(pictures) if typed.strip else pictures[-1], typed.out)
    if typed.layout:
        write_output(typed.layout, to_json(layouts(typed.r, **drawn)[-1].to_json()))
    print(typed.out)
    return 0


def _drawn(typed: argparse.Namespace) -> dict[str, Any]:
    return {"seed": typed.seed, "permutation": typed.permutation}


def _augmentations(typed: argparse.Namespace) -> int:
    """Write a picture, its partner, and each augmentation of them; print the weights of the two labels."""
    if typed.strip or typed.layout:
        raise ConfigError("--strip and --layout do not go with --beside: leave one or the other out.")
    pair = [*map(Pictures.of(typed).open, (typed.image, typed.beside))]
    own, partner = (square(picture, typed.size) for picture, _ in pair)
    attention = None if typed.run is None else _attention(Run.open(typed.runs, typed.run), pair)
    made = {name: augmented(name, own, partner, typed.r, **_drawn(typed), attention=attention) for name in ORDER}
    save_picture(side_by_side([own, partner, *(each.picture for each in made.values())]), typed.out)
    print(f"{typed.out}: the image, its partner, and from left to right")
    for name, each in made.items():
        shares = f"{percent(each.own)} the image's label, {percent(each.partner)} its partner's"
        print(f"  {AUGMENTATIONS[name].title}: {shares if each.partner else 'its own label'}")
    return 0


def _attention(run: Run, pair: Sequence[Pictured]) -> Callable[[], Tensor]:
    """Return a cached function that returns a run's S5 maps of two pictures, (2, h, w), each for its class."""

    @cache
    def attention() -> Tensor:
        predictor, found = Predictor.load(run), []
        for picture, name in pair:
            label = None if name is None else predictor.class_number(name)
            found.append(torch.from_numpy(predictor.explain(predictor.prepare(picture), label=label).maps["S5"]))
        return torch.stack(found)

    return attention
