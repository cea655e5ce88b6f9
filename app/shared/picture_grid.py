"""Encoded pictures in a grid of HTML that finds its own number of columns: text and bytes in, HTML out."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

from pmsi.pictures.encoding import data_uri

STYLE = """<style>
.figures{display:grid;gap:.9rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,var(--least)),1fr))}
.figures figure{margin:0}
.figures img{display:block;width:100%;aspect-ratio:1;border-radius:.4rem}
.figures figcaption{font-size:.86rem;line-height:1.4;margin-top:.35rem;overflow-wrap:anywhere}
.figures figcaption b{font-weight:600}
.figures figcaption span{display:block;opacity:.8}
.figures i{display:inline-block;width:.75rem;height:.75rem;border-radius:.2rem;margin-right:.4rem;
 vertical-align:-.05rem}
</style>"""


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
    return f'{STYLE}<div class="figures" style="--least:{least}">{body}</div>'


def _figure(figure: Figure) -> str:
    mark = f'<i style="background:{figure.color}"></i>' if figure.color else ""
    words = f"<span>{escape(figure.words)}</span>" if figure.words else ""
    image = f'<img src="{data_uri(figure.jpeg)}" alt="{escape(figure.alt)}">'
    return f"<figure>{image}<figcaption>{mark}<b>{escape(figure.title)}</b>{words}</figcaption></figure>"
