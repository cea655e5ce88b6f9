"""The grid of maps as a figure for print, laid out like the paper's Fig. 4."""

from functools import partial

import streamlit as st

from app.shared.images import download
from app.views.maps.explained import Rows, Wanted, figure_of
from pmsi.pictures.figure import to_pdf, to_png, to_svg


def printed(rows: Rows, wanted: Wanted) -> None:
    """Show the figure, and offer it for download."""
    figure = figure_of(rows, wanted)
    shown = to_png(figure, dpi=150)
    st.image(shown, width=min(900, 225 * (1 + len(figure.models) * len(figure.stages))), output_format="PNG",
             alt="The figure: a row for each image, columns for the stages of each run")  # fmt: skip
    with st.container(horizontal=True):
        for name, write in {"PNG, 300 dpi": to_png, "SVG": to_svg, "PDF": to_pdf}.items():
            download(f"Download {name}", partial(write, figure), f"maps.{name[:3].lower()}")
    st.caption("At most two columns of a paper wide (181 mm). `pmsi explain RUN IMAGE… --figure FILE` draws the same.")
