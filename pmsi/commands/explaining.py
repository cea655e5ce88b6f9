"""The command that explains single images: maps as pictures and numbers, a figure for print, an animation.

How maps are made, measured and drawn is in `pmsi.explain`.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pmsi.commands.output import save_picture, text_of, write_output
from pmsi.commands.pictures import Viewer, how_perturbed
from pmsi.errors import ConfigError, lookup
from pmsi.files import to_json
from pmsi.runs import Run

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from pmsi.explain.figure import Figure, Sight
    from pmsi.explain.removal import Curve
    from pmsi.explain.rising import View
    from pmsi.predictor import Explanation

Arguments = argparse.Namespace
Curves = dict[str, dict[str, "Curve"]]
"""Deletion and insertion curves by source: those of a map, and of a random one."""
Draw = Callable[[list["_Eyes"], Arguments], bytes | str]


def explain(typed: Arguments) -> int:
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


def _check(typed: Arguments, alone: bool) -> None:
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

    def __init__(self, run: Run, viewer: Viewer, typed: Arguments) -> None:
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

    def sight(self, word: Path) -> "Sight":
        """Return a picture with its maps, its prediction in words, and the region to be outlined."""
        seen = self.seen(word)
        return _sight(seen, self.explained(seen), self.region(word, seen))

    def view(self, word: Path) -> "View":
        """Return a picture and what looks at it as it is perturbed, always for the clean one's class."""
        from pmsi.explain.rising import View

        seen = self.seen(word)
        about = self.explained(seen)

        def look(pixels: "Image", _severity: float) -> "Sight":
            found = self.predictor.explain(pixels, head=about.head, label=about.label, method=about.method)
            return _sight(pixels, found)

        return View(seen, self.viewer.pictures.key(word), look)

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

        from pmsi.explain.regions import known_regions

        dataset = self.viewer.pictures.dataset
        if dataset is None or self.viewer.steps:
            return {}
        chances = None
        if dataset.classes == tuple(self.predictor.classes):
            guesses = self.predictor.predict(seen, top=len(dataset.classes)).heads[self.predictor.primary]
            chances = np.zeros(len(guesses))
            chances[[guess.label for guess in guesses]] = [guess.probability for guess in guesses]
        return known_regions(dataset, self.viewer.pictures.sample(word), self.predictor.config, chances)


def _sight(seen: "Image", found: "Explanation", region: "np.ndarray | None" = None) -> "Sight":
    from pmsi.explain.figure import Sight

    best = found.prediction.best
    return Sight(seen, found.maps, f"{best.name} {best.probability:.0%}", region)


# One picture of one run


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
        _write_pictures(typed.out, seen, found, region)
        details: dict[str, Any] = {"maps": {stage: values.tolist() for stage, values in found.maps.items()}}
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


def _write_pictures(folder: Path, seen: "Image", found: "Explanation", region: "np.ndarray | None") -> None:
    """Write the picture that the network sees, and an overlay for each stage with the region outlined."""
    from pmsi.explain.outlines import outlined
    from pmsi.explain.overlay import overlay, scaled

    save_picture(seen, folder / "image.png")
    for stage, values in scaled(found.maps)[0].items():
        save_picture(outlined(overlay(seen, values), region), folder / f"{stage}.png")


def _numbers(eyes: _Eyes, word: Path, seen: "Image", found: "Explanation") -> dict[str, Any]:
    """Return each stage's map in short and, where a region is known, how well it points there, beside its floors."""
    import numpy as np

    from pmsi.explain.metrics import measured, summary

    stages = {stage: dataclasses.asdict(summary(values)) for stage, values in found.maps.items()}
    known = eyes.regions(word, seen)
    if not known:
        return {"stages": stages}
    tolerance, name = float(eyes.typed.tolerance), eyes.typed.region or next(iter(known))
    for stage, values in found.maps.items():
        key = eyes.viewer.pictures.key(word)
        sources = measured(values, np.asarray(seen), known[name], tolerance=tolerance, key=key)
        stages[stage]["sources"] = {source: dataclasses.asdict(one) for source, one in sources.items()}
    return {"region": name, "area": float(known[name].mean()), "tolerance": eyes.typed.tolerance, "stages": stages}


def _curves(eyes: _Eyes, word: Path, seen: "Image", found: "Explanation") -> dict[str, Curves]:
    """Return by stage the deletion and insertion curves of its map, and of a random one."""
    import numpy as np

    from pmsi.explain.removal import removal_curves

    model, pixels, key = eyes.predictor.model, np.asarray(seen), eyes.viewer.pictures.key(word)
    return {
        stage: removal_curves(model, pixels, values, head=found.head, label=found.label, key=key)
        for stage, values in found.maps.items()
    }


def _each(kinds: Curves, tell: "Callable[[Curve], Any]") -> dict[str, dict[str, Any]]:
    """Return what is told of each curve, by kind and source."""
    return {kind: {source: tell(curve) for source, curve in curves.items()} for kind, curves in kinds.items()}


# Some pictures by some runs


def _drawings(typed: Arguments) -> tuple[str, dict[str, Draw]]:
    """Return what is drawn, and by a file's ending what draws it."""
    from pmsi.explain.printing import FORMATS

    if typed.rising:
        return "ending of an animation", {".gif": _animation}
    return "ending of a figure", {ending: partial(_figure, write) for ending, write in FORMATS.items()}


def _figure(write: "Callable[[Figure], bytes | str]", eyes: list[_Eyes], typed: Arguments) -> bytes | str:
    """Return one figure: a row for each picture, columns for the stages of each run."""
    from pmsi.explain.figure import Figure, Row, note_of
    from pmsi.explain.weighing import CAM_METHODS

    name = eyes[0].viewer.pictures.name
    rows = tuple(Row(name(word), tuple(each.sight(word) for each in eyes)) for word in typed.images)
    note = note_of(CAM_METHODS[typed.method].title, typed.class_name or "the predicted class", typed.head, typed.scale)
    return write(Figure(tuple(each.name for each in eyes), rows, typed.scale, note=note))


def _animation(eyes: list[_Eyes], typed: Arguments) -> bytes:
    """Return a GIF with a line for each picture by each run, under rising severity."""
    from pmsi.explain.rising import animation, frames

    views = [each.view(word) for word in typed.images for each in eyes]
    made = frames(views, typed.rising, seed=typed.seed)
    return animation(made, typed.rising, scale=typed.scale)
