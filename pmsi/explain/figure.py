"""A figure of maps for print, laid out like the paper's Fig. 4: a row for each image, columns for stages by model.

`Figure` says what is shown, `laid_out` where each thing stands on the page, in millimetres; `pmsi.explain.printing`
draws such a page. Nothing here knows a model or where images come from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pmsi.base.errors import ConfigError, lookup
from pmsi.explain.outlines import Line, borders
from pmsi.explain.overlay import color_bar, overlay
from pmsi.model.batch import STAGES


@dataclass(frozen=True)
class Shared:
    """A row of SHARED: ``first`` parts of (image, model, stage) are the same for maps whose colours end alike."""

    first: int
    words: str


SHARED: dict[str, Shared] = {
    "map": Shared(3, "each map up to its own peak"),
    "image": Shared(2, "a model's maps of an image up to the largest of their peaks"),
    "all": Shared(0, "all maps up to the largest of their peaks"),
}
"""Which maps have one scale."""

MM, POINT = 25.4, 25.4 / 72
"""Millimetres in an inch, and in a point."""

WIDTH = 181.0
"""Width of two columns of a paper, in mm: the widest that a figure becomes."""

SIDE, SMALLEST = 36.0, 12.0
"""Largest and smallest side of a picture, in mm."""

MARGIN, GAP, APART = 1.5, 1.0, 3.5
"""Around the page, between pictures, between models, in mm."""

DPI = 300
TITLE, LABEL, NOTE = 8.0, 7.0, 6.0
"""Sizes of text, in points."""

INK, GREY = "#111418", "#565d66"


@dataclass(frozen=True)
class Sight:
    """One image as one model sees it.

    ``picture`` is RGB, what the network is given; ``maps`` are (h_n, w_n) by stage, at least 0, not normalised;
    ``verdict`` a short line such as the prediction; ``region`` (h, w) bool is outlined.
    """

    picture: Image.Image
    maps: Mapping[str, np.ndarray]
    verdict: str = ""
    region: np.ndarray | None = None


@dataclass(frozen=True)
class Row:
    """One image: its title, and a sight for each model."""

    title: str
    sights: tuple[Sight, ...]


@dataclass(frozen=True)
class Figure:
    """Rows of images by models; ``scale`` is a key of SHARED, ``strength`` (0–1) the opacity of maps."""

    models: tuple[str, ...]
    rows: tuple[Row, ...]
    scale: str = "map"
    strength: float = 0.55
    note: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.rows[0].sights[0].maps)


def ceilings(rows: Sequence[Sequence[Mapping[str, np.ndarray]]], scale: str) -> dict[tuple[int, int, str], float]:
    """Return the value at which the colours of each map end, by (image, model, stage); 1 where all are blank.

    ``rows`` are maps by stage of each model, of each image; ``scale`` is a key of SHARED.
    """
    shared = lookup("scale", SHARED, scale).first
    peaks = {
        (i, j, stage): float(values.max(initial=0.0))
        for i, row in enumerate(rows)
        for j, maps in enumerate(row)
        for stage, values in maps.items()
    }
    tops: dict[tuple, float] = {}
    for key, peak in peaks.items():
        tops[key[:shared]] = max(peak, tops.get(key[:shared], 0.0))
    return {key: tops[key[:shared]] or 1.0 for key in peaks}


def note_of(method: str, explained: str, head: str | None, scale: str) -> str:
    """Return the line below a figure: how its maps were made, of what, and where their colours end."""
    output = f" at output {head}" if head else ""
    return f"{method} of {explained}{output}; {lookup('scale', SHARED, scale).words}"


# Where things stand


@dataclass(frozen=True)
class Words:
    """Text around (x, y), in mm: the middle of its baseline."""

    x: float
    y: float
    text: str
    points: float
    bold: bool = False
    color: str = INK


@dataclass(frozen=True)
class Inset:
    """A picture from (x, y), in mm, with the lines over it as fractions of it."""

    x: float
    y: float
    width: float
    height: float
    picture: Image.Image
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A thin line from (x, y) to the right, in mm."""

    x: float
    y: float
    length: float


@dataclass(frozen=True)
class Page:
    """Width and height in mm, and what stands where."""

    width: float
    height: float
    things: tuple[Words | Inset | Rule, ...]


def laid_out(figure: Figure) -> Page:
    """Return the page of a figure; ConfigError where it has nothing to show, or too many columns for a page."""
    if not figure.rows or not figure.models or any(len(row.sights) != len(figure.models) for row in figure.rows):
        raise ConfigError("A figure needs at least one image, and of each image one sight for each of its models.")
    side = _side(len(figure.models), len(figure.stages))
    lefts = [MARGIN + side + APART + j * (len(figure.stages) * (side + GAP) - GAP + APART)
             for j in range(len(figure.models))]  # fmt: skip
    block = len(figure.stages) * (side + GAP) - GAP
    things, top = _heading(figure, side, lefts, block)
    tops = ceilings([[sight.maps for sight in row.sights] for row in figure.rows], figure.scale)
    for i, row in enumerate(figure.rows):
        things += _row(figure, i, row, side, lefts, top, tops)
        top += side + 8.2
    width = lefts[-1] + block + MARGIN
    shown = [thing for thing in (*things, *_foot(figure, width, top)) if not isinstance(thing, Words) or thing.text]
    return Page(width, top + 7.0, tuple(shown))


def _side(models: int, stages: int) -> float:
    """Return the side of a picture, in mm, with which everything fits into WIDTH."""
    room = WIDTH - 2 * MARGIN - models * (APART + (stages - 1) * GAP)
    side = min(SIDE, room / (1 + models * stages))
    if side < SMALLEST:
        raise ConfigError(
            f"{models} models with {stages} stages each leave {max(side, 0):.0f} mm for a picture on a page of "
            f"{WIDTH:.0f} mm: expected at least {SMALLEST:.0f}. Show fewer models."
        )
    return side


def _heading(figure: Figure, side: float, lefts: list[float], block: float) -> tuple[list[Words | Inset | Rule], float]:
    """Return the names of models and stages, and where the first row begins."""
    things: list[Words | Inset | Rule] = [Words(MARGIN + side / 2, MARGIN + 7.2, "Image", LABEL, color=GREY)]
    for left, name in zip(lefts, figure.models, strict=True):
        things.append(Words(left + block / 2, MARGIN + 2.6, cut(name, block, TITLE), TITLE, bold=True))
        things.append(Rule(left, MARGIN + 3.9, block))
        for k, stage in enumerate(figure.stages):
            middle = left + k * (side + GAP) + side / 2
            things.append(Words(middle, MARGIN + 7.2, cut(stage_title(stage), side, LABEL), LABEL, color=GREY))
    return things, MARGIN + 8.4


def stage_title(stage: str) -> str:
    """Return a stage's name with the paper's: S4 is Stage N − 1, because there are N = 5."""
    behind = STAGES - int(stage[1:])
    return f"{stage} (N − {behind})" if behind else f"{stage} (N)"


def _row(
    figure: Figure,
    i: int,
    row: Row,
    side: float,
    lefts: list[float],
    top: float,
    tops: dict[tuple[int, int, str], float],
) -> list[Words | Inset | Rule]:
    first = row.sights[0]
    things: list[Words | Inset | Rule] = [
        _inset(MARGIN, top, side, first.picture, first.region),
        Words(MARGIN + side / 2, top + side + 2.6, cut(row.title, side, NOTE), NOTE),
    ]
    for j, (sight, left) in enumerate(zip(row.sights, lefts, strict=True)):
        shown = _enlarged(sight.picture, side)
        for k, (stage, values) in enumerate(sight.maps.items()):
            x = left + k * (side + GAP)
            things.append(
                _inset(x, top, side, overlay(shown, values / tops[i, j, stage], figure.strength), sight.region)
            )
            peak = f"peak {values.max():.3g}" if values.any() else "no positive evidence"
            things.append(Words(x + side / 2, top + side + 2.6, cut(peak, side, NOTE), NOTE, color=GREY))
        block = len(sight.maps) * (side + GAP) - GAP
        things.append(Words(left + block / 2, top + side + 5.4, cut(sight.verdict, block, NOTE), NOTE))
    return things


def _inset(x: float, y: float, side: float, picture: Image.Image, region: np.ndarray | None) -> Inset:
    lines = () if region is None else tuple(borders(region))
    return Inset(x, y, side, side, _enlarged(picture, side), lines)


def _enlarged(picture: Image.Image, side: float) -> Image.Image:
    """Return a picture with at least the pixels that ``side`` mm have in print, so that maps on it are smooth."""
    pixels = round(side / MM * DPI)
    return picture if picture.width >= pixels else picture.resize((pixels, pixels), Image.Resampling.BICUBIC)


def _foot(figure: Figure, width: float, top: float) -> list[Words | Inset | Rule]:
    """Return the colour bar with its ends, and the note above it."""
    middle, bar = width / 2, 32.0
    note = cut(figure.note, width - 2 * MARGIN, NOTE)
    return [
        Words(middle, top + 1.6, note, NOTE, color=GREY),
        Inset(middle - bar / 2, top + 3.2, bar, 1.6, color_bar(256, 12)),
        Words(middle - bar / 2 - 7.5, top + 4.7, "no evidence", NOTE, color=GREY),
        Words(middle + bar / 2 + 3.5, top + 4.7, "peak", NOTE, color=GREY),
    ]


def cut(text: str, room: float, points: float) -> str:
    """Return text that is about as long as ``room`` mm allow, with … where its end had to go."""
    fits = int(room / (0.56 * points * POINT))
    return text if len(text) <= fits else text[: max(1, fits - 1)].rstrip() + "…"
