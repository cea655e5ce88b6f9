"""The runs that a table still needs: how many, how long they take, and the buttons that queue and stop them."""

from typing import Literal

import streamlit as st

from app.shared.access import check_places, read_only
from app.shared.errors import changing, guarded, plain
from app.shared.measuring import dry_run
from app.shared.panels import launcher_choice
from app.shared.session import choice, choose, remember
from app.shared.wording import name_of_run
from app.views.tables.protocols import (
    absent_weights,
    anew_of,
    command_of,
    counted,
    protocols_once,
    seeds_to_show,
    startable,
    unbroken,
    waiting,
)
from pmsi import tasks
from pmsi.base.text import duration, plural
from pmsi.data import DATASETS
from pmsi.runs import Run, State, default_root, jobs
from pmsi.tables import Table, set_title
from pmsi.tables.needed import NeededRuns, needed_runs
from pmsi.tables.needed import start as start_table

MOST_SEEDS = 20
ESTIMATE = "estimate"
"""The session's key of the last estimate: what it is about, and its words."""


def runs_of(table: Table) -> list[Run]:
    """Return the runs that are there for the seeds that the table shows, sweeps included."""
    if not table.configs:
        return []
    root = default_root()
    return [found.run for found in needed_runs(table, root, seeds_to_show(root, table)).found]


def missing_folders(table: Table) -> list[str]:
    """Return the data sets of a table whose folder is not given yet."""
    return [name for name, data in table.sets.items() if not data and DATASETS[name].needs_folder]


def queue_panel(table: Table) -> tuple[int, ...]:
    """Show what the table needs and what of it is there, with the button that queues the rest; return the seeds."""
    root = default_root()
    found = seeds_to_show(root, table)
    with st.container(border=True):
        said = st.container()
        with st.container(horizontal=True, vertical_alignment="bottom"):
            usual = min(unbroken(found), MOST_SEEDS)
            about = "Each run is done once for each seed; the table shows mean ± standard deviation."
            number = remember(st.number_input, "seeds", usual, "Seeds", 1, MOST_SEEDS, help=about, width=130)
            seeds = tuple(range(found[0], found[0] + int(number)))
            needed = needed_runs(table, root, seeds)
            _buttons(table, needed, seeds)
        with said:
            _how_far(needed)
        _absent_note(table.number, _absent(needed))
        known, text = st.session_state.get(ESTIMATE, (None, ""))
        if known == _left(table, needed):
            st.caption(plain(text))
    return seeds


def _how_far(needed: NeededRuns) -> None:
    """Say what there is and what is missing, and show how far the runs are that are worked on."""
    text = counted(needed) + "."
    if behind := waiting(needed):
        text += f" {behind} of them perturb test images, and can be queued once their models are trained."
    st.markdown(text)
    for run in needed.live:
        status = run.status()
        if status.state is not State.QUEUED:
            left = f" · about {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
            st.progress(status.share, f":small[{plain(name_of_run(run))} · {plain(status.text) or 'starting'}{left}]")


def _buttons(table: Table, needed: NeededRuns, seeds: tuple[int, ...]) -> None:
    todo, absent = startable(needed), missing_folders(table)
    words = "Queue the missing run" if todo == 1 else f"Queue the {todo} missing runs" if todo else "Nothing to queue"
    blocked = not todo or bool(absent) or bool(_absent(needed)) or read_only()
    launcher = launcher_choice("tables")
    estimated = st.session_state.get(ESTIMATE, (None, ""))[0] == _left(table, needed)
    if todo and not estimated and st.button("Estimate the time", icon=":material/timer:", disabled=blocked):
        _estimate(table, needed, seeds)
    rank: Literal["primary", "secondary"] = "primary" if estimated else "secondary"  # it may take days
    if st.button(words, type=rank, icon=":material/playlist_add:", disabled=blocked):
        _queue(table, seeds, launcher)
    if needed.live and not read_only():
        _stop_button(needed.live)
    if read_only():
        st.caption("This app is read-only: nothing can be started here.", width="content")
    if absent:
        st.caption(f"Give the folder of {' and of '.join(map(set_title, absent))} first.", width="content")


def _absent(needed: NeededRuns) -> list[str]:
    """Return the weights files that the runs to be made would start from and that are not on this machine."""
    return absent_weights(each.config for each in needed.trainings if each.found is None)


def _absent_note(number: str, files: list[str]) -> None:
    """Say why no more runs can be made where the weights that they start from are gone, and what can be done."""
    if not files:
        return
    names = " and ".join(f"**{plain(file)}**" for file in files)
    st.info(
        f"The missing runs start from {names}, which {'is' if len(files) == 1 else 'are'} not on this machine. "
        "Give the file above, or begin anew. What there is can be read all the same.",
        icon=":material/inventory_2:",
    )
    choices = protocols_once(number)
    shown = choices.get(choice("protocol"))
    anew = shown and anew_of(shown, choices)
    if anew and st.button("The same from ImageNet's weights", icon=":material/restart_alt:"):
        choose("protocol", anew)
        st.rerun()


def _queue(table: Table, seeds: tuple[int, ...], launcher: str) -> None:
    """Queue what can be worked on now; a table of which one run could not even start is refused as a whole."""
    root = default_root()
    trainings = needed_runs(table, root, seeds).trainings
    with changing():
        configs = dict.fromkeys(each.config for each in trainings if each.state is not State.FINISHED)
        for config in configs:
            check_places(config)
            tasks.check(config, root)
        tasks.check_data(configs)
        start_table(table, root, seeds, launcher, set())
        st.rerun()


def _stop_button(live: list[Run]) -> None:
    with st.popover("Stop", icon=":material/stop_circle:"):
        st.write("Queued runs leave the queue; one that is worked on writes a checkpoint first. All can be resumed.")
        if st.button(f"Stop {plural(len(live), 'run')}", type="primary"):
            for run in sorted(live, key=lambda run: run.state is not State.QUEUED):  # or the next would begin
                jobs.stop(run)
            st.rerun()


# How long it takes


def _left(table: Table, needed: NeededRuns) -> tuple[object, ...]:
    """Return what an estimate is about: it holds for as long as this stays the same."""
    return table.number, table.base, tuple(table.sets.items()), tuple(each.state for each in needed.all)


def _estimate(table: Table, needed: NeededRuns, seeds: tuple[int, ...]) -> None:
    words = command_of(table, seeds, default_root().absolute())
    with guarded(), st.spinner("Trying a few steps of each run …", show_time=True):
        st.session_state[ESTIMATE] = (_left(table, needed), dry_run(words).splitlines()[-1])
        st.rerun()
