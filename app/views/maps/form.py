"""The settings of the Maps page: what is explained, how it is drawn, and which images stand below the chosen one."""

from dataclasses import replace

import streamlit as st

from app.shared.cached_models import cam_seconds_once, predictor_of
from app.shared.panels import Picked, beside_picker, trained_runs
from app.shared.session import choice, choose, remember, switch
from app.views.maps.explained import AGAINST, MORE, OUTLINES, PREDICTED, Wanted, seen
from pmsi.base.text import duration
from pmsi.explain.measures.regions import DISTINCTIVE_PARTS
from pmsi.explain.methods import CAM_METHODS
from pmsi.explain.rivals import RIVALS
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.overlays import COLOR_SCALES, color_bar
from pmsi.runs import Run

SCALES = {"image": "One scale", "map": "Each its own", "all": "One for all"}
MOSAICS = {"": "None", "plain": "Shown", "map": "With its map"}
KEPT = "kept"
APART = "|"
MOST_KEPT = 16
"""Between keys of images in the URL."""


def settings(runs: list[Run], picked: Picked, output: str) -> tuple[Wanted, list[Run]]:
    """Show what is explained and how it is drawn, but for the colours (`legend`); return it, and a third run if any."""
    predictor = predictor_of(runs[0])
    head = output or predictor.primary
    with st.container(horizontal=True, vertical_alignment="center"):
        classes = [PREDICTED, *predictor.classes]
        label = remember(
            st.selectbox,
            "class",
            PREDICTED,
            "Class that is explained",
            classes,
            format_func=lambda name: f"Explain: {'the predicted class' if name == PREDICTED else name}",
            label_visibility="collapsed",
            width=210,
        )
        place = st.container(width="content")
        rival = remember(
            st.selectbox,
            "rival",
            "",
            "Rival",
            ["", *RIVALS, *predictor.classes],
            format_func=lambda name: f"Against: {AGAINST.get(name, name)}",
            label_visibility="collapsed",
            width=230,
            help="Why this, not that: the maps of what speaks for the class and not for its rival.",
        )
        with st.popover("More", icon=":material/tune:"):
            method = _method(runs[0], head)
            strength, outline, mosaic, layout = _drawing(picked)
            third = _third(runs)
    wanted = Wanted(head, label, method, "image", strength / 100, outline, mosaic, layout, rival)
    place.button(
        "",
        icon=":material/swap_horiz:",
        help="Swap the two classes",
        key="swap-rival",
        on_click=_swap,
        args=(runs[0], picked, wanted),
        disabled=not rival,
    )
    return wanted, third


def _swap(run: Run, picked: Picked, wanted: Wanted) -> None:
    """Explain the rival against the class that was explained."""
    one = seen(run, picked, wanted)
    choose("class", one.against or wanted.label)
    choose("rival", one.explained)


def _third(runs: list[Run]) -> list[Run]:
    """Let the visitor choose a third run, where there is a second."""
    offered = [run for run in trained_runs() if len(runs) > 1 and run != runs[1]]
    third = beside_picker(runs[0], offered, "A third run", "third") if len(offered) > 1 else None
    return [third] if third is not None else []


def legend(wanted: Wanted) -> Wanted:
    """Show the colour bar, and what its end is; return the wanted with that."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("no evidence", width="content")
        st.image(
            jpeg(color_bar(strength=wanted.strength)),
            width=160,
            output_format="JPEG",
            alt="Colour scale from black (0) to pale yellow (peak)",
        )
        st.caption("peak", width="content")
        help = (
            "One scale: a run's maps of an image end at the largest of their peaks. Each its own: at its own peak, "
            "which hides how strong it is. One for all: at the largest peak of all that is shown."
        )
        scale = switch("scale", "image", "Scale of the colours", SCALES, help=help)
        st.caption(f"{COLOR_SCALES[scale].words} · point at a map for its values, click for more", width="content")
    return replace(wanted, scale=scale)


def _method(run: Run, head: str) -> str:
    """Show the choice of a CAM method, with its seconds below it."""
    every = ", ".join(row.title for row in CAM_METHODS.values() if row.package is not None)
    method = str(
        remember(
            st.selectbox,
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
    st.caption(f"About {_seconds(seconds)} an image here, by a trial. {row.source}.{asks}")
    return method


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)


def _drawing(picked: Picked) -> tuple[int, str, str, int]:
    """Return the overlay's opacity in per cent, the region that is outlined, the kind of mosaics and their layout."""
    help = "0 shows the image alone; 100 the map alone."
    strength = remember(st.slider, "overlay", 55, "Overlay", 0, 100, step=5, format="%d %%", help=help)
    outline = remember(
        st.selectbox,
        "outline",
        "",
        "Outline",
        _outlines(picked),
        format_func=lambda name: OUTLINES.get(name, f"{name.capitalize()} (a part)"),
        help="Where it is known: the box or mask of the object, one of its parts, or the parts in which its species "
        "differs from the sibling that the run finds likeliest.",
    )
    help = "The image cut as in the phase that trained the stage (r = 3, 2, 1), below the stage's map."
    mosaic = switch("mosaic", "", "Mosaic of the phase", MOSAICS, help=help, label_visibility="visible")
    layout = remember(st.number_input, "layout", 0, "Layout of the mosaics (seed)", 0, 999, disabled=not mosaic)
    return int(strength), outline, mosaic, int(layout)


def _outlines(picked: Picked) -> list[str]:
    """Return the regions that can be outlined; a data set without parts has boxes at most."""
    dataset = picked.dataset
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
