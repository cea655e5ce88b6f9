"""The bar on top of every exploring page: this image, this run, beside that run, this output."""

from collections.abc import Iterable
from dataclasses import dataclass

import streamlit as st

from app.shared import session
from app.shared.cached_models import RAW, classes_of_run, predictor_of
from app.shared.components import part
from app.shared.errors import guarded, plain
from app.shared.glossary import glossary, meaning
from app.shared.image_links import image_actions
from app.shared.panels import Picked, default_run, say_apart, trained_runs
from app.shared.picking import choose_image, linked_label, picked_image, small_once
from app.shared.wording import line_of_run, name_of_run, with_names
from pmsi.base.text import shortened
from pmsi.pictures.encoding import data_uri
from pmsi.runs import Run
from pmsi.runs.comparison import baseline_for
from pmsi.runs.record import comparable, is_alike, why_not_comparable

PRIMARY = ""
"""The output that a run predicts with."""
LONGEST = 34
"""Letters of a name on the bar."""


@dataclass(frozen=True)
class Chosen:
    """What a page is about. ``output`` "" is the run's primary head."""

    picked: Picked | None
    run: Run | None
    beside: Run | None
    output: str

    @property
    def runs(self) -> list[Run]:
        """The run, and the one beside it if there is one."""
        return [run for run in (self.run, self.beside) if run is not None]


def bar(*, here: str, image: bool = True, run: bool = True, beside: bool = True, output: bool = True) -> Chosen:
    """Show the bar of the page ``here``, with the parts that it needs, and return what is chosen.

    Call it outside of a page's fragment: a choice in it draws the page anew, what the page itself asks does not.
    """
    runs = trained_runs()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="bar"):
        place = st.container(width="content", key="bar-image")
        first = _run(runs) if runs else None
        picked = picked_image(first) if image else None
        if image:
            with place:
                _image(picked, first)
        second, head = None, PRIMARY
        if run and first is not None:
            _run_chip(runs, first, picked)
            second = _beside_chip(runs, first) if beside and len(runs) > 1 else None
            with guarded():
                head = _output(first) if output else PRIMARY
        _more(here, picked, first)
    if first is not None and second is not None:
        say_apart(first, second)
    return Chosen(picked, first, second, head)


def _short(text: str) -> str:
    return plain(shortened(text, LONGEST))


# The image


def _image(picked: Picked | None, run: Run | None) -> None:
    words = _short(picked.title) if picked else "Choose an image"
    if picked is not None:  # the picture stands in the button, so that all of it opens the dialog
        address = data_uri(small_once(picked.image))
        st.html(f'<style>.st-key-bar-image button::before{{background-image:url("{address}")}}</style>')
    if st.button(words, key="bar-choose", help="Choose another image"):
        choose_image(run)


# The runs


def _run(runs: list[Run]) -> Run | None:
    wanted = session.choice("run")
    run = default_run(runs, linked_label(runs))
    if run is not None:
        if wanted and wanted != run.id:
            st.caption(f"Run {plain(wanted)} has no checkpoint here; another one is shown.")
        session.keep("run", run.id)
    return run


def _run_chip(runs: list[Run], run: Run, picked: Picked | None) -> None:
    """Show the run; a click lists the others, first those that know the image's class."""
    chip = st.popover(
        _short(name_of_run(run)),
        icon=":material/network_node:",
        key="bar-run",
        on_change="rerun",
        help="The run that answers",
    )
    if not chip.open:
        return
    with chip:
        label = picked.label if picked else None
        knowing = [one for one in runs if label is None or label in classes_of_run(one)]
        others = [one for one in runs if one not in knowing]
        if label is not None:
            st.caption(f"Know {plain(label)}" if knowing else f"No run knows {plain(label)}")
        _lines("run", knowing, run.id)
        if others:
            st.caption("Were trained on other classes")
            _lines("run", others, run.id)


def _beside_chip(runs: list[Run], run: Run) -> Run | None:
    """Show the run beside; a click lists those that can be compared, then the others with what keeps them apart."""
    by_id = {one.id: one for one in runs if one.id != run.id}
    other = by_id.get(session.choice("beside"))
    session.keep("beside", other.id if other else "", always=True)
    chip = st.popover(
        f"beside {_short(name_of_run(other))}" if other else "Beside …",
        icon=":material/compare_arrows:",
        key="bar-beside",
        on_change="rerun",
        help="Another run beside it",
    )
    if chip.open:
        with chip:
            if other:
                _line("beside", "", "No other run", False)
            baseline = baseline_for(run, runs)
            fitting = sorted(comparable(run, by_id.values()), key=lambda one: (one != baseline, not is_alike(run, one)))
            if fitting:
                st.caption("Can be compared with it")
            _lines("beside", fitting, other.id if other else "")
            apart = [one for one in by_id.values() if one not in fitting]
            if apart:
                st.caption("Cannot be compared: numbers side by side would say nothing")
            for one in apart:
                _lines("beside", [one], other.id if other else "")
                st.caption(plain(with_names(why_not_comparable(run, one), run, one)))
    return other


def _lines(name: str, runs: Iterable[Run], now: str) -> None:
    for one in runs:
        _line(name, one.id, plain(line_of_run(one, st.context.timezone)), one.id == now)


def _line(name: str, id: str, words: str, is_now: bool) -> None:
    st.button(
        f"**{words}**" if is_now else words,
        key=f"bar-{name}-{id}",
        type="tertiary",
        icon=":material/check:" if is_now else None,
        on_click=_take,
        args=(name, id),
    )


def _take(name: str, id: str) -> None:
    session.keep(name, id)
    st.session_state[f"bar-{name}"] = False  # closes it


# The output


def _output(run: Run) -> str:
    """Let the visitor choose one of a run's outputs."""
    predictor = predictor_of(run)
    heads = [predictor.primary, *(head for head in predictor.heads if head != predictor.primary)]
    if len(heads) == 1:
        return PRIMARY
    head = session.remember(
        st.selectbox,
        "head",
        heads[0],
        "Output",
        {head: f"Output {head}" for head in heads},
        label_visibility="collapsed",
        width=140,
        help=meaning("head"),
    )
    session.keep("head", str(head))
    return PRIMARY if head == heads[0] else str(head)


# The rest


def _more(here: str, picked: Picked | None, run: Run | None) -> None:
    with st.popover(
        "This page", icon=":material/more_horiz:", key="bar-more", help="Copy the link, other pages, words"
    ):
        part("copy_link")(key="copy-link", data={})
        if picked is not None:
            image_actions(picked, here=here, **({"run": run.id} if run else {}))
        help = "Also where a run has temperatures, which make them fit what happens."
        session.remember(st.toggle, RAW, False, "Raw probabilities", help=help)
        if st.button("What the words mean", icon=":material/menu_book:", type="tertiary", key="bar-words"):
            glossary()
