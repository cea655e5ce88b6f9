"""The images of a data set as a grid of thumbnails: filtered, in pages, each with a button that opens it.

The query parameter `open` names the open image, which `app.views.data.details` shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil

import plotly.graph_objects as go
import streamlit as st

from app.shared.cached_data import boxed_once, thumbnail_once
from app.shared.errors import guarded, plain
from app.shared.palette import CATEGORICAL, CHART, styled
from app.shared.session import choice, keep, relabel, remember, switch
from pmsi.data.dataset import Dataset, Sample, count_by_class
from pmsi.runs import Run
from pmsi.runs.mistakes import predictions_of, read_predictions, shown_in

OPEN = "open"
"""The URL's name for the picture that is open. It is kept nowhere else, so that no other page comes back to it."""

PER_PAGE = 24
SIDE, WIDTH = 296, 148
"""Pixels of a small picture, for screens with two for each, and how wide it is shown."""

SPLITS = {"all": "All", "train": "Training", "test": "Test"}
ANSWERS = {"all": "All", "right": "✓ Right", "wrong": "✗ Wrong"}
ALL = ""
MOST_NAMED = 40
"""Classes whose names have room below their bars."""


@dataclass(frozen=True)
class Tile:
    """A thumbnail: its sample, its caption, and its alternative text."""

    sample: Sample
    label: str
    alt: str
    boxed: bool = False
    """Whether the distinctive parts of its class are in boxes."""


def open_image(key: str) -> None:
    """Open a picture."""
    st.query_params[OPEN] = key


def close_image() -> None:
    """Close the picture that is open."""
    st.query_params.pop(OPEN, None)


def browse(dataset: Dataset, run: Run | None) -> list[Sample]:
    """Show the images, filtered by class, split and answer, and how many each class has; return those of all pages."""
    marks = _marks(run, dataset)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        found = _filtered(dataset, marks)
    if found:
        paged(dataset, [_tile(dataset, sample, marks) for sample in found])
    else:
        st.info("No image here. Choose another class, or all.", icon=":material/search_off:")
    with st.expander("Images per class", icon=":material/bar_chart:"):
        alt = "Images of each class, training and test; a class's numbers are shown as it is pointed at"
        st.plotly_chart(_bars(dataset), key="images-per-class", alt=alt, **CHART)
    return found


def paged(dataset: Dataset, tiles: Sequence[Tile]) -> None:
    """Show one page of tiles, and the way to the others."""
    tile_row(dataset, tiles[page_of(len(tiles), PER_PAGE)])
    page_bar(len(tiles), PER_PAGE, "images")


def page_of(count: int, size: int) -> slice:
    """Return which of ``count`` things are on the page that the URL names, or on the nearest one."""
    typed = choice("page", "1")
    number = max(1, min(int(typed), ceil(count / size))) if typed.isdecimal() else 1
    return slice((number - 1) * size, min(number * size, count))


def page_bar(count: int, size: int, what: str) -> None:
    """Show which things are on the page, between the buttons to the other pages."""
    shown = page_of(count, size)
    number = shown.start // size + 1
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="center"):
        _turn("Previous", ":material/chevron_left:", number - 1, number > 1)
        st.caption(f"{shown.start + 1:,} to {shown.stop:,} of {count:,} {what}", width="content")
        _turn("Next", ":material/chevron_right:", number + 1, shown.stop < count)


def _turn(label: str, icon: str, number: int, possible: bool) -> None:
    st.button(label, icon=icon, key=f"turn-{label}", disabled=not possible, on_click=keep, args=("page", str(number)))


def tile_row(dataset: Dataset, tiles: Sequence[Tile], group: str = "") -> None:
    """Show thumbnails in rows that wrap; ``group`` makes the keys of several rows on a page differ."""
    with st.container(horizontal=True, gap="small", key=f"tiles-{group}" if group else None):
        for tile in tiles:
            # The style sheet lays this container's button over the picture too.
            with st.container(width=WIDTH, gap="xsmall", key=f"tile-{group}-{tile.sample.key}"):
                _small(dataset, tile)
                st.button(
                    tile.label,
                    key=f"open-{group}-{tile.sample.key}",
                    type="tertiary",
                    width="stretch",
                    on_click=open_image,
                    args=(tile.sample.key,),
                    help="Open this image",
                )


@guarded()
def _small(dataset: Dataset, tile: Tile) -> None:
    small = (boxed_once if tile.boxed else thumbnail_once)(dataset, tile.sample, SIDE)
    st.image(small, width=WIDTH, output_format="JPEG", alt=tile.alt)


# What is shown


def found_classes(dataset: Dataset) -> tuple[str, ...]:
    """Let the visitor search for classes by name, and return those found."""
    label = "Search classes"
    typed = remember(st.text_input, "find", "", label, placeholder=label, width=160, label_visibility="collapsed")
    return tuple(name for name in dataset.classes if typed.casefold() in name.casefold())


def _filtered(dataset: Dataset, marks: Mapping[str, bool]) -> list[Sample]:
    """Let the visitor choose split, class and right or wrong answers, and return the images."""
    names_of = ("split", "find", "only", "answer")
    before = [choice(name) for name in names_of]
    split = switch("split", "all", "Split", SPLITS)
    answer = switch("answer", "all", "Answer", ANSWERS) if marks else "all"
    names = found_classes(dataset)
    title = f"All {len(names)} that match" if len(names) < len(dataset.classes) else f"All {len(names)} classes"
    relabel("only")  # how many classes there are changes with the data set
    only = remember(
        st.selectbox,
        "only",
        ALL,
        "Class",
        [ALL, *names],
        format_func=lambda name: name or title,
        width=182,
        label_visibility="collapsed",
    )
    if before != [choice(name) for name in names_of]:
        keep("page", "")
    wanted = {only} if only else set(names)
    samples = [*dataset.test, *dataset.train] if split == "all" else dataset.split(split)
    given = {"right": True, "wrong": False}.get(answer)
    return [
        sample
        for sample in samples
        if dataset.classes[sample.label] in wanted and (given is None or marks.get(sample.key) is given)
    ]


def _marks(run: Run | None, dataset: Dataset) -> Mapping[str, bool]:
    """Return for the key of each image that a run has answered whether it was right."""
    if run is None:
        return {}
    answers = read_predictions(run)
    here = shown_in(run, answers, dataset)
    found = predictions_of(answers, answers.primary)
    return {here[answer.key].key: answer.is_right for answer in found if answer.key in here}


def _tile(dataset: Dataset, sample: Sample, marks: Mapping[str, bool]) -> Tile:
    name = dataset.classes[sample.label]
    mark = "" if sample.key not in marks else "✓ " if marks[sample.key] else "✗ "
    return Tile(sample, mark + plain(name), f"{name}, {sample.key}")


def _bars(dataset: Dataset) -> go.Figure:
    """Return the number of images of each class, training below test."""
    figure = go.Figure()
    names = [escape(name) for name in dataset.classes]  # plotly reads HTML in texts
    for split, color in (("train", CATEGORICAL[0]), ("test", CATEGORICAL[5])):
        counts = list(count_by_class(dataset.split(split), dataset.classes).values())
        hover = "%{customdata}: %{y}<extra>" + SPLITS[split] + "</extra>"
        figure.add_bar(
            x=list(range(len(names))), y=counts, name=SPLITS[split], customdata=names, marker={"color": color},
            hovertemplate=hover,
        )  # fmt: skip
    named = len(names) <= MOST_NAMED
    styled(figure, height=260 if named else 150)
    figure.update_xaxes(
        title=None, showticklabels=named, tickvals=list(range(len(names))), ticktext=names, tickangle=-40
    )
    figure.update_yaxes(title="Images", rangemode="tozero")
    return figure.update_layout(barmode="stack", hovermode="closest", bargap=0.15)
