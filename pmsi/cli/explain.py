"""Show where the last three stages look (Grad-CAM and other CAM methods)."""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import Image

from pmsi.base.errors import ConfigError, lookup
from pmsi.base.files import to_json
from pmsi.cli.flags import KEYED, TRAINED_OR_FILE, add_images_of, add_like, add_perturbed, add_runs, folder, path, whole
from pmsi.cli.inputs import Viewer, how_perturbed, load_predictor
from pmsi.cli.output import save_picture, text_of, write_output
from pmsi.config import MapsConfig
from pmsi.explain.measures.deletion import Curve, removal_curves
from pmsi.explain.measures.pointing import region_scores, summary
from pmsi.explain.measures.regions import known_regions
from pmsi.explain.methods import CAM_METHODS
from pmsi.graph import is_model_file
from pmsi.methods import METHODS
from pmsi.pictures.figure import FORMATS, Figure, MapCell, Row, note_of
from pmsi.pictures.overlays import outlined, overlay, tops_of
from pmsi.pictures.severity import Subject, animation, frames
from pmsi.predictor import Explanation, Predictor
from pmsi.runs import Run

METHOD = (
    "How maps are made: gradcam, layercam and others of one pass, or a class of pytorch-grad-cam (scorecam, "
    "ablationcam, …), whose seconds per image are printed first [gradcam]."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED_OR_FILE)
    parser.add_argument("images", nargs="+", type=path, metavar="IMAGE", help=f"Pictures to explain{KEYED}.")
    add_images_of(parser)
    parser.add_argument("--beside", nargs="+", default=[], metavar="RUN", help="More runs, for --figure.")
    parser.add_argument("--head", metavar="NAME", help="Output to explain: S3, S4, concat, mix … [the primary one].")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="Class to explain [the one predicted].")
    help = "Explain the class against this one: a class, likeliest (the next answer) or similar (by its weights)."
    parser.add_argument("--rival", metavar="NAME", help=help)
    parser.add_argument("--method", default="gradcam", metavar="NAME", help=METHOD)
    parser.add_argument("--out", type=folder, metavar="DIR", help="Folder for the pictures and maps.json of one image.")
    help = (
        "All images and runs in one figure for print (.png, .svg, .pdf), or with --over-severity an animation (.gif)."
    )
    parser.add_argument("--figure", type=path, metavar="FILE", help=help)
    help = "With --figure: animate the maps over the severities of this perturbation, from the clean image on."
    parser.add_argument("--over-severity", metavar="NAME", help=help)
    parser.add_argument("--rising", dest="over_severity", help=argparse.SUPPRESS)  # its former name
    help = "With --dataset: outline a region: object, distinctive (the distinctive parts), or one part by its name."
    parser.add_argument("--region", type=lambda text: REGION_KEYS.get(text, text), metavar="NAME", help=help)
    _measured(parser)
    add_perturbed(parser)
    parser.add_argument(
        "--scale", default="map", metavar="NAME", help="Maps of one scale of colours: map, image or all [map]."
    )
    add_like(parser, "device", "Where to compute", metavar="NAME")
    add_runs(parser)


def _measured(parser: argparse.ArgumentParser) -> None:
    help = "Print each map's peak and, with --dataset, how well it points to --region [the object], with its baselines."
    parser.add_argument("--numbers", action="store_true", help=help)
    tolerance = round(MapsConfig().tolerance)
    help = f"With --numbers: pixels by which a peak may miss the region [{tolerance}]."
    parser.add_argument("--tolerance", type=whole(0, 512), default=tolerance, metavar="N", help=help)
    help = "Print the areas under each map's deletion and insertion curves; with --out, maps.json has the curves."
    parser.add_argument("--removal", action="store_true", help=help)


REGION_KEYS = {"distinctive": "telling"}
"""Names of regions that results store under another key."""

Curves = dict[str, dict[str, Curve]]
"""Deletion and insertion curves by source: those of a map, and of a random one."""

Draw = Callable[[list["_Explainer"], argparse.Namespace], bytes]


def run(typed: argparse.Namespace) -> int:
    """Print and write the maps of one picture, or draw the maps of several pictures by several runs."""
    single = typed.out is not None or typed.numbers or typed.removal
    _check(typed, single)
    viewer = Viewer.of(typed)
    if typed.figure is not None:
        draw = lookup(*_drawings(typed), typed.figure.suffix.lower())
        explainers = [_Explainer(model, viewer, typed) for model in (typed.run, *typed.beside)]
        for each in explainers:
            _say_cost(each)
        write_output(typed.figure, draw(explainers, typed))
        print(typed.figure)
    if single:
        one = _Explainer(typed.run, viewer, typed)
        _say_cost(one)
        _print_maps(one)
    return 0


def _say_cost(explainer: "_Explainer") -> None:
    """Print on stderr how long an image takes, for CAM methods that need more than one pass."""
    row = lookup("CAM method", CAM_METHODS, explainer.typed.method)
    predictor = explainer.predictor
    if row.package is not None and isinstance(predictor, Predictor):
        seconds = predictor.explain_seconds(head=explainer.typed.head, method=explainer.typed.method)
        text = f"{row.title} takes about {seconds:.1f} s an image by {explainer.id} on this machine."
        print(text, file=sys.stderr)


def _check(typed: argparse.Namespace, single: bool) -> None:
    """Raise ConfigError if the flags contradict each other; ``single``: the maps of one picture are asked for."""
    if not single and typed.figure is None:
        raise ConfigError("There is nothing to write. Give what is required: --out DIR, --numbers, or --figure FILE.")
    if single and (len(typed.images) > 1 or typed.beside):
        raise ConfigError(
            "--out takes one picture of one run, and so do --numbers and --removal. For more of them use --figure FILE."
        )
    if typed.over_severity and (typed.perturb or typed.region or typed.figure is None):
        raise ConfigError("--over-severity needs --figure FILE.gif, and does not go with --perturb or --region.")
    if typed.region and (typed.perturb or typed.dataset is None):
        raise ConfigError(
            "--region needs an image of a data set (--dataset NAME), and does not go with --perturb, which may move it."
        )


class _Explainer:
    """A typed run, or ONNX file, that explains the typed pictures for the typed output, class and CAM method."""

    def __init__(self, model: str, viewer: Viewer, typed: argparse.Namespace) -> None:
        self.run = None if is_model_file(model) else Run.open(typed.runs, model)
        self.id = Path(model).name if self.run is None else self.run.id
        self.viewer, self.typed = viewer, typed
        self.predictor = load_predictor(model, typed)
        self.label = None if typed.class_name is None else self.predictor.class_number(typed.class_name)
        self.rival = None if typed.rival is None else self.predictor.rival_named(typed.rival)

    @property
    def name(self) -> str:
        """The model's name in a figure."""
        if self.run is None or self.run.is_shipped:
            return self.id
        return f"{METHODS[self.predictor.config.method].title} · {self.run.id[-4:]}"

    def seen(self, word: Path) -> Image:
        """Return the network's input for a picture."""
        return self.viewer.seen(self.predictor, word)

    def explained(self, seen: Image) -> Explanation:
        """Return the maps of a picture for the typed output and class."""
        head, method = self.typed.head, self.typed.method
        return self.predictor.explain(seen, head=head, label=self.label, method=method, rival=self.rival)

    def sight(self, word: Path) -> MapCell:
        """Return a picture with its maps, its prediction as text, and the region to outline."""
        seen = self.seen(word)
        return _sight(seen, self.explained(seen), self.region(word, seen))

    def view(self, word: Path) -> Subject:
        """Return a picture and a function that explains perturbed copies of it, for the clean picture's class."""
        seen = self.seen(word)
        about = self.explained(seen)

        def explain(pixels: Image, _severity: float) -> MapCell:
            head, method = about.head, about.method
            found = self.predictor.explain(pixels, head=head, label=about.label, method=method, rival=about.rival)
            return _sight(pixels, found)

        return Subject(seen, self.viewer.pictures.key(word), explain)

    def region(self, word: Path, seen: Image) -> np.ndarray | None:
        """Return the typed region, if any; raises UnknownName if the image has no such region."""
        name = self.typed.region
        if not name:
            return None
        if known := self.regions(word, seen):
            return lookup("region", known, name)
        raise ConfigError(f"The data set has no box and no parts of {text_of(word)}: leave out --region.")

    def regions(self, word: Path, seen: Image) -> dict[str, np.ndarray]:
        """Return the regions of an image, (side, side) bool; none for a file or a perturbed image."""
        dataset = self.viewer.pictures.dataset
        if dataset is None or self.viewer.steps:
            return {}
        chances = None
        if dataset.classes == tuple(self.predictor.classes):
            guesses = self.predictor.predict(seen, top=len(dataset.classes)).heads[self.predictor.primary]
            chances = np.zeros(len(guesses))
            chances[[guess.label for guess in guesses]] = [guess.probability for guess in guesses]
        return known_regions(dataset, self.viewer.pictures.sample(word), self.predictor.config, chances)


def _sight(seen: Image, found: Explanation, region: np.ndarray | None = None) -> MapCell:
    best = found.prediction.best
    return MapCell(seen, found.maps, f"{best.name} {best.probability:.0%}", region)


def _print_maps(explainer: _Explainer) -> None:
    """Print the explanation of one picture as JSON, and with ``--out`` write its pictures and maps."""
    typed, word = explainer.typed, explainer.typed.images[0]
    seen = explainer.seen(word)
    found, region = explainer.explained(seen), explainer.region(word, seen)
    about = _about(explainer, word, found)
    if typed.numbers:
        about["numbers"] = _numbers(explainer, word, seen, found)
    curves = _curves(explainer, word, seen, found) if typed.removal else {}
    if typed.removal:
        about["areas"] = {stage: _each(kinds, lambda curve: curve.area) for stage, kinds in curves.items()}
    if typed.out is not None:
        _write_pictures(typed, seen, found, region)
        details: dict[str, Any] = {
            "scale": typed.scale,
            "maps": {stage: values.tolist() for stage, values in found.maps.items()},
        }
        if typed.removal:
            details["curves"] = {stage: _each(kinds, dataclasses.asdict) for stage, kinds in curves.items()}
        write_output(typed.out / "maps.json", to_json(about | details))
    print(to_json(about, indent=1))


def _about(explainer: _Explainer, word: Path, found: Explanation) -> dict[str, Any]:
    """Return the run, picture, output and class that are explained, and the prediction."""
    return {
        "run": explainer.id,
        "image": text_of(word),
        "head": found.head,
        "class": explainer.predictor.classes[found.label],
        "predicted": dataclasses.asdict(found.prediction.best),
        "rival": None if found.rival is None else explainer.predictor.classes[found.rival],
    } | how_perturbed(explainer.typed)


def _write_pictures(typed: argparse.Namespace, seen: Image, found: Explanation, region: np.ndarray | None) -> None:
    """Write the network's input, and an overlay for each stage with the region outlined."""
    save_picture(seen, typed.out / "image.png")
    tops = tops_of(found.maps, typed.scale)
    for stage, values in found.maps.items():
        save_picture(outlined(overlay(seen, values, tops[stage]), region), typed.out / f"{stage}.png")


def _numbers(explainer: _Explainer, word: Path, seen: Image, found: Explanation) -> dict[str, Any]:
    """Return each stage's peak and, if the image has regions, how well its map points there, beside baselines."""
    stages = {stage: dataclasses.asdict(summary(values)) for stage, values in found.maps.items()}
    known = explainer.regions(word, seen)
    if not known:
        return {"stages": stages}
    tolerance, name = float(explainer.typed.tolerance), explainer.typed.region or next(iter(known))
    for stage, values in found.maps.items():
        key = explainer.viewer.pictures.key(word)
        sources = region_scores(values, np.asarray(seen), known[name], tolerance=tolerance, key=key)
        stages[stage]["sources"] = {source: dataclasses.asdict(one) for source, one in sources.items()}
    return {"region": name, "area": float(known[name].mean()), "tolerance": explainer.typed.tolerance, "stages": stages}


def _curves(explainer: _Explainer, word: Path, seen: Image, found: Explanation) -> dict[str, Curves]:
    """Return by stage the deletion and insertion curves of its map, and of a random one."""
    if not isinstance(explainer.predictor, Predictor):
        raise ConfigError(f"--removal needs a run: {explainer.id} is an exported file.")
    model, pixels, key = explainer.predictor.model, np.asarray(seen), explainer.viewer.pictures.key(word)
    return {
        stage: removal_curves(model, pixels, values, head=found.head, label=found.label, key=key)
        for stage, values in found.maps.items()
    }


def _each(kinds: Curves, value: Callable[[Curve], Any]) -> dict[str, dict[str, Any]]:
    """Return ``value`` of each curve, by kind and source."""
    return {kind: {source: value(curve) for source, curve in curves.items()} for kind, curves in kinds.items()}


def _drawings(typed: argparse.Namespace) -> tuple[str, dict[str, Draw]]:
    """Return the kind of file for messages, and the function that draws it by the file's ending."""
    if typed.over_severity:
        return "ending of an animation", {".gif": _animation}
    return "ending of a figure", {ending: partial(_figure, write) for ending, write in FORMATS.items()}


def _figure(write: Callable[[Figure], bytes], explainers: list[_Explainer], typed: argparse.Namespace) -> bytes:
    """Return one figure: a row for each picture, columns for the stages of each run."""
    name = explainers[0].viewer.pictures.name
    rows = tuple(Row(name(word), tuple(each.sight(word) for each in explainers)) for word in typed.images)
    explained = (typed.class_name or "the predicted class") + (f" against {typed.rival}" if typed.rival else "")
    note = note_of(CAM_METHODS[typed.method].title, explained, typed.head, typed.scale)
    return write(Figure(tuple(each.name for each in explainers), rows, typed.scale, note=note))


def _animation(explainers: list[_Explainer], typed: argparse.Namespace) -> bytes:
    """Return a GIF over severities, with a line for each picture and run."""
    views = [each.view(word) for word in typed.images for each in explainers]
    made = frames(views, typed.over_severity, seed=typed.seed)
    return animation(made, typed.over_severity, scale=typed.scale)
