"""The images behind a sweep's numbers: the confusion matrix, whose squares open images, and those that flip first."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from app.shared.errors import guarded, plain
from app.shared.images import grid, picture
from app.shared.palette import CHART, styled
from app.shared.session import choice, choose, keep, remember
from app.views.sweeps.cached import sweep_picture_once
from pmsi.perturbations import PERTURBATIONS
from pmsi.robustness import CLEAN, Cell
from pmsi.robustness.confusion import Pair, confused_pairs, confusion, first_to_flip, images_at, most_confused
from pmsi.robustness.drawing import confusion_figure
from pmsi.robustness.page import p_text
from pmsi.robustness.results import SweepResults

TRUTH = "the true class"
BEHIND, FIRST = 12, 12
"""Pictures behind one place of the matrix; images that flip first."""
SHOWN = 12
"""Classes that a matrix begins with: the most confused ones where there are more."""
LISTED = 12
"""Places listed beside a matrix, the fullest first."""
PLACE = "place"
"""In the URL: row and column of the place whose images are open."""


def confusion_part(results: SweepResults, titles: dict[str, str], colors: dict[str, str], cell: Cell) -> None:
    """Show what one run answers in a cell against the truth, or against another run, and the images behind a place."""
    first, second = st.columns(2, gap="small", wrap=False)
    with first:
        answers = {id: f"Answers of {titles[id]}" for id in results.runs}
        run = remember(st.selectbox, "answers", results.runs[-1], "Run", answers, label_visibility="collapsed")
    others = {TRUTH: f"against {TRUTH}"} | {id: f"against {titles[id]}" for id in results.runs if id != run}
    with second:
        other = remember(st.selectbox, "than", TRUTH, "Against", others, label_visibility="collapsed")
    rows, columns = _labels(results, cell, other), _labels(results, cell, run)
    classes = results.report["classes"]
    matrix = confusion(rows, columns, len(classes))
    pairs = confused_pairs(matrix)
    if not pairs:
        st.caption("Not one image is confused here.")
        return
    names = (_axis(other, titles), _axis(run, titles))
    drawn, beside = st.columns([3, 2], gap="medium")
    with drawn:
        _matrix(matrix, classes, names, colors[run])
    labels = _places(matrix, pairs, classes)
    with beside:
        words = f"{names[0]} → {'answer' if other == TRUTH else names[1]}, most images first"
        place = remember(st.radio, PLACE, _name(pairs[0]), words, labels)
        if len(pairs) > LISTED:
            st.caption(f"The first {LISTED} of {len(pairs)} pairs; a click into the matrix opens any other.")
        if other != TRUTH:
            st.caption(_apart(results, cell, (other, run), titles))
    row, column = (int(word) for word in place.split("-"))
    _behind(results, cell, rows, columns, row, column)


def _places(matrix: np.ndarray, pairs: Sequence[Pair], classes: Sequence[str]) -> dict[str, str]:
    """Return the places that are listed, by their name in the URL: the fullest, and at first another that is open."""
    open_place = choice(PLACE).split("-")
    numbers = [int(word) for word in open_place if word.isdecimal() and int(word) < len(classes)]
    extra = [Pair(*numbers, int(matrix[tuple(numbers)]))] if len(numbers) == len(open_place) == 2 else []
    listed = [*(pair for pair in extra if pair.count and pair not in pairs[:LISTED]), *pairs[:LISTED]]
    return {_name(pair): _pair_text(pair, classes) for pair in listed}


def _name(pair: Pair) -> str:
    return f"{pair.row}-{pair.column}"


def _pair_text(pair: Pair, classes: Sequence[str]) -> str:
    row, column = plain(classes[pair.row]), plain(classes[pair.column])
    return f"{row}, agreed · {pair.count}" if pair.row == pair.column else f"{row} → {column} · {pair.count}"


def _apart(results: SweepResults, cell: Cell, runs: tuple[str, str], titles: dict[str, str]) -> str:
    """Say how many images either run alone recognises, and what McNemar's test says of that."""
    first, second = ((run, results.report["primary"][run]) for run in runs)
    test = results.test(cell, first, second)
    assert test is not None
    one, other = (plain(titles[run]) for run in runs)
    return (
        f"{one} alone recognises {test['only'][0]} of the {results.images} images, {other} alone {test['only'][1]}: "
        f"p = {p_text(test['p'])}, {p_text(test['holm'])} by Holm over the {len(results.cells)} cells of these two "
        "runs (McNemar's exact test)."
    )


def _axis(of: str, titles: dict[str, str]) -> str:
    return "True class" if of == TRUTH else titles[of]


def _labels(results: SweepResults, cell: Cell, of: str) -> np.ndarray:
    return (
        np.array(results.report["labels"])
        if of == TRUTH
        else results.predictions(cell, of, results.report["primary"][of])
    )


def _matrix(matrix: np.ndarray, classes: list[str], names: tuple[str, str], color: str) -> None:
    """Draw the matrix of the most confused classes; a click on a place chooses it."""

    most = len(classes)
    if len(classes) > SHOWN:
        label = "Classes shown, the most confused first"
        most = int(remember(st.slider, "classes", SHOWN, label, 4, len(classes)))
    drawn = confusion_figure(matrix, most_confused(matrix, most), classes, names, color)
    figure = styled(go.Figure(drawn), height=drawn["layout"]["height"], legend=False)
    figure.update_layout(hovermode="closest", dragmode="zoom", clickmode="event+select")
    alt = f"Number of images by {names[0]} (rows) and {names[1]} (columns)"
    event: Any = st.plotly_chart(figure, key="confusion", alt=alt, on_select="rerun", selection_mode="points", **CHART)
    points = event.selection.points if event else []
    clicked = "-".join(str(int(number)) for number in points[0]["customdata"][:2]) if points else ""
    if clicked != choice("clicked"):
        keep("clicked", clicked)
        if clicked:
            choose(PLACE, clicked)


def _behind(results: SweepResults, cell: Cell, rows: np.ndarray, columns: np.ndarray, row: int, column: int) -> None:
    found = images_at(rows, columns, row, column)
    classes, labels, keys = results.report["classes"], results.report["labels"], results.report["keys"]
    places = grid(min(len(found), BEHIND), 4)
    for place, index in zip(places, found, strict=False):
        truth = classes[labels[index]]
        with place, guarded():
            shown = sweep_picture_once(results, index, cell.perturbation, cell.severity)
            picture(shown, alt=f"{truth}, {cell.title}", caption=f"{plain(truth)} · {plain(keys[index])}")
    if len(found) > BEHIND:
        st.caption(f"{BEHIND} of {len(found)} images.")


def flips_part(results: SweepResults, name: str, run: str) -> None:
    """Show the clean hits of a run that the least severity of a perturbation turns, before and at the flip."""
    head, labels, classes = results.report["primary"][run], results.report["labels"], results.report["classes"]
    clean = (results.predictions(CLEAN, run, head) == labels).tolist()
    flips = first_to_flip(results.report, run, name, clean)
    if not flips:
        st.caption("No severity of this sweep turns an image that was recognised clean.")
        return
    st.caption(f"{len(flips)} of {sum(clean)} images that were recognised clean flip somewhere; the first ones:")
    places = grid(min(len(flips), FIRST), 3, "medium")
    for place, flip in zip(places, flips, strict=False):
        cell = Cell(name, flip.severity)
        answer, truth = classes[results.predictions(cell, run, head)[flip.index]], classes[labels[flip.index]]
        with place:
            before, after = st.columns(2, gap="small", wrap=False)
            with before, guarded():
                picture(sweep_picture_once(results, flip.index), alt=f"{truth}, clean")
            with after, guarded():
                picture(sweep_picture_once(results, flip.index, name, flip.severity), alt=f"{truth}, {cell.title}")
            st.caption(f"{plain(truth)} → **{plain(answer)}** at {PERTURBATIONS[name].symbol} = {flip.severity:g}")
