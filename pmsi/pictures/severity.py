"""Maps under rising severity: an image perturbed more and more, and the maps of one and the same class in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pmsi.base.errors import lookup
from pmsi.perturbations import PERTURBATIONS, perturb
from pmsi.pictures import encoding
from pmsi.pictures.figure import MapCell
from pmsi.pictures.overlays import COLOR_SCALES, STRENGTH, overlay
from pmsi.pictures.sheets import grid

STEPS = 8
"""Steps from the clean image to the strongest one, where severities are not whole numbers."""

SIDE, GAP = 256, 4
"""Side of a picture of the animation, and the space between two, in pixels."""

HELD_MS = 800
"""How long a severity is shown; the last one twice as long."""

OWN = "map"
"""The row of COLOR_SCALES by which the colours of each map end at its own peak."""


@dataclass(frozen=True)
class Subject:
    """A picture as a model sees it, (side, side) RGB, and what it sees in it.

    ``key`` names the image in the draws of a perturbation. ``look`` is (perturbed picture, its severity) → the sight of
    it, whose maps must be of one class at all severities, so that they compare.
    """

    picture: Image.Image
    key: str
    look: Callable[[Image.Image, float], MapCell]


@dataclass(frozen=True)
class Frame:
    """One severity: a sight for each view, of the perturbed picture."""

    severity: float
    cells: tuple[MapCell, ...]


def severities(name: str) -> list[float]:
    """Return the severities of the frames, from 0 (clean) to the strongest of a sweep; raises UnknownName."""
    row = lookup("perturbation", PERTURBATIONS, name)
    even = np.linspace(0, max(row.levels), STEPS + 1)
    return [float(severity) for severity in (np.unique(even.round()) if row.whole else even)]


def frames(views: Sequence[Subject], name: str, *, seed: int) -> list[Frame]:
    """Return what is seen at each severity of a row of PERTURBATIONS; each is a draw of its own, as in a sweep."""
    return [
        Frame(severity, tuple(
            view.look(perturb(view.picture, name, severity, seed=seed, key=view.key)[0], severity) for view in views
        ))
        for severity in severities(name)
    ]  # fmt: skip


def drawn(made: Sequence[Frame], *, scale: str, strength: float = STRENGTH) -> list[list[list[Image.Image]]]:
    """Return by frame and view the pictures, SIDE × SIDE: the perturbed image, then its stages over it.

    ``scale`` is a key of COLOR_SCALES. With "map", colours end at each map's own peak, with any other at the largest
    peak of the view's stage over all frames, so that maps which fade are seen to. ``strength`` (0–1) is the opacity of
    maps.
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
    """Return by stage the largest peak of some cells; 1 where all maps are blank."""
    return {stage: max(float(sight.maps[stage].max()) for sight in cells) or 1.0 for stage in cells[0].maps}


def _pictures(sight: MapCell, tops: dict[str, float], strength: float) -> list[Image.Image]:
    shown = sight.picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return [shown, *(overlay(shown, values, tops[stage], strength) for stage, values in sight.maps.items())]


def label_of(name: str, severity: float) -> str:
    """Return a severity in words."""
    return f"{PERTURBATIONS[name].symbol} = {severity:g}" + ("" if severity else " (clean)")


def animation(made: Sequence[Frame], name: str, *, scale: str, strength: float = STRENGTH) -> bytes:
    """Return the frames of a row of PERTURBATIONS as a GIF: a line for each view; see `drawn`."""
    title, pictures = PERTURBATIONS[name].title, drawn(made, scale=scale, strength=strength)
    held = [HELD_MS * (1 if number < len(made) else 2) for number in range(1, len(made) + 1)]
    return encoding.gif(
        [
            encoding.Frame(grid(rows, GAP, f"{title}, {label_of(name, frame.severity)}"), held_ms)
            for frame, rows, held_ms in zip(made, pictures, held, strict=True)
        ]
    )
