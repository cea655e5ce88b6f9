"""Pictures on a page: encoded once, because Streamlit would encode arrays again and more slowly."""

import io

import streamlit as st
from PIL import Image
from streamlit.delta_generator import DeltaGenerator

JPEG_QUALITY = 88


def jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Return a picture as JPEG, for the screen."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    """Return a picture as PNG, for downloads: every pixel as it is."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()


def enlarged(image: Image.Image, side: int) -> Image.Image:
    """Return a square picture that is at least ``side`` pixels wide."""
    return image if image.width >= side else image.resize((side, side), Image.Resampling.BICUBIC)


def picture(image: bytes, alt: str, caption: str | None = None) -> None:
    """Show an encoded JPEG as wide as its place, untouched by Streamlit."""
    st.image(image, caption=caption, width="stretch", output_format="JPEG", alt=alt)


def four_columns() -> list[DeltaGenerator]:
    """Return four places side by side; on a narrow screen they are two and two."""
    return [column for half in st.columns(2, gap="small") for column in half.columns(2, gap="small", wrap=False)]
