"""The Maps page: where the last three stages of some models look, for any output and any class."""

from functools import partial

import streamlit as st

from app.shared.cached_data import data_of_run
from app.shared.cached_models import disagreement_once, predictor_of
from app.shared.errors import guarded, plain
from app.shared.image_links import image_actions
from app.shared.images import download
from app.shared.panels import (
    OF_RUN,
    Picked,
    beside_picker,
    default_run,
    image_picker,
    linked_label,
    no_runs_yet,
    own_source,
    run_picker,
    trained_runs,
    unknown_class,
)
from app.shared.session import choice, keep, page_of, remember
from app.shared.wording import name_of_run, with_names
from app.views.maps.explained import Seen, Wanted, figure_of, more_images, pixels_of, seen
from app.views.maps.form import rows_form, settings
from app.views.maps.grid import show_grid
from app.views.maps.severity import motion
from app.views.maps.zoom import ZOOM, enlarge
from pmsi.data.dataset import Dataset
from pmsi.explain.measures.disagreement import Disagreement
from pmsi.maps import sampled
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.figure import to_pdf, to_png, to_svg
from pmsi.pictures.overlays import COLOR_SCALES, color_bar
from pmsi.runs import Run

INTRO = (
    "A network has five stages, one after the other. A class activation map shows which places of a stage's map speak "
    "for a class: bright is strong evidence. S3 has a fine map, each place of which sees a small part of the image; S5 "
    "has a coarse one, each place of which sees nearly all of it."
)
TOOLS = {
    "": "Nothing more",
    "severity": "Increasing severity",
    "disagree": "Where two runs disagree",
    "figure": "Figure for print",
}
PER_CLASS = (1, 2, 4, 8)
SHOWN = 12
"""Images in the list of disagreements."""


def page() -> None:
    """Draw the page."""
    if choice("tool") == "numbers":  # a link from when they were shown here
        keep("tool", "")
        st.switch_page(page_of("numbers"), query_params={**st.query_params, "section": "maps"})
    st.title("Where the stages look", anchor=False)
    st.markdown(INTRO, width=820)
    runs = trained_runs()
    if runs:
        _bench(runs)
    else:
        no_runs_yet("Maps need a model to explain.")


@st.fragment
@guarded()
def _bench(runs: list[Run]) -> None:
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        chosen = _runs(runs)
    with right, st.container(border=True, height="stretch"):
        picked = image_picker(chosen[0])
        if picked is not None:
            image_actions(picked, here="maps", run=chosen[0].id)
    wanted = settings(chosen[0], picked)
    if picked is None:
        st.info("Choose an image to see the maps.", icon=":material/image:")
        return
    kind, count, kept = rows_form(picked)
    with guarded():
        kept += more_images(chosen[0], picked, kind, count)
    rows = _explained(chosen, picked, kept, wanted)
    for one in rows[0][1]:
        if words := unknown_class(one.run, picked.label, one.explanation.prediction.best.name):
            whose = f"{name_of_run(one.run)}: " if len(chosen) > 1 else ""
            st.caption(f":material/info: {plain(whose + words)}")
    opened = show_grid(rows, wanted)
    _bar(wanted)
    if opened:
        keep(ZOOM, opened)
    if choice(ZOOM):
        enlarge(rows, choice(ZOOM), wanted)
    _more(rows, wanted)


def _runs(runs: list[Run]) -> list[Run]:
    """Let the visitor choose up to three runs, and return those that differ."""
    first = default_run(runs, linked_label())
    run = run_picker(runs, default=first.id if first else "")
    assert run is not None
    others = [beside_picker(run, runs)]
    if others[0] is not None and len(runs) > 2:
        others.append(beside_picker(run, runs, "And a third", "third"))
    by_id = {one.id: one for one in (run, *others) if one is not None}
    return list(by_id.values())


def _explained(
    runs: list[Run], picked: Picked, others: list[Picked], wanted: Wanted
) -> list[tuple[Picked, list[Seen]]]:
    images = {pixels_of(picked): picked}
    for other in others:
        images.setdefault(pixels_of(other), other)
    with st.spinner("Explaining…"):
        return [(image, [seen(run, image, wanted) for run in runs]) for image in images.values()]


def _bar(wanted: Wanted) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption("no evidence", width="content")
        st.image(
            jpeg(color_bar(strength=wanted.strength)),
            width=220,
            output_format="JPEG",
            alt="Colour scale from black (0) to pale yellow (peak)",
        )
        st.caption(f"peak · {COLOR_SCALES[wanted.scale].words} · click a map for its numbers", width="content")


# Below the grid


def _more(rows: list[tuple[Picked, list[Seen]]], wanted: Wanted) -> None:
    st.space("small")
    tool = remember(
        st.segmented_control, "tool", "", "More of these images and runs", TOOLS, required=True, width="content"
    )
    if tool == "severity":
        motion(*rows[0], wanted)
    elif tool == "disagree":
        _disagreement([one.run for one in rows[0][1]])
    elif tool == "figure":
        _figure(rows, wanted)


@guarded()
def _disagreement(runs: list[Run]) -> None:
    """List the first run's test images on which the first two runs look at the most different places."""
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
        f"Earth mover's distance between the maps of {names[0]} and {names[1]} for the true class, in sides of the "
        f"image (0: the same place), on {len(found)} test images of the first. Open one to see it in the grid above."
    )
    best = sorted(found, key=lambda one: -one.earth[stage])[:SHOWN]
    with st.container(horizontal=True, gap="small"):
        for one in best:
            _disagreeing(one, pair[0], tested.dataset, stage)


def _distances(pair: tuple[Run, Run], dataset: Dataset, per_class: int) -> list[Disagreement]:
    samples = sampled(predictor_of(pair[0]), predictor_of(pair[1]), dataset, per_class)
    bar, found = st.progress(0.0), []
    for done, sample in enumerate(samples):
        bar.progress(done / len(samples), f"Both runs explain the test images: {done} of {len(samples)}")
        found.append(disagreement_once(pair, dataset, sample))
    bar.empty()
    return found


def _disagreeing(one: Disagreement, run: Run, dataset: Dataset, stage: str) -> None:
    image = Picked.of(dataset, dataset.find(one.key))
    said = "" if one.answers[0] == one.answers[1] else f" · {plain(one.answers[0])} / {plain(one.answers[1])}"
    with st.container(width=156, gap="xsmall"):
        small = image.image.convert("RGB").resize((156, 156))
        st.image(jpeg(small), width="stretch", output_format="JPEG", alt=image.title)
        st.caption(f"**{one.earth[stage]:.2f}** {plain(one.name)}{said}")
        st.button("Open", key=f"open-{one.key}", on_click=_open, args=(run, one.key), width="stretch")


def _open(run: Run, key: str) -> None:
    """Open a test image of a run as a link does, so that the picker follows."""
    st.query_params["image"] = key
    st.query_params["source"] = OF_RUN if own_source(run) else "sample"


def _figure(rows: list[tuple[Picked, list[Seen]]], wanted: Wanted) -> None:
    """Show the grid as a figure laid out like the paper's Fig. 4, and offer it for download."""
    figure = figure_of(rows, wanted)
    shown = to_png(figure, dpi=150)
    st.image(shown, width=min(900, 225 * (1 + len(figure.models) * len(figure.stages))), output_format="PNG",
             alt="The figure: a row for each image, columns for the stages of each run")  # fmt: skip
    with st.container(horizontal=True):
        for name, write in {"PNG, 300 dpi": to_png, "SVG": to_svg, "PDF": to_pdf}.items():
            download(f"Download {name}", partial(write, figure), f"maps.{name[:3].lower()}")
    st.caption("At most two columns of a paper wide (181 mm). `pmsi explain RUN IMAGE… --figure FILE` draws the same.")
