"""Pictures, also in a grid of HTML, columns and downloads on a page."""

import mimetypes
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.shared.glossary import hint
from pmsi.pictures.encoding import data_uri


def picture(image: bytes, alt: str, caption: str | None = None) -> None:
    """Show an encoded JPEG as wide as its place, untouched by Streamlit."""
    st.image(image, caption=caption, width="stretch", output_format="JPEG", alt=alt)


def four_columns() -> list[DeltaGenerator]:
    """Return four places side by side; on a narrow screen they are two and two."""
    return [column for half in st.columns(2, gap="small") for column in half.columns(2, gap="small", wrap=False)]


def grid(count: int, columns: int, gap: str = "small") -> list[DeltaGenerator]:
    """Return at least ``count`` places in rows of ``columns``."""
    return [place for _ in range(0, count, columns) for place in st.columns(columns, gap=gap)]


def download(label: str, make: Callable[[], bytes | str], name: str, icon: str = "download", **options: Any) -> None:
    """Show a button that downloads the file ``name``, which ``make`` makes when it is asked for."""
    kind, _ = mimetypes.guess_type(name)
    st.download_button(label, make, name, mime=kind, icon=f":material/{icon}:", on_click="ignore", **options)


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
