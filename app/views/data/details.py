"""One image of a data set, large: its facts, a run's predictions, and links to other pages."""

import contextlib
from collections.abc import Sequence
from html import escape

import streamlit as st
from PIL.Image import Image

from app.shared.cached_data import data_of_run, sample_image, sample_size
from app.shared.cached_models import predict_once, predictor_of
from app.shared.charts import confidence_bars
from app.shared.errors import guarded, plain
from app.shared.image_links import image_actions
from app.shared.images import picture
from app.shared.palette import CATEGORICAL, head_color
from app.shared.panels import OF_RUN, Picked, own_source, unknown_class
from app.shared.session import remember
from app.shared.wording import name_of_run
from app.views.data.grid import OPEN, close_image, open_image
from app.views.data.sources import Source
from pmsi.base.errors import DataError
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.record import digest_of
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.overlays import borders, draw_lines, rectangle
from pmsi.runs import Run
from pmsi.runs.mistakes import read_predictions, shown_in
from pmsi.runs.record import record_of

LARGEST = 900
"""Longer side of the picture, in pixels."""


def show_open_image(source: Source, dataset: Dataset, run: Run | None, order: Sequence[Sample]) -> None:
    """Show the image that the URL names, if there is one, over the page; ``order`` are the page's images."""
    key = st.query_params.get(OPEN)
    if not key:
        return
    try:
        sample = dataset.find(key)
    except DataError:
        close_image()
        st.caption("The image that the link names is not in this data set.")
        return
    order = order if sample in order else (*dataset.test, *dataset.train)
    st.dialog(plain(source.title), width="large", on_dismiss=close_image)(_details)(source, dataset, run, order)


@guarded()
def _details(source: Source, dataset: Dataset, run: Run | None, order: Sequence[Sample]) -> None:
    sample = next((sample for sample in order if sample.key == st.query_params.get(OPEN)), None)
    if sample is None:  # it has just been closed
        return
    image = sample_image(dataset, sample)
    name = dataset.classes[sample.label]
    _turn(name, order, order.index(sample))
    left, right = st.columns([4, 3], gap="medium")
    with right:
        size = sample_size(dataset, sample)
        outlines = _outlines(dataset, sample, *size)
        _facts(dataset, sample, *size)
        wanted = bool(outlines) and remember(st.toggle, "outline", True, "Outline what is known")
        if wanted and len(outlines) > 1:
            st.html(_legend(outlines))
        if run is not None:
            _answers(dataset, sample, run)
    with left:
        drawn = outlines_over(image, outlines) if wanted else image
        picture(jpeg(_reduced(drawn)), alt=f"{name}, {sample.key}" + (", with its outlines" if wanted else ""))
    if run is not None and remember(st.toggle, "ask", False, "Ask the model now, with probabilities"):
        _ask(run, image, name)
    picked = _picked(source, dataset, sample, run)
    image_actions(picked, **({"run": run.id} if run else {}))


def _turn(name: str, order: Sequence[Sample], at: int) -> None:
    """Show the class and the way to the images before and after, which the arrow keys go too."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{plain(name)}**", width="stretch")
        for label, to, key in (("Previous image", at - 1, "Left"), ("Next image", at + 1, "Right")):
            there = 0 <= to < len(order)
            icon = ":material/arrow_back:" if to < at else ":material/arrow_forward:"
            go = {"on_click": open_image, "args": (order[to].key,)} if there else {}
            st.button(label, icon=icon, key=f"open-{key}", disabled=not there, shortcut=key, **go)
        st.caption(f"{at + 1:,} of {len(order):,}", width="content")


def _picked(source: Source, dataset: Dataset, sample: Sample, run: Run | None) -> Picked:
    """Return the image as other pages find it: among the run's own, under its key there, or else where it lies."""
    if run is not None and own_source(run) is not None:
        own, digest = data_of_run(run).dataset, digest_of(dataset, sample)
        for other in own.samples:
            if digest_of(own, other) == digest:
                return Picked.of(own, other, source=OF_RUN, run=run.id)
    return Picked.of(dataset, sample, **source.query())


def _facts(dataset: Dataset, sample: Sample, width: int, height: int) -> None:
    split = "test" if any(sample is other for other in dataset.test) else "training"
    lines = [f"A {split} image, {width} × {height} px", f"Key: {plain(sample.key)}"]
    if sample.path is not None:
        with contextlib.suppress(OSError):
            lines.append(f"File: {sample.path.stat().st_size / 1000:,.0f} kB")
    if sample.box is not None:
        x, y, width, height = map(round, sample.box)
        lines.append(f"Box: {width} × {height} px at ({x}, {y})")
    st.markdown("  \n".join(lines))


# Outlines

Outlines = dict[str, tuple[tuple[float, float, float, float], ...]]
"""By name, the lines around a region, in fractions of the picture's sides."""


def _outlines(dataset: Dataset, sample: Sample, width: int, height: int) -> Outlines:
    """Return the outlines of the box and of the parts that are known, for an image of this size."""
    found: Outlines = {part: tuple(borders(mask)) for part, mask in dataset.open_parts(sample).items() if mask.any()}
    if sample.box is not None:
        x, y, w, h = sample.box
        found["box"] = tuple(rectangle(x / width, y / height, (x + w) / width, (y + h) / height))
    return found


def outlines_over(image: Image, outlines: Outlines) -> Image:
    """Return a copy of a picture, large enough to see thin lines, with outlines in the colours of `_legend`."""
    scale = max(1.0, 600 / max(image.size))
    drawn = image.resize((round(image.width * scale), round(image.height * scale)))
    thin = max(2, round(max(drawn.size) / 300))
    colored = list(zip(_colors(outlines), outlines.values(), strict=True))
    for color, lines in reversed(colored):  # the largest comes last in `outlines`, and is drawn below the others
        draw_lines(drawn, lines, color, thin)
    return drawn


def _colors(outlines: Outlines) -> list[str]:
    if len(outlines) == 1:
        return ["#ffffff"]
    return [CATEGORICAL[i % len(CATEGORICAL)] for i in range(len(outlines))]


def _legend(outlines: Outlines) -> str:
    def mark(color: str) -> str:
        style = f"display:inline-block;width:.8em;height:.8em;border-radius:.2em;background:{color}"
        return f'<i style="{style};margin-right:.35em"></i>'

    words = "".join(
        f'<span style="white-space:nowrap">{mark(color)}{escape(name.replace("_", " "))}</span>'
        for name, color in zip(outlines, _colors(outlines), strict=True)
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:.2rem .9rem;font-size:.85rem">{words}</div>'


def _reduced(image: Image) -> Image:
    smaller = image.copy()
    smaller.thumbnail((LARGEST, LARGEST))
    return smaller


# Answers


def _answers(dataset: Dataset, sample: Sample, run: Run) -> None:
    """Show what each head answered, as the run has kept it."""
    st.markdown(f"**Answers of {plain(name_of_run(run))}**")
    answers = read_predictions(run)
    here = shown_in(run, answers, dataset)
    at = next((i for i, key in enumerate(answers.keys) if here.get(key) is sample), None)
    if at is None:
        record = record_of(run)
        trained = record is not None and digest_of(dataset, sample) in {image.digest for image in record.seen}
        was = "it was trained on this one" if trained else "this is none of its test images"
        st.caption(f"It keeps its answers to test images only, and {was}.")
        return
    chips = []
    for head, given in answers.predicted.items():
        sure = f", {answers.confidence[head][at]:.0%}" if answers.confidence else ""
        mark = "✓" if given[at] == answers.labels[at] else "✗"
        chips.append(f"{mark} **{plain(head)}**: {plain(answers.classes[given[at]])}{sure}")
    then = answers.classes[answers.labels[at]]
    if then != dataset.classes[sample.label]:
        chips.append(f"To the run it is {plain(then)}.")
    st.markdown("  \n".join(chips))


def _ask(run: Run, image: Image, truth: str) -> None:
    predictor = predictor_of(run)
    prepared = predictor.prepare(image)
    prediction = predict_once(run, prepared)
    if strange := unknown_class(run, truth, prediction.best.name):
        st.caption(plain(strange))
    heads = list(prediction.heads.items())
    for place, (head, guesses) in zip(st.columns(len(heads)), heads, strict=True):
        with place:
            st.caption(plain(head))
            st.html(confidence_bars(guesses, None, head_color(head), top=3, truth=truth))
