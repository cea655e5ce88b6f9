"""Commands about single images: cut one into a mosaic, recognise some.

To explain one is in `pmsi.commands.explaining`, what the words that name images lead to in `pmsi.commands.pictures`.
"""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pmsi.commands.output import picture_format, save_picture, text_of, write_output
from pmsi.commands.pictures import Pictured, Pictures, Viewer, how_perturbed
from pmsi.errors import ConfigError
from pmsi.files import to_json
from pmsi.runs import Run
from pmsi.wording import percent

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


Arguments = argparse.Namespace


# Mosaics


def mosaic(typed: Arguments) -> int:
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


def _drawn(typed: Arguments) -> dict[str, Any]:
    return {"seed": typed.seed, "permutation": typed.permutation}


def _save_mosaic(image: "Image", typed: Arguments, drawn: dict[str, Any]) -> None:
    from pmsi.pictures.mosaics import mosaics
    from pmsi.pictures.sheets import side_by_side

    pictures = mosaics(image, typed.r, **drawn, borders=typed.strip and typed.borders)
    save_picture(side_by_side(pictures) if typed.strip else pictures[-1], typed.out)


def _save_animation(image: "Image", typed: Arguments, drawn: dict[str, Any]) -> None:
    from pmsi.pictures.mosaics import frames, gif

    write_output(typed.out, gif(frames(image, typed.r, **drawn, borders=typed.borders)))


def _augmentations(typed: Arguments) -> int:
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


# What a trained model makes of pictures


def predict(typed: Arguments) -> int:
    """Print what a trained model sees in each picture."""
    from pmsi.predictor import Predictor

    predictor = Predictor.load(Run.open(typed.runs, typed.run), typed.device)
    viewer, answers = Viewer.of(typed), []
    for path in typed.images:
        prediction = predictor.predict(viewer.seen(predictor, path), typed.top)
        heads = {head: [dataclasses.asdict(guess) for guess in best] for head, best in prediction.heads.items()}
        best = dataclasses.asdict(prediction.best)
        about = {"image": text_of(path), "best": best, "primary": prediction.primary, "heads": heads}
        answers.append(about | how_perturbed(typed))
    print(to_json(answers, indent=1))
    return 0
