"""The Mosaic page: G(x, r) of one image for r = 0…3, and below it one of four closer views."""

import streamlit as st
from PIL.Image import Image

from app.shared.bar import bar
from app.shared.components import part
from app.shared.errors import guarded
from app.shared.glossary import meaning
from app.shared.images import download
from app.shared.panels import Picked
from app.shared.session import choice, page_of, parsed, switch
from app.views.mosaic.augmentations import beside
from app.views.mosaic.code import Drawn, Scene, command_of, drawn, python_of
from app.views.mosaic.receptive_fields import fields
from app.views.mosaic.strip import DEPTH, SIDE, opened, squared_once, strip
from app.views.mosaic.training import training
from pmsi.pictures.encoding import png
from pmsi.pictures.mosaics import COLORS, frames, gif, mosaics
from pmsi.pictures.sheets import side_by_side

INTRO = (
    "Similar species differ in small parts, which a network overlooks when the shape of the whole gives enough away. "
    "The recursive mosaic G(x, r) destroys that shape: it cuts an image into four patches and shuffles them, then does "
    "the same inside one of the patches, r times, and a network trained from small patches up to the whole image "
    "learns detail of every size."
)


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


VIEWS = {
    "steps": ("Step by step", recursion),
    "training": ("In training", training),
    "beside": ("Beside other augmentations", beside),
    "fields": ("Receptive fields", fields),
}
"""The closer looks, of which one is shown and computed: title, and what draws it."""


def page() -> None:
    """Draw the page."""
    st.title("Recursive mosaic", anchor=False, help=meaning("mosaic", "r"))
    chosen = bar(here="mosaic", run=False)
    if chosen.picked is None:
        st.info("Choose an image to see its mosaics.", icon=":material/image:")
    else:
        _mosaics(chosen.picked)
    st.markdown(INTRO, width=820)
    st.page_link(
        page_of("train"), label="Next: :primary[**train a network on such mosaics**]", icon=":material/arrow_forward:"
    )


@st.fragment
@guarded()
def _mosaics(picked: Picked) -> None:
    """Draw what depends on the layout: a fragment of its own, since it is what a visitor changes most."""
    image, address = squared_once(picked.image)
    chosen = strip(opened(address, picked.title))
    look = switch("look", "steps", "Look closer", {name: row[0] for name, row in VIEWS.items()})
    shown_so = drawn(picked, chosen.seed, chosen.permutation, chosen.borders, SIDE)
    VIEWS[look][1](Scene(picked, image, shown_so))
