"""Pictures and columns on a page."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator


def picture(image: bytes, alt: str, caption: str | None = None) -> None:
    """Show an encoded JPEG as wide as its place, untouched by Streamlit."""
    st.image(image, caption=caption, width="stretch", output_format="JPEG", alt=alt)


def four_columns() -> list[DeltaGenerator]:
    """Return four places side by side; on a narrow screen they are two and two."""
    return [column for half in st.columns(2, gap="small") for column in half.columns(2, gap="small", wrap=False)]
