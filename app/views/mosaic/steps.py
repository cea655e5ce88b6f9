"""The recursion step by step in the browser, and its downloads and code."""

import streamlit as st
from PIL.Image import Image

from app.shared.components import part
from app.shared.images import download
from app.shared.session import choice, parsed
from app.views.mosaic.code import Drawn, Scene, command_of, python_of
from app.views.mosaic.strip import DEPTH
from pmsi.pictures.encoding import png
from pmsi.pictures.mosaics import COLORS, frames, gif, mosaics
from pmsi.pictures.sheets import side_by_side


def recursion(scene: Scene) -> None:
    """Draw the recursion as it happens, with what can be taken along: files and code."""
    square, shown = scene.square, scene.drawn
    left, right = st.columns([5, 7], gap="large")
    with left:
        step = parsed(choice("step"), 0)
        part("steps")(key="steps", data={"title": scene.picked.title, "colors": COLORS[:DEPTH], "step": step})
    with right:
        st.markdown("**Take it along**")
        _downloads(square, shown)
        st.markdown("**The same as code**")
        st.code(python_of(shown), language="python", wrap_lines=True)
        st.code(command_of(shown), language="bash", wrap_lines=True)


def _downloads(square: Image, shown: Drawn) -> None:
    drawn = {"seed": shown.seed, "permutation": shown.permutation, "borders": shown.borders}
    name = f"mosaic-seed-{shown.seed}"
    with st.container(horizontal=True):
        download("Download PNG", lambda: png(side_by_side(mosaics(square, DEPTH, **drawn))), f"{name}.png")
        download("Download GIF", lambda: gif(frames(square, DEPTH, **drawn)), f"{name}.gif", "animation")
