"""The Runs page: the list of all runs, or the one that the URL names (`app.rundetail`)."""

import streamlit as st

from app.curves import percent, summary
from app.rundetail import detail
from app.run_session import page_of
from app.wording import ago, badge_of, duration, title_of_run
from pmsi.errors import RunError
from pmsi.runs import Run, default_root, list_runs

REFRESH_S = 3.0
PAGE = 20
"""Runs that the list shows before it is asked for more."""


def page() -> None:
    """Draw the page."""
    wanted = st.query_params.get("run")
    if wanted is None:
        _overview()
        return
    try:
        run = Run.open(default_root(), wanted)
    except RunError as error:
        st.title("Runs")
        st.error(str(error), icon=":material/error:")
        st.page_link(page_of("runs"), label="All runs", icon=":material/arrow_back:")
        return
    detail(run)


def _overview() -> None:
    st.title("Runs")
    runs = list_runs(default_root())
    if not runs:
        st.write("No runs yet. The built-in birds and one click are enough for the first one.")
        st.page_link(page_of("train"), label="Start a training run", icon=":material/play_arrow:")
        return
    st.write("Everything that was started, newest first. One run is worked on at a time.")
    live = any(run.state.is_live for run in runs)
    st.fragment(_list, run_every=REFRESH_S if live else None)(live)


def _list(was_live: bool) -> None:
    """Draw the list; once nothing is live any more, the page is drawn again without the clock."""
    runs = list_runs(default_root())
    most = st.session_state.get("runs-most", PAGE)
    for run in runs[:most]:
        _line(run)
    if len(runs) > most:
        if st.button(f"Show {min(PAGE, len(runs) - most)} more", key="runs-more"):
            st.session_state["runs-most"] = most + PAGE
            st.rerun()
    if was_live and not any(run.state.is_live for run in runs):
        st.rerun()


def _line(run: Run) -> None:
    """Draw one run of the list: what it is, its state, how far it is, how well it recognises."""
    status = run.status()
    with st.container(border=True, key=f"run-{run.id}"):
        name, state, numbers = st.columns([5, 3, 4], vertical_alignment="center")
        with name:
            _name(run)
        with state:
            st.markdown(badge_of(status.state))
            if status.state.is_live and status.total:
                left = f" · {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
                st.progress(min(1.0, status.done / status.total), text=f":small[{status.text}{left}]")
        with numbers:
            st.markdown(_numbers(run))
            started = ago(status.started_at)
            st.caption(f"started {started}" if started else "not started yet")


def _name(run: Run) -> None:
    try:
        title = title_of_run(run.config)
    except RunError as error:
        st.markdown(f"**{run.id}**")
        st.caption(str(error))
        return
    st.page_link(page_of("runs"), label=f"**{title}**", query_params={"run": run.id}, icon=ICONS.get(run.config.task))
    st.caption(run.id)


ICONS = {
    "train": ":material/model_training:",
    "evaluate": ":material/fact_check:",
    "robustness": ":material/blur_on:",
}


def _numbers(run: Run) -> str:
    """Return the accuracies of a run in a line, if it has any."""
    scores = summary(run.metrics())
    if scores is not None:
        last, best = scores["last"], scores["best"]
        by = best["by"]
        epoch = f"epoch {best['epoch']}"
        return f"**{percent(last['accuracy'][by])}** {by} · best {percent(best['accuracy'][by])} ({epoch})"
    accuracy = (run.result() or {}).get("accuracy")
    if isinstance(accuracy, dict) and accuracy:
        head = list(accuracy)[-1]
        return f"**{percent(accuracy[head])}** {head}"
    return ":gray[no accuracy yet]"
