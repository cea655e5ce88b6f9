"""A figure of maps on paper: as PNG with the pixels of print, or as SVG with text and lines that can be edited.

Both draw the page that `pmsi.explain.figure` lays out; what is on it is not known here.
"""

import base64
import io
from collections.abc import Callable
from html import escape

from PIL import Image, ImageDraw, ImageFont

from pmsi.explain.figure import DPI, GREY, MM, POINT, Figure, Inset, Rule, Words, laid_out
from pmsi.explain.outlines import SHADOW, WHITE, draw_lines

FONTS = {False: "DejaVuSans.ttf", True: "DejaVuSans-Bold.ttf"}
"""Fonts that have every letter that names are likely to hold, by whether they are bold."""

STROKES = ((SHADOW, 0.55), (WHITE, 0.28))
"""Colours of an outline, one over the other, and their widths in mm."""


def to_png(figure: Figure, dpi: int = DPI) -> bytes:
    """Return a figure as a PNG that is to be printed with ``dpi`` pixels an inch, on white."""
    page, unit = laid_out(figure), dpi / MM
    paper = Image.new("RGB", (round(page.width * unit), round(page.height * unit)), "white")
    for thing in page.things:
        _draw(paper, thing, unit)
    file = io.BytesIO()
    paper.save(file, "PNG", dpi=(dpi, dpi), optimize=True)
    return file.getvalue()


def _draw(paper: Image.Image, thing: Words | Inset | Rule, unit: float) -> None:
    """Draw one thing with ``unit`` pixels a millimetre."""
    if isinstance(thing, Words):
        font = font_of(thing.points * POINT * unit, thing.bold)
        ImageDraw.Draw(paper).text((thing.x * unit, thing.y * unit), thing.text, thing.color, font, anchor="ms")
    elif isinstance(thing, Rule):
        box = (thing.x * unit, thing.y * unit, thing.length * unit, 0.0)
        draw_lines(paper, [(0.0, 0.0, 1.0, 0.0)], box, GREY, 0.15 * unit)
    else:
        left, top, width, height = (round(value * unit) for value in (thing.x, thing.y, thing.width, thing.height))
        paper.paste(thing.picture.resize((width, height), Image.Resampling.LANCZOS), (left, top))
        for color, stroke in STROKES:
            box = (float(left), float(top), float(width), float(height))
            draw_lines(paper, list(thing.lines), box, color, stroke * unit)


def font_of(pixels: float, bold: bool) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return one of FONTS where the machine has it, or else Pillow's own font."""
    try:
        return ImageFont.truetype(FONTS[bold], pixels)
    except OSError:
        return ImageFont.load_default(pixels)


def to_svg(figure: Figure) -> str:
    """Return a figure as SVG: its words and lines can be edited, its pictures are embedded as PNG."""
    page = laid_out(figure)
    size = f'width="{page.width:.2f}mm" height="{page.height:.2f}mm" viewBox="0 0 {page.width:.2f} {page.height:.2f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="Helvetica, Arial, sans-serif">'
    paper = '<rect width="100%" height="100%" fill="white"/>'
    return "\n".join([head, paper, *(_written(thing) for thing in page.things), "</svg>", ""])


def _written(thing: Words | Inset | Rule) -> str:
    """Return one thing as an element of SVG, whose units are millimetres."""
    if isinstance(thing, Words):
        weight = ' font-weight="bold"' if thing.bold else ""
        about = f'font-size="{thing.points * POINT:.3f}" text-anchor="middle" fill="{thing.color}"{weight}'
        return f'<text x="{thing.x:.3f}" y="{thing.y:.3f}" {about}>{escape(thing.text)}</text>'
    if isinstance(thing, Rule):
        return f'<path d="M{thing.x:.3f} {thing.y:.3f}h{thing.length:.3f}" stroke="{GREY}" stroke-width="0.15"/>'
    file = io.BytesIO()
    thing.picture.save(file, "PNG", optimize=True)
    place = f'x="{thing.x:.3f}" y="{thing.y:.3f}" width="{thing.width:.3f}" height="{thing.height:.3f}"'
    data = base64.b64encode(file.getvalue()).decode()
    image = f'<image {place} preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
    return image + "".join(_path(thing, color, width) for color, width in STROKES)


def _path(inset: Inset, color: str, width: float) -> str:
    if not inset.lines:
        return ""
    (x, y), (w, h) = (inset.x, inset.y), (inset.width, inset.height)
    steps = "".join(f"M{x + a * w:.3f} {y + b * h:.3f}L{x + c * w:.3f} {y + d * h:.3f}" for a, b, c, d in inset.lines)
    return f'<path d="{steps}" stroke="{color}" stroke-width="{width}" stroke-linecap="square"/>'


FORMATS: dict[str, Callable[[Figure], bytes | str]] = {".png": to_png, ".svg": to_svg}
"""How a figure is written, by the ending of its file's name."""
