"""Predict the classes of pictures; prints JSON."""

import argparse
import dataclasses
from typing import Any

from pmsi.base.files import to_json
from pmsi.cli.flags import KEYED, TRAINED_OR_FILE, add_images_of, add_like, add_perturbed, add_runs, path, whole
from pmsi.cli.inputs import Viewer, how_perturbed, load_predictor
from pmsi.cli.output import text_of
from pmsi.predictor import Prediction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED_OR_FILE)
    parser.add_argument("images", nargs="+", type=path, metavar="IMAGE", help=f"Pictures to classify{KEYED}.")
    add_images_of(parser)
    help = "Print the network's own probabilities, also where the run has temperatures (pmsi calibrate)."
    parser.add_argument("--raw", action="store_true", help=help)
    parser.add_argument("--top", type=whole(1, 10**6), default=5, metavar="N", help="Classes shown for each head [5].")
    add_perturbed(parser)
    add_like(parser, "device", "Where to compute", metavar="NAME")
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Print the predictions of every head for each picture."""
    predictor = load_predictor(typed.run, typed)
    predictor = predictor.raw() if typed.raw else predictor
    viewer, found = Viewer.of(typed), []
    for word in typed.images:
        prediction = predictor.predict(viewer.seen(predictor, word), typed.top)
        heads = {head: [dataclasses.asdict(guess) for guess in best] for head, best in prediction.heads.items()}
        best = dataclasses.asdict(prediction.best)
        about: dict[str, Any] = {"image": text_of(word), "best": best, "primary": prediction.primary, "heads": heads}
        about |= {"calibrated": prediction.calibrated, "familiarity": familiarity_of(prediction)}
        found.append(about | how_perturbed(typed))
    print(to_json(found, indent=1))
    return 0


def familiarity_of(prediction: Prediction) -> dict[str, Any] | None:
    """Return whether a picture may be of none of the classes, and why, as JSON types; None where that is not known."""
    if (found := prediction.familiarity) is None:
        return None
    return dataclasses.asdict(found) | {"not_one_of_the_classes": found.is_unknown}
