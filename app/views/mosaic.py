"""The mosaic page: G(x, r) of one image for r = 0…3, the patches drawn in, and the patch rule with its numbers."""

import secrets
from typing import TYPE_CHECKING

import streamlit as st

from app.charts import rule_cards
from app.fields import title_of
from app.images import jpeg, png
from app.panels import Picked, four_columns, guarded, image_picker, picture
from app.resources import receptive_fields
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
SMALLEST = 32
"""Smallest image size that a config takes."""

INTRO = (
    "Similar species differ in small parts, which a network overlooks when the shape of the whole gives enough away. "
    "The recursive mosaic G(x, r) destroys that shape: it cuts an image into four patches and shuffles them, then does "
    "the same inside one of the patches, r times, and a network trained from small patches up to the whole image "
    "learns detail of every size."
)
PERMUTATIONS = {"uniform": "Any order", "cycle": "4-cycle"}


def page() -> None:
    """Draw the page."""
    st.title("Recursive mosaic", anchor=False)
    st.markdown(INTRO, width=820)
    st.page_link(
        page_of("train"), label="Next: :primary[**train a network on such mosaics**]", icon=":material/arrow_forward:"
    )
    _mosaics()
    st.space("small")
    _rule()


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
    pictures = _draw(picked, seed, permutation, borders)
    for r, (column, drawn) in enumerate(zip(four_columns(), pictures, strict=True)):
        with column:
            picture(jpeg(drawn), alt=f"{picked.title}, mosaic with r = {r}", caption=_caption(r))
    _legend(picked, seed, permutation, borders)


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


def _draw(picked: Picked, seed: int, permutation: str, borders: bool) -> "list[Image]":
    from pmsi.augment.preview import preview, square

    return preview(square(picked.image, SIDE), DEPTH, seed=seed, permutation=permutation, borders=borders)


def _caption(r: int) -> str:
    if r == 0:
        return "**r = 0** · the image"
    return f"**r = {r}** · smallest patch {FRACTIONS[r]}"


def _legend(picked: Picked, seed: int, permutation: str, borders: bool) -> None:
    from pmsi.augment.preview import COLORS

    marks = " &nbsp; ".join(
        f'<span style="white-space:nowrap"><i style="display:inline-block;width:1.4rem;height:.25rem;border-radius:2px;'
        f'vertical-align:middle;background:{color}"></i>&nbsp; recursion {k}</span>'
        for k, color in enumerate(COLORS[:DEPTH], start=1)
    )
    text = f"{marks} &nbsp; The framed block is the one that the next recursion cuts." if borders else ""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.html(f'<div style="font-size:.86rem;opacity:.85">{text}</div>', width="content")
        st.download_button(
            "Download PNG",
            lambda: png(_strip(picked, seed, permutation, borders)),
            file_name=f"mosaic-seed-{seed}.png",
            mime="image/png",
            icon=":material/download:",
            on_click="ignore",
        )


def _strip(picked: Picked, seed: int, permutation: str, borders: bool) -> "Image":
    from pmsi.augment.preview import mosaic_strip

    return mosaic_strip(picked.image, DEPTH, seed=seed, size=SIDE, permutation=permutation, borders=borders)


@st.fragment
@guarded()
def _rule() -> None:
    from pmsi.augment.rule import patch_rule
    from pmsi.model import BACKBONES

    st.subheader("How small may a patch be?", anchor=False)
    st.markdown(
        "The receptive field of a stage is the part of the image that one position of its map can see. The smallest "
        "patch of a phase should be smaller than the receptive field of the stage that the phase trains, so that a "
        "position sees more than one patch. Otherwise the stage is harder to train (section III-B of the paper).",
        width=820,
    )
    with st.container(horizontal=True):
        backbone = remember(
            st.selectbox,
            "backbone",
            "mobilenet_v2",
            "Backbone",
            list(BACKBONES),
            format_func=lambda name: title_of(BACKBONES, name),
            accept_new_options=True,
            help="Or type timm:NAME for a network of timm, such as timm:mobilenetv4_conv_small.",
            width=260,
        )
        size = remember(st.number_input, "size", 448, "Image size (px)", SMALLEST, 1024, step=32, width=170)
        stage_num = remember(
            st.segmented_control,
            "stages",
            3,
            "Stages trained (StageNum)",
            [1, 2, 3, 4, 5],
            required=True,
            width="content",
        )
    fields = receptive_fields(backbone)
    unknown = [f"S{n}" for n, field in enumerate(fields, start=1) if field is None and n > len(fields) - stage_num]
    if unknown:
        st.info(
            f"What a position of {_list(unknown)} sees of the image is not known: this network has layers, such as "
            "attention, that are no convolutions.",
            icon=":material/info:",
        )
        return
    rules = patch_rule(int(size), [field or 0 for field in fields], stage_num)
    st.html(rule_cards(rules, int(size)))
    _warnings(rules, int(size))
    st.caption(
        "Squares are to scale: the image in its smallest patches, and in colour the receptive field of the position in "
        "its middle, cut off at the image's edge. Receptive fields are theoretical ones of the stage's last layer."
    )


def _warnings(rules: list, size: int) -> None:
    """Say what is wrong with the size, and which one would do."""
    from pmsi.augment.rule import largest_size, nearest_size

    deepest = max(rule.r for rule in rules)
    better = nearest_size(size, deepest)
    if better != size:
        st.warning(
            f"{size} px cannot be cut in half {deepest} times. The nearest size that works is {better} px.",
            icon=":material/crop:",
        )
    broken = [rule.stage for rule in rules if not rule.ok]
    if broken:
        largest = largest_size(rules)
        advice = (
            f"It holds up to {largest} px." if largest >= SMALLEST else "Fewer stages, or another backbone, keep it."
        )
        st.warning(
            f"The rule is broken for {_list(broken)}: the smallest patch is not smaller than the receptive "
            f"field. {advice}",
            icon=":material/warning:",
        )


def _list(words: list[str]) -> str:
    """Return "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
