"""The Runs page: the list of all runs, or the one that the URL names (`app.rundetail`)."""

import textwrap

import streamlit as st

from app.curves import summary
from app.panels import error_panel, guarded, no_runs_yet, plain
from app.run_session import page_of, show_more_runs, shown_runs
from app.rundetail import detail
from app.wording import ago, badge_of, facts_of, runs_before, title_of_run
from pmsi import jobs
from pmsi.errors import RunError
from pmsi.runs import Run, State, Status, default_root, list_runs
from pmsi.wording import duration, percent

REFRESH_S = 3.0

LONGEST = 110
"""Characters of an error in the list; the run's own page has all of it."""

ICONS = {
    "train": ":material/model_training:",
    "evaluate": ":material/fact_check:",
    "robustness": ":material/blur_on:",
}


def page() -> None:
    """Draw the page."""
    wanted = st.query_params.get("run")
    # A link from a page to itself leaves the browser's address as it is, so it is written again.
    st.query_params.from_dict({} if wanted is None else {"run": wanted})
    if wanted is None:
        _overview()
        return
    try:
        run = Run.open(default_root(), wanted)
    except RunError as error:
        st.title("Runs", anchor=False)
        error_panel(error)
        st.page_link(page_of("runs"), label="All runs", icon=":material/arrow_back:")
        return
    detail(run)


def _overview() -> None:
    st.title("Runs", anchor=False)
    runs = list_runs(default_root())
    if not runs:
        no_runs_yet("No runs yet: whatever is started is listed here.", "Nothing was started yet")
        return
    st.caption("Everything that was started, newest first. One run is worked on at a time; click a name to open it.")
    live = any(run.state.is_live for run in runs)
    st.fragment(_list, run_every=REFRESH_S if live else None)(live)


@guarded()
def _list(was_live: bool) -> None:
    """Draw the list; once nothing is live any more, the page is drawn again without the clock."""
    runs = list_runs(default_root())
    most = shown_runs()
    for run in runs[:most]:
        _line(run)
    if len(runs) > most and st.button("Show more"):
        show_more_runs()
        st.rerun()
    if was_live and not any(run.state.is_live for run in runs):
        st.rerun()


def _line(run: Run) -> None:
    """Draw one run of the list: what it is, its state, how far it is, how well it recognises."""
    status = run.status()
    with st.container(border=True, key=f"run-{run.id}"):
        name, state, numbers = st.columns([5, 4, 3], vertical_alignment="center", gap="xsmall")
        with name:
            _name(run, status)
        with state:
            _state(run, status)
        with numbers:
            st.markdown(_numbers(run))


def _name(run: Run, status: Status) -> None:
    try:
        config = run.config
    except RunError:  # the state beside it says what is wrong
        st.page_link(page_of("runs"), label=f"**{run.id}**", query_params={"run": run.id}, icon=":material/draft:")
        return
    title = f"**{title_of_run(config)}**"
    st.page_link(page_of("runs"), label=title, query_params={"run": run.id}, icon=ICONS.get(config.task))
    started = f"started {ago(status.started_at)}" if status.started_at is not None else "not started yet"
    st.caption(" · ".join([*facts_of(config), started, run.id[-4:]]))


def _state(run: Run, status: Status) -> None:
    """Say in which state a run is, and in a line how far it came or why it ended."""
    badge = badge_of(status.state if status.error is None else State.FAILED)
    if status.state.is_live and status.total:
        known = status.seconds_left is not None and status.state is not State.STOPPING
        left = f" · about {duration(status.seconds_left)} left" if known else ""
        st.markdown(badge)
        st.progress(min(1.0, status.done / status.total), text=f":small[{status.text}{left}]")
    else:
        st.markdown(f"{badge} :small[{plain(_note(run, status))}]")


def _note(run: Run, status: Status) -> str:
    """Return in a line what a run waits for, or how it has ended."""
    if status.state is State.QUEUED:
        seen = jobs.look(run)
        if seen is not None:
            return seen.text
        before = runs_before(run)
        return f"{before} before it" if before else "next"
    if status.error is not None:
        return textwrap.shorten(status.error.message, LONGEST, placeholder=" …")
    if status.state is State.FINISHED and status.started_at and status.ended_at:
        return f"in {duration(status.ended_at - status.started_at)}"
    return status.text if status.state.can_resume else ""


def _numbers(run: Run) -> str:
    """Return the accuracies of a run in a line, if it has any."""
    scores = summary(run.metrics())
    if scores is not None:
        by, last, best = scores["best"]["by"], scores["last"], scores["best"]
        return (
            f"**{percent(last['accuracy'][by])}** accuracy  \n"
            f":small[output {by} · best {percent(best['accuracy'][by])}, epoch {best['epoch']}]"
        )
    accuracy = (run.result() or {}).get("accuracy")
    if isinstance(accuracy, dict) and accuracy:
        head = list(accuracy)[-1]
        return f"**{percent(accuracy[head])}** accuracy  \n:small[output {head}]"
    return ""
