"""What makes the classes of a data set different: a card for each class.

Where the distinctive parts are known, they are in boxes on one image. Else, beside a run, a class has the image that
the run is surest of and the one that it found hardest.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import streamlit as st

from app.shared.cached_data import clearest_once
from app.shared.errors import plain
from app.shared.session import choice, choose, keep
from app.views.data.grid import Tile, found_classes, page_bar, page_of, tile_row
from pmsi.data.dataset import Dataset, Sample, count_by_class
from pmsi.runs import Run
from pmsi.runs.mistakes import ImagePrediction, hardest, read_predictions, shown_in

CARDS = 12
"""Cards on a page."""
WIDTHS = (172, 336)
"""Widths of a card with one picture and with two, in pixels."""

Answered = Mapping[str, Sequence[tuple[ImagePrediction, str, Sample]]]
"""By class, its test images with the class that a run took each for, hardest first."""


def class_cards(dataset: Dataset, run: Run | None) -> list[Sample]:
    """Show a card for each class that is searched for; return the images that are shown, in order."""
    names = dataset.classes
    if len(names) > CARDS:
        before = choice("find")
        names = found_classes(dataset)
        if before != choice("find"):
            keep("page", "")
    if not names:
        st.info("No class has such a name.", icon=":material/search_off:")
        return []
    answered = {} if dataset.distinctions or run is None else _answered(dataset, run)
    counts = [count_by_class(dataset.split(split), dataset.classes) for split in ("train", "test")]
    shown: list[Sample] = []
    with st.container(horizontal=True, gap="small"):
        for name in names[page_of(len(names), CARDS)]:
            tiles = _tiles(dataset, name, answered)
            shown += [tile.sample for tile in tiles]
            with st.container(border=True, width=WIDTHS[bool(answered)], gap="xsmall", key=f"card-{name}"):
                _card(dataset, name, tiles, tuple(count[name] for count in counts))
    if len(names) > CARDS:
        page_bar(len(names), CARDS, "classes")
    if answered:
        st.caption(
            "Typical is the test image of whose class the run was surest when it ended; beside it stands the one of "
            "which it was least sure, ✗ with the class that it took it for."
        )
    elif not dataset.distinctions:
        st.caption("Beside a run on these images, a card shows what is typical of a class, and what is hard.")
    return shown


def _card(dataset: Dataset, name: str, tiles: Sequence[Tile], counts: tuple[int, ...]) -> None:
    tile_row(dataset, tiles, f"class-{name}")
    known = dataset.distinctions.get(name)
    said = [] if any(tile.label == plain(name) for tile in tiles) else [f"**{plain(name)}**"]
    said += [f":small[{plain(part)}: {plain(form)}]" for part, form in known.parts.items()] if known else []
    if said:
        st.markdown("  \n".join(said))
    help = f"All images of {name}: training and test"
    label = f"{counts[0]} + {counts[1]} images"
    st.button(label, key=f"all-{name}", type="tertiary", help=plain(help), on_click=_all_of, args=(name,))


def _all_of(name: str) -> None:
    choose("only", name)
    choose("show", "images")


def _tiles(dataset: Dataset, name: str, answered: Answered) -> list[Tile]:
    """Return the pictures of a card."""
    if not (found := answered.get(name)):
        sample = clearest_once(dataset, dataset.classes.index(name))
        return [] if sample is None else [Tile(sample, plain(name), name, boxed=name in dataset.distinctions)]
    (typical, _, first), (hard, given, last) = found[-1], found[0]
    tiles = [Tile(first, f"Typical{_sure(typical.truth)}", f"{name}, its most typical test image")]
    if last is not first:
        words = f"Hardest{_sure(hard.truth)}" if hard.is_right else f"✗ {plain(given)}"
        tiles.append(Tile(last, words, f"{name}, its hardest test image"))
    return tiles


def _sure(truth: float | None) -> str:
    return "" if truth is None else f": {truth:.0%}"


def _answered(dataset: Dataset, run: Run) -> Answered:
    answers = read_predictions(run)
    here = shown_in(run, answers, dataset)
    found: dict[str, list[tuple[ImagePrediction, str, Sample]]] = defaultdict(list)
    for answer in hardest(answers, answers.primary):
        if answer.key in here:
            found[answers.classes[answer.label]].append((answer, answers.classes[answer.predicted], here[answer.key]))
    return found
