"""The maps page: where the last three stages of one or two models look, for any output and any class."""

from typing import TYPE_CHECKING

import streamlit as st

from app.images import enlarged, jpeg
from app.panels import (
    Picked,
    four_columns,
    guarded,
    image_picker,
    no_runs_yet,
    picture,
    plain,
    run_picker,
    start_of_picker,
    trained_runs,
)
from app.resources import explain_once, predictor_of
from app.session import remember
from app.wording import name_of_run
from pmsi.explain.overlay import color_bar, overlay, scaled

if TYPE_CHECKING:
    from pmsi.predictor import Explanation, Predictor
    from pmsi.runs import Run

INTRO = (
    "A network has five stages, one after the other. Grad-CAM shows which places of a stage's map speak for a class: "
    "bright is strong evidence. S3 has a fine map, each place of which sees a small part of the image; S5 has a "
    "coarse one, each place of which sees nearly all of it."
)
SCALES = {"map": "Own", "image": "Common"}
PREDICTED = "predicted"
SIDE = 384
"""Pictures are drawn at least this large, so that a map over a small image is smooth."""


def page() -> None:
    """Draw the page."""
    st.title("Where the stages look", anchor=False)
    st.markdown(INTRO, width=820)
    runs = trained_runs()
    if runs:
        _bench(runs)
    else:
        no_runs_yet("Maps need a model to explain.")


@st.fragment
@guarded()
def _bench(runs: "list[Run]") -> None:
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        run = run_picker(runs)
        other = run_picker(runs, "Beside it", name="beside", none="No second run")
    with right, st.container(border=True, height="stretch"):
        picked = image_picker(*start_of_picker(run))
    head, label, strength, common = _settings(predictor_of(run))
    if picked is None:
        st.info("Choose an image to see the maps.", icon=":material/image:")
        return
    for shown in (run, other):
        if shown is not None:
            _maps(shown, picked, head, label, strength, common, titled=other is not None)
    _bar()


def _settings(predictor: "Predictor") -> tuple[str, str, float, bool]:
    """Return the head, the class name (or `PREDICTED`), the overlay's opacity and whether the scale is common."""
    first, second, third, fourth = st.columns(4, gap="medium")
    head = remember(
        first.selectbox,
        "head",
        predictor.primary,
        "Output",
        list(predictor.heads),
        help="The classifier whose score is explained: one of a stage, of all stages (concat), or their sum (mix).",
    )
    classes = [PREDICTED, *predictor.classes]
    label = remember(second.selectbox, "class", PREDICTED, "Class", classes, format_func=_class_title)
    strength = remember(
        third.slider, "overlay", 55, "Overlay", 0, 100, step=5, format="%d %%", help="0 shows the image alone."
    )
    scale = remember(
        fourth.segmented_control,
        "scale",
        "map",
        "Scale",
        list(SCALES),
        required=True,
        format_func=SCALES.__getitem__,
        help="Own: each map from 0 to its own peak. Common: all three to the largest of their peaks, so that they "
        "compare.",
        width="stretch",
    )
    return head, label, strength / 100, scale == "image"


def _class_title(name: str) -> str:
    return "The predicted one" if name == PREDICTED else name


def _maps(run: "Run", picked: Picked, head: str, label: str, strength: float, common: bool, titled: bool) -> None:
    predictor = predictor_of(run)
    if titled:
        st.markdown(f"**{plain(name_of_run(run))}**")
    head, label, note = _possible(predictor, head, label)
    prepared = predictor.prepare(picked.image)
    number = None if label == PREDICTED else predictor.class_number(label)
    explanation = explain_once(run, prepared, picked.key, head, number)
    shown = enlarged(prepared, SIDE)
    unit, peaks = scaled(explanation.maps, common)
    columns = four_columns()
    with columns[0]:
        picture(
            jpeg(shown),
            alt=f"{picked.title}, as the network sees it",
            caption=f"{prepared.width} × {prepared.height} px",
        )
    for column, (stage, values) in zip(columns[1:], unit.items(), strict=True):
        side = " × ".join(str(n) for n in explanation.maps[stage].shape)
        peak = f"peak {peaks[stage]:.3g}" if values.any() else "no positive evidence"
        with column:
            picture(
                jpeg(overlay(shown, values, strength)),
                alt=f"{stage}: evidence for {predictor.classes[explanation.label]} over the image",
                caption=f"**{stage}** · map {side} · {peak}",
            )
    _verdict(predictor, explanation, picked, note)


def _possible(predictor: "Predictor", head: str, label: str) -> tuple[str, str, str]:
    """Return a head and a class that this model has, and a note where that is not what was asked for."""
    notes = []
    if head not in predictor.heads:
        notes.append(f"it has no output {head}, so {predictor.primary} is explained")
        head = predictor.primary
    if label != PREDICTED and label not in predictor.classes:
        notes.append("it does not know this class, so the predicted one is explained")
        label = PREDICTED
    return head, label, f" ({'; '.join(notes)})" if notes else ""


def _verdict(predictor: "Predictor", explanation: "Explanation", picked: Picked, note: str) -> None:
    """Say what the model predicts, and what the maps explain."""
    best = explanation.prediction.best
    right = "" if picked.label is None else " ✓" if best.name == picked.label else f" ✗ (it is {plain(picked.label)})"
    truth = right if picked.label in predictor.classes else ""
    explained = predictor.classes[explanation.label]
    st.markdown(
        f"Predicted: **{plain(best.name)}** {best.probability:.0%}{truth}. Maps explain **{plain(explained)}** "
        f"at output **{explanation.head}**{note}."
    )


def _bar() -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("no evidence", width="content")
        st.image(
            jpeg(color_bar()), width=220, output_format="JPEG", alt="Colour scale from black (0) to pale yellow (peak)"
        )
        st.caption("peak", width="content")
