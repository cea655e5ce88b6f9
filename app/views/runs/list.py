"""The list of all runs, filtered and sorted; ticked runs are compared or deleted. The URL has the filters."""

import textwrap
from collections.abc import Sequence

import streamlit as st

from app.shared.access import read_only
from app.shared.errors import changing, guarded, plain
from app.shared.panels import no_runs_yet
from app.shared.session import choice, keep, page_of, remember
from app.shared.wording import (
    DAMAGED,
    ago,
    badge_of,
    called,
    ending_of,
    facts_of,
    runs_before,
    stuck_words,
    title_of_run,
)
from app.views.runs.labels import delete_popover, may_keep, tags_in_words, trash_panel, undo_bar
from app.views.runs.results import took_s
from pmsi.base.text import duration, percent, plural
from pmsi.config import TrainConfig
from pmsi.runs import State, Status, default_root, jobs, known_runs
from pmsi.runs.comparison import chosen_on, scores_of
from pmsi.runs.disk import in_words, size_of
from pmsi.runs.listing import ORDERS, Choice, Entry, chosen, entries, values

REFRESH_S = 3.0
SHOWN, AT_FIRST = "runs-shown", 20
"""The session's key of the number of runs in the list, and how many there are at first."""

LONGEST = 110
"""Characters of an error in the list; the run's own page has all of it."""

FEW = 6
"""Runs that one finds at a glance: so few need no search."""

PICKED, PICK = "pick", "picker-run-"
"""The URL's list of chosen runs, and how the keys of their boxes begin."""

FILTERS = {
    "state": ("in_state", "State", "Any state"),
    "method": ("in_method", "Method", "Any method"),
    "dataset": ("in_data", "Data set", "Any data set"),
    "tag": ("tagged", "Tag", "Any tag"),
}
"""By field of a `pmsi.runs.listing.Choice`: its name in the URL, its label, and the words for no choice."""
PARAMETERS = ("words", "sort", PICKED, *(name for name, _, _ in FILTERS.values()))

ICONS = {
    "train": ":material/model_training:",
    "evaluate": ":material/fact_check:",
    "robustness": ":material/blur_on:",
    "maps": ":material/visibility:",
}


def overview() -> None:
    """Draw the list."""
    st.title("Runs", anchor=False)
    undo_bar()
    own, shipped = _known()
    if own:
        st.caption(
            f"{plural(len(own), 'run')}, {in_words(sum(size_of(entry.run.folder) for entry in own))} on "
            "disk. Each device works on one at a time. Click a name to open it."
        )
    else:
        no_runs_yet("No runs yet: whatever is started is listed here.", "Nothing was started yet")
    wanted, order = _filters([*own, *shipped]) if len(own) > FEW else (Choice(), next(iter(ORDERS)))
    live = any(entry.state.is_live for entry in own)
    if own or shipped:
        st.fragment(_lists, run_every=REFRESH_S if live else None)(live, wanted, order)
    trash_panel()


def _unattended() -> None:
    """Say that nobody works on the queue, where it is so, and offer to start it."""
    waiting = jobs.unattended(default_root(), jobs.UNATTENDED_S)
    if not waiting:
        return
    with st.container(horizontal=True, vertical_alignment="center", border=True, key="unattended"):
        words = f"Nobody works on the queue: {plural(len(waiting), 'run')} in it."
        st.markdown(f":material/warning: {words}", width="content")
        if not read_only() and st.button("Start the queue", icon=":material/play_arrow:", type="primary"):
            with changing():
                for run in waiting:
                    jobs.resume(run)
                st.rerun()


def _known() -> tuple[list[Entry], list[Entry]]:
    """Return one's own runs, newest first, and those that come with the program, the trained ones first."""
    own, shipped = [], []
    for entry in entries(known_runs(default_root(), damaged=True)):
        (shipped if entry.run.is_shipped else own).append(entry)
    return own, sorted(shipped, key=lambda entry: not isinstance(entry.config, TrainConfig))


def _filters(found: Sequence[Entry]) -> tuple[Choice, str]:
    """Let the visitor say which runs are wanted, and in which order."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        placeholder = "Name, tag, note, setting"
        text = remember(
            st.text_input, "words", "", "Search", placeholder=placeholder, icon=":material/search:", width=230
        )
        given = {}
        for field, (name, label, anything) in FILTERS.items():
            options = ["", *values(found, field)]
            if len(options) > 2 or choice(name):
                words = {"": anything}
                show = {"format_func": lambda value, words=words: words.get(value, value), "width": 150}
                given[field] = remember(st.selectbox, name, "", label, options, **show)
        titles = {name: title for name, (title, _) in ORDERS.items()}
        order = remember(st.selectbox, "sort", "newest", "Order", titles, width=190)
    return Choice(text=text, **given), order


@guarded()
def _lists(was_live: bool, wanted: Choice, order: str) -> None:
    """Draw the runs; once nothing is live any more, the page is drawn again without the clock."""
    own, shipped = _known()
    _unattended()
    places = st.container()
    found = chosen(own, wanted, order)
    if wanted and not found:
        st.caption("No run of yours is like that.")
    most = st.session_state.get(SHOWN, AT_FIRST)
    for entry in found[:most]:
        _line(entry)
    if len(found) > most and st.button(f"Show more ({len(found) - most})"):
        st.session_state[SHOWN] = most + AT_FIRST
        st.rerun()
    examples = chosen(shipped, wanted, order)
    if examples:
        st.caption("**Come with the program**, to look at and to compare with:")
        for entry in examples:
            _line(entry)
    with places:
        _chosen_bar([*own, *shipped])
    if was_live and not any(entry.state.is_live for entry in own):
        st.rerun()


# Choosing some


def picked() -> list[str]:
    """Return the ids of the runs that are ticked."""
    return [id for id in choice(PICKED).split(",") if id]


def _tick(id: str) -> None:
    """Take up that a run's box was ticked, or is not any more."""
    others = [other for other in picked() if other != id]
    keep(PICKED, ",".join([*others, id] if st.session_state[f"{PICK}{id}"] else others))


def _untick() -> None:
    keep(PICKED, "")
    for key in [key for key in st.session_state if str(key).startswith(PICK)]:
        st.session_state[key] = False


def _chosen_bar(known: Sequence[Entry]) -> None:
    """Say how many runs are ticked, and what can be done with them. The bar is always there, so that nothing jumps."""
    ids = set(picked())
    found = [entry for entry in known if entry.run.id in ids]
    trained = [entry.run.id for entry in found if isinstance(entry.config, TrainConfig)]
    own = [entry.run for entry in found if may_keep(entry.run)]
    with st.container(horizontal=True, vertical_alignment="center", key="chosen-runs"):
        few = len(trained) < 2
        label = f"**Compare {len(trained)} runs**" if not few else "**Compare runs**"
        link = {"label": label, "icon": ":material/stacked_line_chart:", "disabled": few}
        st.page_link(page_of("runs"), query_params={"runs": ",".join(trained)}, **link)
        if own:
            delete_popover(own, f"Delete {len(own)}", key="delete-chosen")
        st.button("Choose none", type="tertiary", on_click=_untick, disabled=not found)
        if not found:
            st.caption("Tick two or more to compare them.", width="content")


# One run


@guarded()  # a damaged run is reported, and the others are listed
def _line(entry: Entry) -> None:
    """Draw one run of the list: what it is, its state, how far it is, how well it recognises."""
    run, status = entry.run, entry.run.status()
    with st.container(border=True, key=f"run-{run.id}"):
        name, state, numbers = st.columns([5, 4, 3], vertical_alignment="center", gap="xsmall")
        with name, st.container(horizontal=True, wrap=False, vertical_alignment="top", gap="small"):
            key, label = f"{PICK}{run.id}", f"Choose {called(run)}"
            ticked = {} if key in st.session_state else {"value": run.id in picked()}
            about = {"label_visibility": "collapsed", "on_change": _tick, "args": (run.id,), "width": "content"}
            label = plain(label).replace(r"\-", "-")  # it is only read aloud, as it stands here
            st.checkbox(label, key=key, **ticked, **about)
            with st.container(gap="xxsmall"):
                _name(entry, status)
        with state:
            _state(entry, status)
        with numbers:
            st.markdown(_numbers(entry))


def _name(entry: Entry, status: Status) -> None:
    run, config = entry.run, entry.config
    title = f"**{plain(called(run))}**"
    if config is None:  # the state beside it says what is wrong
        st.page_link(page_of("runs"), label=title, query_params={"run": run.id}, icon=":material/draft:")
        st.caption(plain(run.id))
        return
    st.page_link(page_of("runs"), label=title, query_params={"run": run.id}, icon=ICONS.get(config.task))
    facts = [plain(title_of_run(config))] if entry.labels.name else []
    facts += [plain(fact) for fact in facts_of(config)]
    if not run.is_shipped:
        facts.append(f"started {ago(status.first_at)}" if status.first_at is not None else "not started yet")
    facts += [in_words(size_of(run.folder)), plain(ending_of(run.id))]
    st.caption(" · ".join(facts))
    if entry.labels.tags:
        st.markdown(tags_in_words(entry.labels))


def _state(entry: Entry, status: Status) -> None:
    """Say in which state a run is, and in a line how far it came or why it ended."""
    badge = DAMAGED if entry.run.damage else badge_of(status.state if status.error is None else State.FAILED)
    if status.silent_s is not None:
        st.markdown(f"{badge} :orange-badge[:material/heart_broken: no heartbeat] :small[{stuck_words(status)}]")
    elif status.state.is_live and status.total:
        known = status.seconds_left is not None and status.state is not State.STOPPING
        left = f" · about {duration(status.seconds_left)} left" if known and status.seconds_left is not None else ""
        st.markdown(badge)
        st.progress(status.share, text=f":small[{plain(status.text)}{left}]")
    else:
        st.markdown(f"{badge} :small[{plain(_note(entry, status))}]")


def _note(entry: Entry, status: Status) -> str:
    """Return in a line what a run waits for, or how it has ended."""
    if status.state is State.QUEUED and entry.config is not None:
        seen = jobs.launcher_status(entry.run)
        if seen is not None:
            return seen.text
        if status.waits:
            return status.waits
        before = runs_before(entry.run)
        return f"{before} before it" if before else "next"
    if status.error is not None:
        return textwrap.shorten(entry.run.damage or status.error.message, LONGEST, placeholder=" …")
    if status.state is State.FINISHED and (took := took_s(entry.run, status)) is not None:
        return f"in {duration(took)}"
    return status.text if status.can_resume else ""


def _numbers(entry: Entry) -> str:
    """Return the accuracies of a run in a line, if it has any."""
    scores = scores_of(entry.run)
    if scores is not None:
        by, last, best = scores["best"]["by"], scores["last"], scores["best"]
        return (
            f"**{percent(last['accuracy'][by])}** accuracy  \n"
            f":small[output {by} · best {percent(best['accuracy'][by])}, epoch {best['epoch']} {chosen_on(best)}]"
        )
    accuracy = (entry.run.result() or {}).get("accuracy")
    if isinstance(accuracy, dict) and accuracy:
        head = list(accuracy)[-1]
        return f"**{percent(accuracy[head])}** accuracy  \n:small[output {head}]"
    return ""
