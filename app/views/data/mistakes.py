"""A run's mistakes on a data set: the hardest images, and the classes that it confuses."""

from collections.abc import Mapping, Sequence

import streamlit as st

from app.shared.errors import plain
from app.shared.session import choice, keep, remember, switch
from app.views.data.grid import Tile, page_bar, page_of, paged, tile_row
from pmsi.data.dataset import Dataset, Sample
from pmsi.runs import Run
from pmsi.runs.mistakes import (
    RANKINGS,
    Confusion,
    ImagePrediction,
    Predictions,
    confusions,
    predictions_of,
    read_predictions,
    shown_in,
)

PAIRS = "pairs"
TITLES = {name: title for name, (title, _) in RANKINGS.items()} | {PAIRS: "Confused classes"}
PAIRS_SHOWN = 6
IN_PAIR = 3
"""Images of each class that are shown of a pair."""


def mistakes(dataset: Dataset, run: Run | None) -> list[Sample]:
    """Show what ``run`` gets wrong, ranked as the visitor likes; return the images, in order."""
    if run is None:
        st.info(
            "Choose a finished run on these images above. Where there is none, train one: what it answers to each test "
            "image is kept.",
            icon=":material/model_training:",
        )
        return []
    answers = read_predictions(run)
    before = [choice(name) for name in ("by", "head")]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        by = switch("by", "hardest", "First come", TITLES)
        heads = list(answers.predicted)
        head = remember(
            st.selectbox,
            "head",
            answers.primary,
            "Output",
            heads,
            width=160,
            label_visibility="collapsed",
            help="The classifier whose answer counts.",
        )
    if before != [choice(name) for name in ("by", "head")]:
        keep("page", "")
    here = shown_in(run, answers, dataset)
    if gone := len(answers.keys) - len(here):
        st.caption(f"{gone:,} of the images that the run has answered are not in this data set any more.")
    if by == PAIRS:
        return _pairs(dataset, answers, confusions(answers, head), here)
    ranked = [answer for answer in RANKINGS[by][1](answers, head) if answer.key in here]
    _say(answers, ranked, head)
    if ranked:
        paged(dataset, [_tile(answers.classes, answer, here[answer.key]) for answer in ranked])
    return [here[answer.key] for answer in ranked]


def _say(answers: Predictions, ranked: list[ImagePrediction], head: str) -> None:
    """Say how many images are wrong, and what the order goes by."""
    given = answers.predicted[head]
    wrong = sum(label != answer for label, answer in zip(answers.labels, given, strict=True))
    order = "by the probabilities at this output" if answers.truth else "by how many outputs are right"
    words = f"**{wrong:,} of {len(given):,}** test images are wrong at output {plain(head)}. "
    st.caption(
        words + (f"The order goes {order}; ✗ marks wrong ones." if ranked else "There is nothing to show: well done.")
    )


def _tile(classes: Sequence[str], answer: ImagePrediction, sample: Sample) -> Tile:
    """Return an image with what the run answered; ``classes`` are the run's."""
    truth, given = classes[answer.label], classes[answer.predicted]
    if answer.confidence is not None and answer.truth is not None:
        sure = f"{answer.truth:.0%}" if answer.is_right else f"{answer.confidence:.0%}, truth {answer.truth:.0%}"
    else:
        sure = f"{answer.heads_right} of {answer.heads} outputs right" if answer.heads > 1 else ""
    said = f"✓ {plain(truth)}" if answer.is_right else f"{plain(truth)}  \n✗ {plain(given)}"
    return Tile(sample, f"{said}  \n:small[{sure}]" if sure else said, f"{truth}, taken for {given}")


def _pairs(dataset: Dataset, answers: Predictions, pairs: list[Confusion], here: Mapping[str, Sample]) -> list[Sample]:
    """Show the classes that are taken for each other side by side, those of the most images first."""
    shown: list[Sample] = []
    if not pairs:
        st.success("No class is taken for another one.", icon=":material/check_circle:")
        return shown
    for pair in pairs[page_of(len(pairs), PAIRS_SHOWN)]:
        with st.container(border=True):
            a, b = (plain(answers.classes[label]) for label in (pair.a, pair.b))
            st.markdown(f"**{a}** and **{b}** · {pair.count} of {pair.images} images taken for the other class")
            for place, label, other, keys in zip(
                st.columns(2, gap="medium"), (pair.a, pair.b), (b, a), (pair.a_as_b, pair.b_as_a), strict=True
            ):
                with place:
                    shown += _half(dataset, answers, pair, label, other, keys, here)
    page_bar(len(pairs), PAIRS_SHOWN, "pairs of classes")
    return shown


def _half(
    dataset: Dataset,
    answers: Predictions,
    pair: Confusion,
    label: int,
    other: str,
    keys: Sequence[str],
    here: Mapping[str, Sample],
) -> list[Sample]:
    """Show the images of one class that were taken for the other one; where none was, some others of the class."""
    mark = f"✗ {other}" if keys else f"✓ {plain(answers.classes[label])}"
    name = answers.classes[label]
    if keys:
        more = f", {IN_PAIR} of them here" if len(keys) > IN_PAIR else ""
        st.caption(f"{plain(name)} taken for {other}: {len(keys)}{more}")
    else:
        st.caption(f"{plain(name)}: none taken for {other}; others for comparison")
        keys = [
            image.key for image in predictions_of(answers, answers.primary) if image.label == label and image.is_right
        ]
    found = [here[key] for key in keys if key in here][:IN_PAIR]
    tiles = [Tile(sample, mark, f"{name}, {sample.key}") for sample in found]
    tile_row(dataset, tiles, f"{pair.a}-{pair.b}-{label}")
    return found
