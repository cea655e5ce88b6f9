"""Figures of maps for print, laid out like the paper's Fig. 4: a row for each image, columns for models and stages.

`Figure` is the content; `to_png`, `to_svg` and `to_pdf` draw it with matplotlib. Equal figures give equal bytes.
"""

import io
import threading
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pmsi.base.errors import ConfigError, lookup
from pmsi.model.batch import STAGES
from pmsi.pictures.overlays import (
    COLOR_SCALES,
    SHADOW,
    STRENGTH,
    WHITE,
    borders,
    ceilings,
    color_bar,
    overlay,
    peak_words,
)
from pmsi.pictures.sheets import INK, enlarged

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

MM = 25.4
"""Millimetres in an inch."""

WIDTH = 181.0
"""Largest width of a figure: two columns of a paper, in mm."""

SIDE, SMALLEST = 36.0, 12.0
"""Largest and smallest side of a picture, in mm."""

MARGIN, GAP, APART = 1.5, 1.0, 3.5
"""Space around the page, between pictures and between models, in mm."""

HEADING, CAPTIONS, FOOT = 9.0, 8.2, 8.5
"""Heights in mm: of the names above the rows, of the lines below a row, and of note and colour bar."""

DPI = 300
TITLE, LABEL, NOTE = 8.0, 7.0, 6.0
"""Font sizes in points."""

GREY, FRAME = "#565d66", "#c4c9d0"

STYLE = {
    "font.family": "DejaVu Sans",
    "image.composite_image": False,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "svg.hashsalt": "pmsi",
}
"""In SVG and PDF text is kept as text, and pictures are separate; the salt makes SVG's identifiers reproducible."""

UNDATED: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
"""By format, the metadata to leave out: they depend on the date or on matplotlib's version."""

_drawing = threading.Lock()
"""Held while drawing, because matplotlib's settings are global."""


@dataclass(frozen=True)
class MapCell:
    """The maps of one model for one image.

    ``picture`` is the network's input, RGB; ``maps`` are (h_n, w_n) by stage, at least 0, not normalised. ``verdict``
    is a short line such as the prediction; ``region`` (h, w) bool is outlined.
    """

    picture: Image.Image
    maps: Mapping[str, np.ndarray]
    verdict: str = ""
    region: np.ndarray | None = None


@dataclass(frozen=True)
class Row:
    """One image: its title, and a cell for each model."""

    title: str
    cells: tuple[MapCell, ...]


@dataclass(frozen=True)
class Figure:
    """Rows of images by models; ``scale`` is a key of COLOR_SCALES, ``strength`` (0–1) the opacity of maps."""

    models: tuple[str, ...]
    rows: tuple[Row, ...]
    scale: str = "map"
    strength: float = STRENGTH
    note: str = ""

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the stages of the maps."""
        return tuple(self.rows[0].cells[0].maps)


def note_of(method: str, explained: str, head: str | None, scale: str) -> str:
    """Return the line below a figure: the CAM method, the class and output explained, and the colour scale."""
    output = f"output {head}" if head else "the output that predicts"
    return f"{method} of {explained} at {output}; {lookup('scale', COLOR_SCALES, scale).words}"


def stage_title(stage: str) -> str:
    """Return a stage's name with the paper's: "S4 (N − 1)", where N = 5."""
    behind = STAGES - int(stage[1:])
    return f"{stage} (N − {behind})" if behind else f"{stage} (N)"


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """Return a figure as a PNG file with ``dpi`` pixels per inch, on white."""
    return _written(figure, "png", dpi)


def to_svg(figure: Figure) -> bytes:
    """Return a figure as an SVG file with editable text and lines; pictures are embedded as PNG."""
    return _written(figure, "svg", DPI)


def to_pdf(figure: Figure) -> bytes:
    """Return a figure as a PDF file with embedded fonts."""
    return _written(figure, "pdf", DPI)


FORMATS: dict[str, Callable[[Figure], bytes]] = {".png": to_png, ".svg": to_svg, ".pdf": to_pdf}
"""The functions that write a figure, by file ending."""


def _written(figure: Figure, kind: str, dpi: int) -> bytes:
    from matplotlib import style  # here, because it takes a second

    file = io.BytesIO()
    with _drawing, style.context(["default", STYLE]):
        draw(figure).savefig(file, format=kind, dpi=dpi, metadata=UNDATED[kind])
    return file.getvalue()


def draw(figure: Figure) -> "Canvas":
    """Return a figure as one of matplotlib; ConfigError if it is empty, or has too many columns for a page."""
    if not figure.rows or not figure.models or any(len(row.cells) != len(figure.models) for row in figure.rows):
        raise ConfigError("A figure needs at least one image and one model, and a cell for each image and model.")
    columns, side = len(figure.stages), _side(len(figure.models), len(figure.stages))
    block = columns * (side + GAP) - GAP
    lefts = [MARGIN + side + APART + j * (block + APART) for j in range(len(figure.models))]
    page = _Page(lefts[-1] + block + MARGIN, HEADING + len(figure.rows) * (side + CAPTIONS) + FOOT)
    _heading(page, figure, side, lefts)
    tops = ceilings([[sight.maps for sight in row.cells] for row in figure.rows], figure.scale)
    for i, row in enumerate(figure.rows):
        _row(page, row, side, lefts, HEADING + i * (side + CAPTIONS), figure.strength,
             [{stage: tops[i, j, stage] for stage in figure.stages} for j in range(len(figure.models))])  # fmt: skip
    _foot(page, figure, HEADING + len(figure.rows) * (side + CAPTIONS))
    return page.canvas


def _side(models: int, stages: int) -> float:
    """Return the side of a picture in mm, so that the figure is at most WIDTH wide."""
    room = WIDTH - 2 * MARGIN - models * (APART + (stages - 1) * GAP)
    side = min(SIDE, room / (1 + models * stages))
    if side < SMALLEST:
        raise ConfigError(
            f"{models} models with {stages} stages each leave {max(side, 0):.0f} mm for a picture on a page of "
            f"{WIDTH:.0f} mm: expected at least {SMALLEST:.0f}. Show fewer models."
        )
    return side


class _Page:
    """A white page of ``width`` × ``height`` mm; places are in mm from its upper left corner."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.figure import Figure as Canvas

        self.width = width
        self.canvas = Canvas(figsize=(width / MM, height / MM), facecolor="white")
        self.axes = self.canvas.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self.axes.set_axis_off()

    def text(self, x: float, y: float, words: str, points: float, room: float, **looks: str) -> None:
        """Write words with the middle of their baseline at (x, y), cut to ``room`` mm."""
        words = cut(words, room, points, looks.get("fontweight", "normal"))
        at: dict[str, Any] = {"ha": "center", "va": "baseline", "fontsize": points, "parse_math": False, "color": INK}
        self.axes.text(x, y, words, **(at | looks))

    def picture(
        self, x: float, y: float, width: float, height: float, shown: Image.Image, region: np.ndarray | None = None
    ) -> None:
        """Draw a picture with its upper left corner at (x, y), a thin frame, and the outline of a region."""
        from matplotlib.collections import LineCollection
        from matplotlib.patches import Rectangle

        place = (x, x + width, y + height, y)
        # The axes keep their limits and aspect: the page is in mm, whatever is drawn on it.
        self.axes.imshow(np.asarray(shown), extent=place, interpolation="lanczos", aspect="auto")
        self.axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=FRAME, linewidth=0.4))
        if region is not None:
            lines = [((x + a * width, y + b * height), (x + c * width, y + d * height))
                     for a, b, c, d in borders(region)]  # fmt: skip
            for color, points in ((SHADOW, 1.6), (WHITE, 0.8)):
                self.axes.add_collection(
                    LineCollection(lines, colors=color, linewidths=points, capstyle="projecting"), autolim=False
                )

    def rule(self, x: float, y: float, length: float) -> None:
        """Draw a thin line from (x, y) to the right."""
        self.axes.plot((x, x + length), (y, y), color=GREY, linewidth=0.5)


def _heading(page: _Page, figure: Figure, side: float, lefts: Sequence[float]) -> None:
    """Write the names of models and stages above the first row."""
    page.text(MARGIN + side / 2, MARGIN + 6.6, "Image", LABEL, side, color=GREY)
    block = len(figure.stages) * (side + GAP) - GAP
    for left, name in zip(lefts, figure.models, strict=True):
        page.text(left + block / 2, MARGIN + 2.4, name, TITLE, block, fontweight="bold")
        page.rule(left, MARGIN + 3.7, block)
        for k, stage in enumerate(figure.stages):
            middle = left + k * (side + GAP) + side / 2
            page.text(middle, MARGIN + 6.6, stage_title(stage), LABEL, side, color=GREY)


def _row(
    page: _Page,
    row: Row,
    side: float,
    lefts: Sequence[float],
    top: float,
    strength: float,
    tops: Sequence[Mapping[str, float]],
) -> None:
    """Draw an image, and the maps of each model with their peaks and the model's verdict."""
    pixels = round(side / MM * DPI)  # at least print resolution, so that maps are smooth
    below, last = top + side + 2.6, top + side + 5.4
    first = row.cells[0]
    page.picture(MARGIN, top, side, side, enlarged(first.picture, pixels), first.region)
    page.text(MARGIN + side / 2, below, row.title, NOTE, side)
    for sight, left, ends in zip(row.cells, lefts, tops, strict=True):
        large = enlarged(sight.picture, pixels)
        for k, (stage, values) in enumerate(sight.maps.items()):
            x = left + k * (side + GAP)
            page.picture(x, top, side, side, overlay(large, values, ends[stage], strength), sight.region)
            page.text(x + side / 2, below, peak_words(values), NOTE, side, color=GREY)
        block = len(sight.maps) * (side + GAP) - GAP
        page.text(left + block / 2, last, sight.verdict, NOTE, block)


def _foot(page: _Page, figure: Figure, top: float) -> None:
    """Draw the note, and below it the colour bar with its labels."""
    middle, bar = page.width / 2, 32.0
    page.text(middle, top + 1.6, figure.note, NOTE, page.width - 2 * MARGIN, color=GREY)
    page.picture(middle - bar / 2, top + 3.4, bar, 1.8, color_bar(256, 8, figure.strength))
    page.text(middle - bar / 2 - 8.0, top + 5.0, "no evidence", NOTE, bar, color=GREY)
    page.text(middle + bar / 2 + 4.0, top + 5.0, "peak", NOTE, bar, color=GREY)


def cut(text: str, room: float, points: float, weight: str = "normal") -> str:
    """Return text cut to at most ``room`` mm in print, with … at its end if it was cut."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    properties = FontProperties(family="DejaVu Sans", weight=weight, size=points)

    def fits(words: str) -> bool:
        width, _, _ = text_to_path.get_text_width_height_descent(words, properties, ismath=False)
        return bool(width / 72 * MM <= room)

    if fits(text):
        return text
    lengths = range(1, len(text))
    fitting = bisect_left(lengths, True, key=lambda length: not fits(text[:length].rstrip() + "…"))
    return text[: max(1, fitting)].rstrip() + "…"
