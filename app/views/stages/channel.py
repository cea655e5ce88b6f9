"""A channel of a stage, closer: what a cell uses of the image, and the test images where the channel is strongest."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from app.shared.cached_data import sample_image
from app.shared.cached_models import model_of
from app.shared.errors import guarded, plain
from app.shared.images import Figure, figure_grid
from app.shared.memory import once
from app.shared.wording import name_of_run
from app.views.stages.looks import BATCH, Look, peaks_once, tested
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest
from pmsi.explain.stages import ChannelPeaks, sampled
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.overlays import overlay
from pmsi.pictures.sheets import enlarged
from pmsi.pictures.stages import with_field

COUNT = 6
SIDE = 256


def channel(looks: Sequence[Look], stage: str, channels: Sequence[int], cells: Sequence[tuple[int, int]]) -> None:
    """Draw what a cell uses, and the strongest test images, of one channel of each run."""
    places = st.columns(len(looks), gap="large")
    for place, one, number, cell in zip(places, looks, channels, cells, strict=True):
        with place:
            title = f"{stage}, channel {number}"
            st.markdown(f"**{title}**" + (f" · {plain(name_of_run(one.run))}" if len(looks) > 1 else ""))
            _used(one, stage, number, cell)
            _strongest(one, stage, number)


@guarded()
def _used(one: Look, stage: str, number: int, cell: tuple[int, int]) -> None:
    """Show which pixels change the value of a cell."""
    of, (row, column) = one.found.stages[stage], cell
    predictor, picture = one.predictor, one.picture
    key = ("used", model_of(one.run), pixels_digest(picture), stage, number, row, column)
    slopes = once(key, lambda: predictor.effective_field(picture, stage, number, row, column))
    shown = overlay(enlarged(picture, SIDE), np.sqrt(slopes))
    sees = of.sees(row, column, picture.width)
    drawn = with_field(shown, sees, picture.width)
    left, right = st.columns([2, 5], gap="medium", vertical_alignment="center")
    alt = f"The pixels that change {stage}, channel {number}, in row {row + 1}, column {column + 1}"
    left.image(jpeg(drawn), width=SIDE, output_format="JPEG", alt=alt)
    half = half_of(slopes)
    words = (
        "This cell is 0 and stays so for any small change of the image."
        if not slopes.any()
        else f"Half of all change comes from the {half:.1%} of the image's pixels that matter most."
    )
    right.markdown(
        f"**What the cell in row {row + 1}, column {column + 1} uses.** The frame is what it can see. Bright are the "
        f"pixels that change its value most (the gradient's size, its square root shown): usually the middle of the "
        f"frame. {words} Click another cell above to see its own."
    )


def half_of(slopes: np.ndarray) -> float:
    """Return the smallest share of the pixels that has half of the sum of their slopes, 0–1; 0 if all are 0."""
    ordered = np.sort(slopes, axis=None)[::-1].cumsum(dtype=np.float64)
    return 0.0 if not ordered[-1] else float((np.searchsorted(ordered, ordered[-1] / 2) + 1) / ordered.size)


@guarded()
def _strongest(one: Look, stage: str, number: int) -> None:
    dataset = tested(one.run)
    samples = sampled(dataset)
    if not samples:
        st.caption("None of the images that this run was tested on is there any more.")
        return
    peaks = _peaks(one, dataset, samples)
    st.markdown(
        f"**The test images on which this channel is largest**, of {len(samples)} of the run's own, and where: framed "
        "is what that cell can see."
    )
    side, size, figures = one.picture.width, SIDE, []
    for best in peaks.strongest(stage, number, COUNT):
        sample = samples[best.image]
        image = one.predictor.prepare(sample_image(dataset, sample))
        sees = one.found.stages[stage].sees(best.row, best.column, side)
        name = dataset.classes[sample.label]
        framed = with_field(enlarged(image, size), sees, side)
        figures.append(Figure(jpeg(framed, 84), f"{name}: {sample.key}", f"{best.value:.3g}", name))
    st.html(figure_grid(figures, "140px"))


def _peaks(one: Look, dataset: Dataset, samples: Sequence[Sample]) -> ChannelPeaks:
    """Return the peaks on all samples, in pieces that others may come between, with the progress shown."""
    bar, parts = st.empty(), []
    for done in range(0, len(samples), BATCH):
        if done:
            bar.progress(done / len(samples), f"Looking at the test images: {done} of {len(samples)}")
        parts.append(peaks_once(one.run, dataset, samples[done : done + BATCH]))
    bar.empty()
    return ChannelPeaks.joined(parts)
