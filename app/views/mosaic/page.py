"""The Mosaic page: G(x, r) of one image for r = 0…3, and below it one of four closer views."""

import streamlit as st
from PIL.Image import Image

from app.shared.errors import guarded
from app.shared.image_links import image_actions
from app.shared.panels import Picked, image_picker
from app.shared.run_session import page_of
from app.shared.session import choice, remember
from app.views.mosaic.augmentations import beside
from app.views.mosaic.code import Scene, drawn
from app.views.mosaic.receptive_fields import fields
from app.views.mosaic.steps import recursion
from app.views.mosaic.strip import SIDE, Strip, opened, squared_once, strip
from app.views.mosaic.training import training

INTRO = (
    "Similar species differ in small parts, which a network overlooks when the shape of the whole gives enough away. "
    "The recursive mosaic G(x, r) destroys that shape: it cuts an image into four patches and shuffles them, then does "
    "the same inside one of the patches, r times, and a network trained from small patches up to the whole image "
    "learns detail of every size."
)
VIEWS = {
    "steps": ("Step by step", recursion),
    "training": ("In training", training),
    "beside": ("Beside other augmentations", beside),
    "fields": ("Receptive fields", fields),
}
"""The closer looks, of which one is shown and computed: title, and what draws it."""


def page() -> None:
    """Draw the page."""
    st.title("Recursive mosaic", anchor=False)
    st.markdown(INTRO, width=820)
    st.page_link(
        page_of("train"), label="Next: :primary[**train a network on such mosaics**]", icon=":material/arrow_forward:"
    )
    _mosaics()


@st.fragment
@guarded()
def _mosaics() -> None:
    with st.container(border=True):
        picked = image_picker()
        if picked is not None:
            image_actions(picked, here="mosaic", **({"run": choice("run")} if choice("run") else {}))
    if picked is None:
        st.info("Choose an image to see its mosaics.", icon=":material/image:")
        return
    image, address = squared_once(picked.image)
    _layouts(picked, image, opened(address, picked.title))


@st.fragment
@guarded()
def _layouts(picked: Picked, image: Image, shown: Strip) -> None:
    """Draw what depends on the layout: a fragment of its own, since it is what a visitor changes most."""
    chosen = strip(shown)
    look = remember(
        st.segmented_control,
        "look",
        "steps",
        "Look closer",
        {name: row[0] for name, row in VIEWS.items()},
        required=True,
        label_visibility="collapsed",
    )
    shown_so = drawn(picked, chosen.seed, chosen.permutation, chosen.borders, SIDE)
    VIEWS[look][1](Scene(picked, image, shown_so))
