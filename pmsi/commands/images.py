"""Commands about single images: cut one into a mosaic, recognise some, explain one."""

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from pmsi.commands.output import picture_format, save_picture, text_of, write_output
from pmsi.errors import ConfigError, lookup
from pmsi.files import to_json
from pmsi.runs import Run

if TYPE_CHECKING:
    from PIL.Image import Image

    from pmsi.predictor import Explanation, Predictor

Arguments = argparse.Namespace


def mosaic(typed: Arguments) -> int:
    """Write a recursive mosaic of a picture, or the way to it."""
    from pmsi.augment.preview import layouts, square

    moving = typed.out.suffix.lower() == ".gif"
    if not moving:
        picture_format(typed.out)
    image = square(_picture_of(typed), typed.size)
    drawn = {"seed": typed.seed, "permutation": typed.permutation}
    (_save_animation if moving else _save_mosaic)(image, typed, drawn)
    if typed.layout:
        write_output(typed.layout, to_json(layouts(typed.r, **drawn)[-1].to_json()))
    print(typed.out)
    return 0


def _picture_of(typed: Arguments) -> "Image":
    """Return the picture of a file, or that of a data set's image."""
    from pmsi.config import TrainConfig
    from pmsi.data import open_dataset
    from pmsi.data.images import open_rgb

    if typed.dataset is None:
        return open_rgb(typed.image)
    dataset = open_dataset(TrainConfig(dataset=typed.dataset, data=typed.data))
    return dataset.open_image(dataset.find(typed.image.as_posix()))


def _save_mosaic(image: "Image", typed: Arguments, drawn: dict[str, Any]) -> None:
    from pmsi.augment.preview import preview, side_by_side

    pictures = preview(image, typed.r, **drawn, borders=typed.strip and typed.borders)
    save_picture(side_by_side(pictures) if typed.strip else pictures[-1], typed.out)


def _save_animation(image: "Image", typed: Arguments, drawn: dict[str, Any]) -> None:
    from pmsi.augment.animation import frames, gif

    write_output(typed.out, gif(frames(image, typed.r, **drawn, borders=typed.borders)))


def predict(typed: Arguments) -> int:
    """Print what a trained model sees in each picture."""
    from pmsi.data.images import open_rgb
    from pmsi.predictor import Predictor

    predictor = Predictor.load(Run.open(typed.runs, typed.run), typed.device)
    answers = []
    for path in typed.images:
        prediction = predictor.predict(predictor.prepare(open_rgb(path)), typed.top)
        heads = {head: [dataclasses.asdict(guess) for guess in best] for head, best in prediction.heads.items()}
        best = dataclasses.asdict(prediction.best)
        answers.append({"image": text_of(path), "best": best, "primary": prediction.primary, "heads": heads})
    print(to_json(answers, indent=1))
    return 0


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
    from pmsi.data.images import open_rgb
    from pmsi.explain.overlay import overlay, scaled
    from pmsi.predictor import Predictor

    run, image = Run.open(typed.runs, typed.run), typed.images[0]
    predictor = Predictor.load(run, typed.device)
    seen = predictor.prepare(open_rgb(image))
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
        "maps": {stage: values.tolist() for stage, values in found.maps.items()},
    }
    write_output(typed.out / "maps.json", to_json(about))
    print(to_json({key: about[key] for key in ("run", "image", "head", "class", "predicted")}, indent=1))


def _write_figure(typed: Arguments) -> None:
    """Write one figure: a row for each picture, columns for the stages of each run."""
    from pmsi.data.images import open_rgb
    from pmsi.explain.figure import Figure, Row, Sight, note_of
    from pmsi.explain.printing import FORMATS
    from pmsi.explain.weighing import CAM_METHODS
    from pmsi.predictor import Predictor

    write = lookup("ending of a figure", FORMATS, typed.figure.suffix.lower())
    runs = [Run.open(typed.runs, id) for id in (typed.run, *typed.beside)]
    predictors = [Predictor.load(run, typed.device) for run in runs]
    rows = []
    for path in typed.images:
        sights = []
        for predictor in predictors:
            seen = predictor.prepare(open_rgb(path))
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
