"""The mosaic page: G(x, r) of one image for r = 0…3, and below it one of four looks at what that means."""

import secrets
from typing import TYPE_CHECKING

import streamlit as st

from app.actions import image_actions, place_of
from app.images import jpeg
from app.mosaic_beside import beside
from app.mosaic_code import Drawn, Scene, drawn
from app.mosaic_fields import fields
from app.mosaic_steps import recursion
from app.mosaic_training import training
from app.panels import Picked, four_columns, guarded, image_picker, picture
from app.run_session import page_of
from app.session import key_of, remember

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 448
"""Side of the pictures, in pixels: three recursions divide it."""
DEPTH = 3
FRACTIONS = ("1", "½", "¼", "⅛")
"""Side of the smallest patch after r recursions, of the image's."""
SEEDS = 1000
FIRST_SEED = 3
"""A layout in which the blocks that are picked show the bird."""

INTRO = (
    "Similar species differ in small parts, which a network overlooks when the shape of the whole gives enough away. "
    "The recursive mosaic G(x, r) destroys that shape: it cuts an image into four patches and shuffles them, then does "
    "the same inside one of the patches, r times, and a network trained from small patches up to the whole image "
    "learns detail of every size."
)
PERMUTATIONS = {"uniform": "Any order", "cycle": "4-cycle"}
LOOKS = {
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
    left, right = st.columns([5, 7], gap="medium")
    with left, st.container(border=True, height="stretch"):
        picked = image_picker()
    with right, st.container(border=True, height="stretch"):
        seed, permutation, borders = _settings()
    if picked is None:
        st.info("Choose an image to see its mosaics.", icon=":material/image:")
        return
    place = place_of(picked)
    shown = drawn(picked, place, seed, permutation, borders, SIDE)
    square = _strip(picked, shown)
    look = remember(
        st.segmented_control,
        "look",
        "steps",
        "Look closer",
        list(LOOKS),
        format_func=lambda name: LOOKS[name][0],
        required=True,
        label_visibility="collapsed",
    )
    LOOKS[look][1](Scene(picked, place, square, shown))


def _settings() -> tuple[int, str, bool]:
    """Return the seed, the kind of permutation, and whether borders are drawn."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        seed = remember(
            st.number_input, "seed", FIRST_SEED, "Layout (seed)", 0, SEEDS - 1, help="The same seed, the same layout."
        )
        st.button("New layout", icon=":material/casino:", on_click=_new_layout, type="primary", width="stretch")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        permutation = remember(
            st.segmented_control,
            "permutation",
            "uniform",
            "Patches are put in",
            list(PERMUTATIONS),
            required=True,
            format_func=PERMUTATIONS.__getitem__,
            help="Any of the 24 orders with equal chance (the paper), or one of the six in which no patch stays and "
            "all four move in one cycle.",
        )
        borders = remember(st.toggle, "borders", True, "Patch borders")
    return int(seed), permutation, borders


def _new_layout() -> None:
    st.session_state[key_of("seed")] = secrets.randbelow(SEEDS)


def _strip(picked: Picked, shown: Drawn) -> "Image":
    """Draw r = 0…3 side by side; return the image as a square."""
    from pmsi.augment.preview import preview, square

    image = square(picked.image, SIDE)
    pictures = preview(image, DEPTH, seed=shown.seed, permutation=shown.permutation, borders=shown.borders)
    for r, (column, mosaic) in enumerate(zip(four_columns(), pictures, strict=True)):
        with column:
            picture(jpeg(mosaic), alt=f"{picked.title}, mosaic with r = {r}", caption=_caption(r))
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        if shown.borders:
            st.html(_legend(), width="content")
        image_actions(picked, here="mosaic")
    return image


def _caption(r: int) -> str:
    if r == 0:
        return "**r = 0** · the image"
    return f"**r = {r}** · smallest patch {FRACTIONS[r]}"


def _legend() -> str:
    from pmsi.augment.preview import COLORS

    marks = " &nbsp; ".join(
        f'<span style="white-space:nowrap"><i style="display:inline-block;width:1.4rem;height:.25rem;border-radius:2px;'
        f'vertical-align:middle;background:{color}"></i>&nbsp; recursion {k}</span>'
        for k, color in enumerate(COLORS[:DEPTH], start=1)
    )
    text = f"{marks} &nbsp; The framed block is the one that the next recursion cuts."
    return f'<div style="font-size:.86rem;opacity:.85">{text}</div>'
