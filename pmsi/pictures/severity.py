"""Maps of one class of an image under a perturbation of increasing severity, as an animation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from pmsi.base.errors import lookup
from pmsi.perturbations import PERTURBATIONS, perturb
from pmsi.pictures import encoding
from pmsi.pictures.figure import MapCell
from pmsi.pictures.overlays import COLOR_SCALES, STRENGTH, overlay
from pmsi.pictures.sheets import grid

STEPS = 8
"""Steps from the clean image to the strongest one, if severities need not be whole numbers."""

SIDE, GAP = 256, 4
"""Side of a picture of the animation, and the space between two, in pixels."""

HELD_MS = 800
"""Duration of a severity; the last one takes twice as long."""

OWN = "map"
"""The row of COLOR_SCALES in which each map has its own scale."""


@dataclass(frozen=True)
class Subject:
    """A network's input (side, side) RGB, and the function that explains it.

    ``key`` seeds the perturbations of the image. ``explain`` is (perturbed picture, severity) → its maps, which must
    explain the same class at all severities.
    """

    picture: Image.Image
    key: str
    explain: Callable[[Image.Image, float], MapCell]


@dataclass(frozen=True)
class Frame:
    """One severity: the maps of each subject's perturbed picture."""

    severity: float
    cells: tuple[MapCell, ...]


def severities(name: str) -> list[float]:
    """Return the severities of the frames, from 0 (clean) to the strongest of a sweep; raises UnknownName."""
    row = lookup("perturbation", PERTURBATIONS, name)
    even = np.linspace(0, max(row.levels), STEPS + 1)
    return [float(severity) for severity in (np.unique(even.round()) if row.whole else even)]


def frames(subjects: Sequence[Subject], name: str, *, seed: int) -> list[Frame]:
    """Return the frames of a row of PERTURBATIONS: the draw of each subject at the strongest severity, scaled."""
    found, steps = [], severities(name)
    for severity in steps:
        pictures = [
            perturb(one.picture, name, severity, seed=seed, key=one.key, drawn_at=steps[-1])[0] for one in subjects
        ]
        cells = [one.explain(picture, severity) for one, picture in zip(subjects, pictures, strict=True)]
        found.append(Frame(severity, tuple(cells)))
    return found


def drawn(made: Sequence[Frame], *, scale: str, strength: float = STRENGTH) -> list[list[list[Image.Image]]]:
    """Return the pictures by frame and subject, SIDE × SIDE: the perturbed image, then a map over it for each stage.

    ``scale`` is a key of COLOR_SCALES. With "map", colours end at each map's own peak; else at the largest peak of the
    subject's stage over all frames, so that fading maps look faded. ``strength`` (0–1) is the opacity of maps.
    """
    lookup("scale", COLOR_SCALES, scale)
    tops = [_tops([frame.cells[j] for frame in made]) for j in range(len(made[0].cells))]
    return [
        [
            _pictures(sight, _tops([sight]) if scale == OWN else top, strength)
            for sight, top in zip(frame.cells, tops, strict=True)
        ]
        for frame in made
    ]


def _tops(cells: Sequence[MapCell]) -> dict[str, float]:
    """Return the largest peak of some cells by stage; 1 if all maps are zero."""
    return {stage: max(float(sight.maps[stage].max()) for sight in cells) or 1.0 for stage in cells[0].maps}


def _pictures(sight: MapCell, tops: dict[str, float], strength: float) -> list[Image.Image]:
    shown = sight.picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return [shown, *(overlay(shown, values, tops[stage], strength) for stage, values in sight.maps.items())]


def label_of(name: str, severity: float) -> str:
    """Return a severity in words."""
    return f"{PERTURBATIONS[name].symbol} = {severity:g}" + ("" if severity else " (clean)")


def animation(made: Sequence[Frame], name: str, *, scale: str, strength: float = STRENGTH) -> bytes:
    """Return the frames of a row of PERTURBATIONS as a GIF file with a line for each subject; see `drawn`."""
    title = PERTURBATIONS[name].title
    pictures = [
        encoding.Frame(grid(rows, GAP, f"{title}, {label_of(name, frame.severity)}"), HELD_MS)
        for frame, rows in zip(made, drawn(made, scale=scale, strength=strength), strict=True)
    ]
    pictures[-1] = replace(pictures[-1], held_ms=2 * HELD_MS)
    return encoding.gif(pictures)
