"""The test images on which two runs look at the most different places, with the maps of both."""

import numpy as np
import streamlit as st

from app.shared.cached_data import data_of_run
from app.shared.cached_models import disagreement_once, explain_once, predictor_of
from app.shared.errors import guarded, plain
from app.shared.images import grid, picture
from app.shared.panels import OF_RUN, Picked, own_source
from app.shared.picking import take
from app.shared.session import remember
from app.shared.wording import name_of_run, with_names
from app.views.maps.explained import Rows, Wanted
from pmsi.data.dataset import Dataset
from pmsi.explain.measures.disagreement import Disagreement
from pmsi.maps import sampled
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.overlays import overlay
from pmsi.pictures.sheets import enlarged, side_by_side
from pmsi.runs import Run

PER_CLASS = (1, 2, 4, 8)
SHOWN, SIDE = 9, 160
"""Images in the list; the side of each of the three pictures of one."""


@guarded()
def disagreements(rows: Rows, wanted: Wanted) -> None:
    """List the first run's test images on which the first two runs look at the most different places."""
    runs = [one.run for one in rows[0][1]]
    if len(runs) < 2:
        st.info("Choose a second run: the test images of the first are gone through.", icon=":material/info:")
        return
    tested = data_of_run(runs[0])
    if tested.reasons:
        st.caption(plain(with_names(tested.reasons, runs[0])))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        per_class = remember(st.segmented_control, "sample", 1, "Test images of each class", PER_CLASS, required=True)
        stages = ("S3", "S4", "S5")
        stage = remember(st.segmented_control, "by", "S5", "Ordered by", stages, required=True)
    pair = (runs[0], runs[1])
    found = _distances(pair, tested.dataset, per_class)
    names = [plain(name_of_run(run)) for run in pair]
    st.caption(
        f"The image, and where {stage} of {names[0]} and of {names[1]} looks for the true class, each up to its own "
        f"peak. The number is the earth mover's distance of the two maps, in sides of the image (0: the same place), "
        f"on {len(found)} test images of the first run."
    )
    best = sorted(found, key=lambda one: -one.earth[stage])[:SHOWN]
    for place, one in zip(grid(len(best), 3), best, strict=False):
        with place, guarded():
            _disagreeing(one, pair, tested.dataset, stage, wanted)


def _distances(pair: tuple[Run, Run], dataset: Dataset, per_class: int) -> list[Disagreement]:
    samples = sampled(predictor_of(pair[0]), predictor_of(pair[1]), dataset, per_class)
    bar, found = st.progress(0.0), []
    for done, sample in enumerate(samples):
        bar.progress(done / len(samples), f"Both runs explain the test images: {done} of {len(samples)}")
        found.append(disagreement_once(pair, dataset, sample))
    bar.empty()
    return found


def _disagreeing(one: Disagreement, pair: tuple[Run, Run], dataset: Dataset, stage: str, wanted: Wanted) -> None:
    image = Picked.of(dataset, dataset.find(one.key))
    pictures = []
    for run in pair:
        predictor = predictor_of(run)
        seen, label = predictor.prepare(image.image), predictor.class_number(one.name)
        values: np.ndarray = explain_once(run, seen, predictor.primary, label).maps[stage]
        shown = enlarged(seen, SIDE).resize((SIDE, SIDE))
        pictures += [*([] if pictures else [shown]), overlay(shown, values, strength=wanted.strength)]
    said = "" if one.answers[0] == one.answers[1] else f" · {plain(one.answers[0])} / {plain(one.answers[1])}"
    picture(jpeg(side_by_side(pictures, 4)), alt=f"{image.title}, and the maps of {stage} of both runs")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"**{one.earth[stage]:.2f}** {plain(one.name)}{said}", width="content")
        if st.button("Open", key=f"open-{one.key}", type="tertiary"):
            take(OF_RUN if own_source(pair[0]) else "sample", one.key)
            st.rerun()
