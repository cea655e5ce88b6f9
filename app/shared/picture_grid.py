"""Pictures in a grid of HTML, with as many columns as fit."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from app.shared.glossary import hint
from pmsi.pictures.encoding import data_uri


@dataclass(frozen=True, slots=True)
class Figure:
    """A JPEG with its alternative text, a title, words below it, and a colour that marks the title."""

    jpeg: bytes
    alt: str
    title: str
    words: str = ""
    color: str = ""


def figure_grid(figures: Iterable[Figure], least: str = "150px") -> str:
    """Return figures side by side, each at least ``least`` wide (CSS); all texts are escaped."""
    body = "".join(_figure(figure) for figure in figures)
    return f'<div class="figures" style="--least:{least}">{body}</div>'


def _figure(figure: Figure) -> str:
    mark = f'<i style="background:{figure.color}"></i>' if figure.color else ""
    words = f"<span>{escape(figure.words)}</span>" if figure.words else ""
    image = f'<img src="{data_uri(figure.jpeg)}" alt="{escape(figure.alt)}">'
    hover = f' title="{escape(means)}"' if (means := hint(figure.title)) else ""
    return f"<figure>{image}<figcaption{hover}>{mark}<b>{escape(figure.title)}</b>{words}</figcaption></figure>"
