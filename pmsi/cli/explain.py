"""`pmsi explain`: the maps of single images as pictures and numbers, as a figure for print, or as an animation."""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmsi.base.errors import ConfigError, lookup
from pmsi.base.files import to_json
from pmsi.cli.arguments import KEYED, TRAINED, add_images_of, add_like, add_perturbed, add_runs
from pmsi.cli.flags import folder, path, whole
from pmsi.cli.inputs import Viewer, how_perturbed
from pmsi.cli.output import save_picture, text_of, write_output
from pmsi.config import ExplainConfig
from pmsi.runs import Run

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from pmsi.explain.measures.deletion import Curve
    from pmsi.pictures.figure import Figure, MapCell
    from pmsi.pictures.severity import Subject
    from pmsi.predictor import Explanation


HELP = "Show where the last three stages look (Grad-CAM)."

METHOD = (
    "How maps are made: gradcam, layercam and others of one pass, or a class of pytorch-grad-cam (scorecam, "
    "ablationcam, …), whose seconds an image are said at the start [gradcam]."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=TRAINED)
    parser.add_argument("images", nargs="+", type=path, metavar="IMAGE", help=f"Pictures to explain{KEYED}.")
    add_images_of(parser)
    parser.add_argument("--beside", nargs="+", default=[], metavar="RUN", help="More runs, for --figure.")
    parser.add_argument("--head", metavar="NAME", help="Output to explain: S3, S4, concat, mix … [the primary one].")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="Class to explain [the one predicted].")
    parser.add_argument("--method", default="gradcam", metavar="NAME", help=METHOD)
    parser.add_argument("--out", type=folder, metavar="DIR", help="Folder for the pictures and maps.json of one image.")
    help = "All images and runs as one figure for print (.png, .svg or .pdf), or with --rising as an animation (.gif)."
    parser.add_argument("--figure", type=path, metavar="FILE", help=help)
    help = "With --figure: animate what becomes of the maps as this perturbation grows, from the clean image on."
    parser.add_argument("--rising", metavar="NAME", help=help)
    help = "With --dataset: outline the object, the distinctive parts, or one part by its name."
    parser.add_argument("--region", metavar="NAME", help=help)
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
    tolerance = round(ExplainConfig().tolerance)
    help = f"With --numbers: pixels by which a peak may miss the region [{tolerance}]."
    parser.add_argument("--tolerance", type=whole(0, 512), default=tolerance, metavar="N", help=help)
    help = "Print the areas under each map's deletion and insertion curves; with --out, maps.json has the curves."
    parser.add_argument("--removal", action="store_true", help=help)


Curves = dict[str, dict[str, "Curve"]]
"""Deletion and insertion curves by source: those of a map, and of a random one."""


Draw = Callable[[list["_Eyes"], argparse.Namespace], bytes]


def run(typed: argparse.Namespace) -> int:
    """Tell and write what a picture's maps are, and draw those of some pictures by some runs."""
    alone = typed.out is not None or typed.numbers or typed.removal
    _check(typed, alone)
    viewer = Viewer.of(typed)
    if typed.figure is not None:
        draw = lookup(*_drawings(typed), typed.figure.suffix.lower())
        eyes = [_Eyes(Run.open(typed.runs, id), viewer, typed) for id in (typed.run, *typed.beside)]
        for each in eyes:
            _say_cost(each)
        write_output(typed.figure, draw(eyes, typed))
        print(typed.figure)
    if alone:
        one = _Eyes(Run.open(typed.runs, typed.run), viewer, typed)
        _say_cost(one)
        _tell(one)
    return 0


def _say_cost(eyes: "_Eyes") -> None:
    """Say on stderr how long an image takes, where that is more than one pass of the network."""
    from pmsi.explain import CAM_METHODS

    row = lookup("CAM method", CAM_METHODS, eyes.typed.method)
    if row.package is not None:
        seconds = eyes.predictor.explain_seconds(head=eyes.typed.head, method=eyes.typed.method)
        print(f"{row.title} takes about {seconds:.1f} s an image by {eyes.run.id} on this machine.", file=sys.stderr)


def _check(typed: argparse.Namespace, alone: bool) -> None:
    """Raise ConfigError where the flags do not go together."""
    if not alone and typed.figure is None:
        raise ConfigError("There is nothing to write. Give what is required: --out DIR, --numbers, or --figure FILE.")
    if alone and (len(typed.images) > 1 or typed.beside):
        raise ConfigError(
            "--out takes one picture of one run, and so do --numbers and --removal. For more of them use --figure FILE."
        )
    if typed.rising and (typed.perturb or typed.region or typed.figure is None):
        raise ConfigError("--rising needs --figure FILE.gif, and does not go with --perturb or --region.")
    if typed.region and (typed.perturb or typed.dataset is None):
        raise ConfigError(
            "--region needs an image of a data set (--dataset NAME), and does not go with --perturb, which may move it."
        )


class _Eyes:
    """One run, and how it looks at what is typed."""

    def __init__(self, run: Run, viewer: Viewer, typed: argparse.Namespace) -> None:
        from pmsi.predictor import Predictor

        self.run, self.viewer, self.typed = run, viewer, typed
        self.predictor = Predictor.load(run, typed.device)
        self.label = None if typed.class_name is None else self.predictor.class_number(typed.class_name)

    @property
    def name(self) -> str:
        """What the run is called in a figure."""
        return self.run.id if self.run.is_shipped else f"{self.predictor.config.method} · {self.run.id[-4:]}"

    def seen(self, word: Path) -> "Image":
        """Return a picture as the run sees it."""
        return self.viewer.seen(self.predictor, word)

    def explained(self, seen: "Image") -> "Explanation":
        """Return the maps of a picture for the output and class that are asked for."""
        return self.predictor.explain(seen, head=self.typed.head, label=self.label, method=self.typed.method)

    def sight(self, word: Path) -> "MapCell":
        """Return a picture with its maps, its prediction in words, and the region to be outlined."""
        seen = self.seen(word)
        return _sight(seen, self.explained(seen), self.region(word, seen))

    def view(self, word: Path) -> "Subject":
        """Return a picture and what looks at it as it is perturbed, always for the clean one's class."""
        from pmsi.pictures.severity import Subject

        seen = self.seen(word)
        about = self.explained(seen)

        def look(pixels: "Image", _severity: float) -> "MapCell":
            found = self.predictor.explain(pixels, head=about.head, label=about.label, method=about.method)
            return _sight(pixels, found)

        return Subject(seen, self.viewer.pictures.key(word), look)

    def region(self, word: Path, seen: "Image") -> "np.ndarray | None":
        """Return the region that is asked for, if any; raises UnknownName where it is not known of this image."""
        name = self.typed.region
        if not name:
            return None
        if known := self.regions(word, seen):
            return lookup("region", known, name)
        raise ConfigError(f"The data set knows no box and no parts of {text_of(word)}: leave out --region.")

    def regions(self, word: Path, seen: "Image") -> "dict[str, np.ndarray]":
        """Return the regions that are known of an image, (side, side) bool: none of a file, or of moved pixels."""
        import numpy as np

        from pmsi.explain.measures.regions import known_regions

        dataset = self.viewer.pictures.dataset
        if dataset is None or self.viewer.steps:
            return {}
        chances = None
        if dataset.classes == tuple(self.predictor.classes):
            guesses = self.predictor.predict(seen, top=len(dataset.classes)).heads[self.predictor.primary]
            chances = np.zeros(len(guesses))
            chances[[guess.label for guess in guesses]] = [guess.probability for guess in guesses]
        return known_regions(dataset, self.viewer.pictures.sample(word), self.predictor.config, chances)


def _sight(seen: "Image", found: "Explanation", region: "np.ndarray | None" = None) -> "MapCell":
    from pmsi.pictures.figure import MapCell

    best = found.prediction.best
    return MapCell(seen, found.maps, f"{best.name} {best.probability:.0%}", region)


def _tell(eyes: _Eyes) -> None:
    """Print what is explained, with its numbers where they are asked for; write the pictures, and all as JSON."""
    typed, word = eyes.typed, eyes.typed.images[0]
    seen = eyes.seen(word)
    found, region = eyes.explained(seen), eyes.region(word, seen)
    about = _about(eyes, word, found)
    if typed.numbers:
        about["numbers"] = _numbers(eyes, word, seen, found)
    curves = _curves(eyes, word, seen, found) if typed.removal else {}
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


def _about(eyes: _Eyes, word: Path, found: "Explanation") -> dict[str, Any]:
    """Return what is explained: whose answer, about which picture, for which output and class."""
    return {
        "run": eyes.run.id,
        "image": text_of(word),
        "head": found.head,
        "class": eyes.predictor.classes[found.label],
        "predicted": dataclasses.asdict(found.prediction.best),
    } | how_perturbed(eyes.typed)


def _write_pictures(
    typed: argparse.Namespace, seen: "Image", found: "Explanation", region: "np.ndarray | None"
) -> None:
    """Write the picture that the network sees, and an overlay for each stage with the region outlined."""
    from pmsi.pictures.overlays import outlined, overlay, tops_of

    save_picture(seen, typed.out / "image.png")
    tops = tops_of(found.maps, typed.scale)
    for stage, values in found.maps.items():
        save_picture(outlined(overlay(seen, values, tops[stage]), region), typed.out / f"{stage}.png")


def _numbers(eyes: _Eyes, word: Path, seen: "Image", found: "Explanation") -> dict[str, Any]:
    """Return each stage's map in short and, where a region is known, how well it points there, beside its floors."""
    import numpy as np

    from pmsi.explain.measures.pointing import region_scores, summary

    stages = {stage: dataclasses.asdict(summary(values)) for stage, values in found.maps.items()}
    known = eyes.regions(word, seen)
    if not known:
        return {"stages": stages}
    tolerance, name = float(eyes.typed.tolerance), eyes.typed.region or next(iter(known))
    for stage, values in found.maps.items():
        key = eyes.viewer.pictures.key(word)
        sources = region_scores(values, np.asarray(seen), known[name], tolerance=tolerance, key=key)
        stages[stage]["sources"] = {source: dataclasses.asdict(one) for source, one in sources.items()}
    return {"region": name, "area": float(known[name].mean()), "tolerance": eyes.typed.tolerance, "stages": stages}


def _curves(eyes: _Eyes, word: Path, seen: "Image", found: "Explanation") -> dict[str, Curves]:
    """Return by stage the deletion and insertion curves of its map, and of a random one."""
    import numpy as np

    from pmsi.explain.measures.deletion import removal_curves

    model, pixels, key = eyes.predictor.model, np.asarray(seen), eyes.viewer.pictures.key(word)
    return {
        stage: removal_curves(model, pixels, values, head=found.head, label=found.label, key=key)
        for stage, values in found.maps.items()
    }


def _each(kinds: Curves, tell: "Callable[[Curve], Any]") -> dict[str, dict[str, Any]]:
    """Return what is told of each curve, by kind and source."""
    return {kind: {source: tell(curve) for source, curve in curves.items()} for kind, curves in kinds.items()}


def _drawings(typed: argparse.Namespace) -> tuple[str, dict[str, Draw]]:
    """Return what is drawn, and by a file's ending what draws it."""
    from pmsi.pictures.figure import FORMATS

    if typed.rising:
        return "ending of an animation", {".gif": _animation}
    return "ending of a figure", {ending: partial(_figure, write) for ending, write in FORMATS.items()}


def _figure(write: "Callable[[Figure], bytes]", eyes: list[_Eyes], typed: argparse.Namespace) -> bytes:
    """Return one figure: a row for each picture, columns for the stages of each run."""
    from pmsi.explain.methods import CAM_METHODS
    from pmsi.pictures.figure import Figure, Row, note_of

    name = eyes[0].viewer.pictures.name
    rows = tuple(Row(name(word), tuple(each.sight(word) for each in eyes)) for word in typed.images)
    note = note_of(CAM_METHODS[typed.method].title, typed.class_name or "the predicted class", typed.head, typed.scale)
    return write(Figure(tuple(each.name for each in eyes), rows, typed.scale, note=note))


def _animation(eyes: list[_Eyes], typed: argparse.Namespace) -> bytes:
    """Return a GIF with a line for each picture by each run, under rising severity."""
    from pmsi.pictures.severity import animation, frames

    views = [each.view(word) for word in typed.images for each in eyes]
    made = frames(views, typed.rising, seed=typed.seed)
    return animation(made, typed.rising, scale=typed.scale)
