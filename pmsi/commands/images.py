"""Commands about single images: cut one into a mosaic, recognise some, explain one."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmsi.commands.output import picture_format, save_picture, text_of, write_output
from pmsi.errors import ConfigError, lookup
from pmsi.files import to_json
from pmsi.runs import Run
from pmsi.wording import percent

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from pmsi.predictor import Explanation, Predictor

Arguments = argparse.Namespace
Pictured = tuple["Image", str | None]
"""A picture, and its class where that is known."""


def _opener(typed: Arguments) -> Callable[[Path], Pictured]:
    """Return what opens the picture that a word names: a file, or with ``--dataset`` an image there by its key."""
    from pmsi.config import TrainConfig
    from pmsi.data import open_dataset
    from pmsi.data.images import open_rgb

    if typed.dataset is None:
        return lambda path: (open_rgb(path), None)
    dataset = open_dataset(TrainConfig(dataset=typed.dataset, data=typed.data))

    def opened(key: Path) -> Pictured:
        sample = dataset.find(key.as_posix())
        return dataset.open_image(sample), dataset.classes[sample.label]

    return opened


# Mosaics


def mosaic(typed: Arguments) -> int:
    """Write a recursive mosaic of a picture, the way to it, or what every augmentation makes of the picture."""
    from pmsi.augment.preview import layouts, square

    moving = typed.out.suffix.lower() == ".gif" and typed.beside is None
    if not moving:
        picture_format(typed.out)
    if typed.beside is not None:
        return _augmentations(typed)
    if typed.run is not None:
        raise ConfigError("--run is for --beside: it is SnapMix that asks where a run looks.")
    image = square(_opener(typed)(typed.image)[0], typed.size)
    drawn = _drawn(typed)
    (_save_animation if moving else _save_mosaic)(image, typed, drawn)
    if typed.layout:
        write_output(typed.layout, to_json(layouts(typed.r, **drawn)[-1].to_json()))
    print(typed.out)
    return 0


def _drawn(typed: Arguments) -> dict[str, Any]:
    return {"seed": typed.seed, "permutation": typed.permutation}


def _save_mosaic(image: "Image", typed: Arguments, drawn: dict[str, Any]) -> None:
    from pmsi.augment.preview import preview, side_by_side

    pictures = preview(image, typed.r, **drawn, borders=typed.strip and typed.borders)
    save_picture(side_by_side(pictures) if typed.strip else pictures[-1], typed.out)


def _save_animation(image: "Image", typed: Arguments, drawn: dict[str, Any]) -> None:
    from pmsi.augment.animation import frames, gif

    write_output(typed.out, gif(frames(image, typed.r, **drawn, borders=typed.borders)))


def _augmentations(typed: Arguments) -> int:
    """Write a picture, its partner, and what each augmentation makes of them; print what the labels count."""
    from pmsi.augment import AUGMENTATIONS
    from pmsi.augment.beside import ORDER, augmented
    from pmsi.augment.preview import side_by_side, square

    if typed.strip or typed.layout:
        raise ConfigError("--strip and --layout are about one mosaic: leave them out, or leave out --beside.")
    pair = [*map(_opener(typed), (typed.image, typed.beside))]
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
    seen, answers = _viewer(typed), []
    for path in typed.images:
        prediction = predictor.predict(seen(predictor, path), typed.top)
        heads = {head: [dataclasses.asdict(guess) for guess in best] for head, best in prediction.heads.items()}
        best = dataclasses.asdict(prediction.best)
        about = {"image": text_of(path), "best": best, "primary": prediction.primary, "heads": heads}
        answers.append(about | _how_perturbed(typed))
    print(to_json(answers, indent=1))
    return 0


def _viewer(typed: Arguments) -> "Callable[[Predictor, Path], Image]":
    """Return what shows a network the picture that a word names: resized, cropped, and perturbed as asked for."""
    from pmsi.perturbations import perturb

    opened, steps = _opener(typed), [_step(entry) for entry in typed.perturb]

    def seen(predictor: "Predictor", path: Path) -> "Image":
        image = predictor.prepare(opened(path)[0])
        key = text_of(path) if typed.dataset else text_of(Path(path.name))  # a file may be moved
        for name, severity in steps:
            image, _ = perturb(image, name, severity, seed=typed.seed, key=key)
        return image

    return seen


def _how_perturbed(typed: Arguments) -> dict[str, Any]:
    """Return what is told of the perturbations, which is nothing where there are none."""
    return {"perturbed": typed.perturb, "seed": typed.seed} if typed.perturb else {}


def _step(entry: str) -> tuple[str, float]:
    """Return the perturbation and the severity that were typed as NAME=SEVERITY."""
    from pmsi.perturbations.entries import severities_of

    found = severities_of(entry)
    if len(found) != 1 or "=" not in entry:
        raise ConfigError(f"Perturbation {entry!r}: expected a name and one severity, such as rotation=10.")
    return found[0]


def explain(typed: Arguments) -> int:
    """Write what a picture's maps are, and a figure of the maps of some pictures by some runs."""
    if typed.out is None and typed.figure is None:
        raise ConfigError("There is nothing to write. Give what is required: --out DIR, or --figure FILE.")
    if typed.out is not None and (len(typed.images) > 1 or typed.beside):
        raise ConfigError("--out takes one picture of one run. For more of them use --figure FILE.")
    if typed.figure is not None:
        _write_figure(typed)
    if typed.out is not None:
        _write_maps(typed)
    return 0


def _write_maps(typed: Arguments) -> None:
    """Write the picture that the network sees, an overlay for each stage, and the maps as numbers."""
    from pmsi.explain.overlay import overlay, scaled
    from pmsi.predictor import Predictor

    run, image = Run.open(typed.runs, typed.run), typed.images[0]
    predictor = Predictor.load(run, typed.device)
    seen = _viewer(typed)(predictor, image)
    found = _explained(predictor, seen, typed)
    save_picture(seen, typed.out / "image.png")
    for stage, values in scaled(found.maps)[0].items():
        save_picture(overlay(seen, values), typed.out / f"{stage}.png")
    about = {
        "run": run.id,
        "image": text_of(image),
        "head": found.head,
        "class": predictor.classes[found.label],
        "predicted": dataclasses.asdict(found.prediction.best),
    }
    about |= _how_perturbed(typed)
    maps = {stage: values.tolist() for stage, values in found.maps.items()}
    write_output(typed.out / "maps.json", to_json(about | {"maps": maps}))
    print(to_json(about, indent=1))


def _write_figure(typed: Arguments) -> None:
    """Write one figure: a row for each picture, columns for the stages of each run."""
    from pmsi.explain.figure import Figure, Row, Sight, note_of
    from pmsi.explain.printing import FORMATS
    from pmsi.explain.weighing import CAM_METHODS
    from pmsi.predictor import Predictor

    write = lookup("ending of a figure", FORMATS, typed.figure.suffix.lower())
    runs = [Run.open(typed.runs, id) for id in (typed.run, *typed.beside)]
    predictors = [Predictor.load(run, typed.device) for run in runs]
    view, rows = _viewer(typed), []
    for path in typed.images:
        sights = []
        for predictor in predictors:
            seen = view(predictor, path)
            found = _explained(predictor, seen, typed)
            best = found.prediction.best
            sights.append(Sight(seen, found.maps, f"{best.name} {best.probability:.0%}"))
        rows.append(Row(path.stem, tuple(sights)))
    note = note_of(CAM_METHODS[typed.method].title, typed.class_name or "the predicted class", typed.head, typed.scale)
    titles = tuple(
        f"{predictor.config.method} · {run.id[-4:]}" for run, predictor in zip(runs, predictors, strict=True)
    )
    write_output(typed.figure, write(Figure(titles, tuple(rows), typed.scale, note=note)))
    print(typed.figure)


def _explained(predictor: "Predictor", seen: "Image", typed: Arguments) -> "Explanation":
    label = None if typed.class_name is None else predictor.class_number(typed.class_name)
    return predictor.explain(seen, head=typed.head, label=label, method=typed.method)
