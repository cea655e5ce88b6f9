"""The settings of the Maps page: what is explained, how it is drawn, and which images stand below the chosen one."""

import streamlit as st

from app.shared.cached_models import cam_seconds_once, predictor_of
from app.shared.panels import Picked
from app.shared.session import choice, choose, remember
from app.views.maps.explained import MORE, OUTLINES, PREDICTED, Wanted
from pmsi.base.text import duration
from pmsi.explain.measures.regions import DISTINCTIVE_PARTS
from pmsi.explain.methods import CAM_METHODS
from pmsi.runs import Run

SCALES = {"image": "One scale", "map": "Each its own", "all": "One for all"}
MOSAICS = {"": "None", "plain": "Shown", "map": "With its map"}
KEPT = "kept"
APART = "|"
MOST_KEPT = 16
"""Between keys of images in the URL."""


def settings(run: Run, picked: Picked | None) -> Wanted:
    """Show the settings for maps of a run and others beside it, and return them."""
    predictor = predictor_of(run)
    first, second, third, fourth = st.columns(4, gap="medium")
    head = remember(
        first.selectbox,
        "head",
        predictor.primary,
        "Output",
        list(predictor.heads),
        help="The classifier whose score is explained: one of a stage, of all stages (concat), or their mean (mix).",
    )
    classes = [PREDICTED, *predictor.classes]
    label = remember(second.selectbox, "class", PREDICTED, "Class", classes, format_func=_class_title)
    method = _method(third, run, str(head))
    scale = remember(
        fourth.segmented_control,
        "scale",
        "image",
        "Colours",
        SCALES,
        required=True,
        help="One scale: a run's maps of an image end at the largest of their peaks. Each its own: at its own peak, "
        "which hides how strong it is. One for all: at the largest peak of all that is shown.",
        width="stretch",
    )
    with st.expander("How it is drawn", expanded=_is_changed()):
        strength, outline, mosaic, layout = _drawing(picked)
    return Wanted(head, label, method, scale, strength / 100, outline, mosaic, layout)


def _class_title(name: str) -> str:
    return "The predicted one" if name == PREDICTED else name


def _is_changed() -> bool:
    return any(choice(name) for name in ("overlay", "outline", "mosaic"))


def _method(column: st.delta_generator.DeltaGenerator, run: Run, head: str) -> str:
    """Show the choice of a CAM method, with its seconds below it."""
    every = ", ".join(row.title for row in CAM_METHODS.values() if row.package is not None)
    method = str(
        remember(
            column.selectbox,
            "method",
            "gradcam",
            "Made by",
            {name: row.title for name, row in CAM_METHODS.items()},
            help="Most take one forward and one backward pass for all stages. These are pytorch-grad-cam's, which take "
            f"one or many for each stage of each image: {every}.",
        )
    )
    row, seconds = CAM_METHODS[method], cam_seconds_once(run, head, method)
    asks = "" if row.of_class else " Asks for no output and no class."
    column.caption(f"About {_seconds(seconds)} an image here, by a trial. {row.source}.{asks}")
    return method


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def _drawing(picked: Picked | None) -> tuple[int, str, str, int]:
    """Return the overlay's opacity in per cent, the region that is outlined, the kind of mosaics and their layout."""
    first, second, third, fourth = st.columns(4, gap="medium")
    strength = remember(
        first.slider, "overlay", 55, "Overlay", 0, 100, step=5, format="%d %%", help="0 shows the image alone."
    )
    outline = remember(
        second.selectbox,
        "outline",
        "",
        "Outline",
        _outlines(picked),
        format_func=lambda name: OUTLINES.get(name, f"{name.capitalize()} (a part)"),
        help="Where it is known: the box or mask of the object, one of its parts, or the parts in which its species "
        "differs from the sibling that the run finds likeliest.",
    )
    mosaic = remember(
        third.segmented_control,
        "mosaic",
        "",
        "Mosaic of the phase",
        MOSAICS,
        required=True,
        help="The image cut as in the phase that trained the stage (r = 3, 2, 1), below the stage's map.",
        width="stretch",
    )
    layout = remember(fourth.number_input, "layout", 0, "Layout of the mosaics (seed)", 0, 999, disabled=not mosaic)
    return int(strength), outline, mosaic, int(layout)


def _outlines(picked: Picked | None) -> list[str]:
    """Return the regions that can be outlined; a data set without parts has boxes at most."""
    dataset = picked.dataset if picked is not None else None
    if dataset is None or not dataset.part_names:
        return ["", "object"]
    return ["", "object", "telling" if dataset.name in DISTINCTIVE_PARTS else "parts", *dataset.part_names]


def rows_form(picked: Picked) -> tuple[str, int, list[Picked]]:
    """Show which images stand below the chosen one; return a row of MORE, how many, and those that were kept.

    Kept images are of the data set of the chosen one.
    """
    if picked.dataset is None:
        return "", 0, []
    samples = {sample.key: sample for sample in picked.dataset.samples}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = remember(
            st.selectbox, "more", "", "Images below it", {name: row[0] for name, row in MORE.items()}, width=220
        )
        count = remember(st.number_input, "count", 3, "How many", 1, 8, disabled=not kind, width=120)
        pinned = [one for one in choice(KEPT).split(APART) if one in samples][:MOST_KEPT]
        st.button(
            "Keep this image",
            icon=":material/keep:",
            on_click=_keep,
            args=(pinned, picked.key),
            disabled=picked.key in pinned or len(pinned) == MOST_KEPT,
            help="It stays in the grid while you choose another one.",
        )
        if pinned:
            st.button(f"Let go of {len(pinned)} kept", icon=":material/keep_off:", on_click=choose, args=(KEPT, ""))
    return kind, int(count), [Picked.of(picked.dataset, samples[one]) for one in pinned if one != picked.key]


def _keep(pinned: list[str], key: str) -> None:
    choose(KEPT, APART.join([*pinned, key]))
