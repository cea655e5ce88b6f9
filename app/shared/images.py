"""Pictures, columns and downloads on a page."""

import mimetypes
from collections.abc import Callable
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


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
