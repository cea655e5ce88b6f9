"""Commands about single images: cut one into a mosaic, recognise some, explain one."""

import argparse
import dataclasses

from pmsi.commands.output import picture_format, save_picture, text_of, write_output
from pmsi.files import to_json
from pmsi.runs import Run

Arguments = argparse.Namespace


def mosaic(typed: Arguments) -> int:
    """Write a recursive mosaic of a picture."""
    from pmsi.augment.preview import layouts, preview, side_by_side, square
    from pmsi.data.images import open_rgb

    picture_format(typed.out)
    image = square(open_rgb(typed.image), typed.size)
    drawn = {"seed": typed.seed, "permutation": typed.permutation}
    pictures = preview(image, typed.r, **drawn, borders=typed.strip)
    save_picture(side_by_side(pictures) if typed.strip else pictures[-1], typed.out)
    if typed.layout:
        write_output(typed.layout, to_json(layouts(typed.r, **drawn)[-1].to_json()))
    print(typed.out)
    return 0


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
    """Write the picture that the network sees, an overlay for each stage, and the maps as numbers."""
    from pmsi.data.images import open_rgb
    from pmsi.explain.overlay import overlay, scaled
    from pmsi.predictor import Predictor

    run = Run.open(typed.runs, typed.run)
    predictor = Predictor.load(run, typed.device)
    seen = predictor.prepare(open_rgb(typed.image))
    label = None if typed.class_name is None else predictor.class_number(typed.class_name)
    found = predictor.explain(seen, head=typed.head, label=label)
    save_picture(seen, typed.out / "image.png")
    for stage, values in scaled(found.maps)[0].items():
        save_picture(overlay(seen, values), typed.out / f"{stage}.png")
    about = {
        "run": run.id,
        "image": text_of(typed.image),
        "head": found.head,
        "class": predictor.classes[found.label],
        "predicted": dataclasses.asdict(found.prediction.best),
        "maps": {stage: values.tolist() for stage, values in found.maps.items()},
    }
    write_output(typed.out / "maps.json", to_json(about))
    print(to_json({key: about[key] for key in ("run", "image", "head", "class", "predicted")}, indent=1))
    return 0
