"""One run: its state, curves, numbers and log, and what can be done with it.

While the run is live, a fragment reads its folder every two seconds.
"""

from collections.abc import Callable

import streamlit as st

from app.shared.access import read_only
from app.shared.cached_models import has_model
from app.shared.errors import changing, guarded, plain, worded
from app.shared.fields import entries
from app.shared.session import keep, page_of
from app.shared.wording import (
    DAMAGED,
    badge_of,
    called,
    facts_of,
    moment,
    name_of_run,
    runs_before,
    stuck_words,
    title_of_run,
)
from app.views.runs.actions import look_at, use
from app.views.runs.labels import delete_popover, labels_form, may_keep, show_labels
from app.views.runs.results import RECORDS, show_result, took_s
from app.views.train.address import address_of
from pmsi.base.text import duration, plural
from pmsi.cli.console import what_if_stuck
from pmsi.config import Config, TrainConfig
from pmsi.config.command import command
from pmsi.engine.checkpoint import can_go_on
from pmsi.runs import Run, State, Status, default_root, jobs
from pmsi.runs.disk import in_words, size_of
from pmsi.runs.record import INSIST
from pmsi.runs.trash import users_of

REFRESH_S = 2.0

ADVICE = {
    State.CREATED: "This run was made, but never started.",
    State.STOPPED: "This run was stopped.",
    State.INTERRUPTED: "The process that worked on this run is gone: killed, or the machine was switched off.",
    State.FAILED: "Resume tries again with the same settings; to change them, start a new run.",
}

BACK = "Opens the Train page with the settings of this run, to change what went wrong and start again."

HOPELESS = "With these settings this run cannot succeed, so it is not resumed: start a new one with others."

LOST = "Its checkpoints are damaged, so it cannot be resumed: start a new run."


def detail(run: Run) -> None:
    """Draw everything about one run."""
    status = run.status()
    if run.damage is not None:
        st.page_link(page_of("runs"), label="All runs", icon=":material/arrow_back:")
        _damaged(run, run.damage)
        return
    config = run.config
    if isinstance(config, TrainConfig):
        keep("run", run.id)  # for the other pages
    note = jobs.launcher_status(run)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _title(run, status)
        _actions(run, status, is_lost=note is not None and note.is_lost)
        if isinstance(config, TrainConfig):
            look_at(run)
    _facts(run, config, status)
    show_labels(run)
    if note is not None:
        st.caption(plain(note.text))
    _ending(run, status)
    seen = (status.state, has_model(run))
    st.fragment(_live, run_every=REFRESH_S if status.state.is_live else None)(run, seen)
    if not status.state.is_live:
        _result(run, config)
    _more(run, status)
    _made_from(run)
    _about(config)
    st.fragment(_log, run_every=REFRESH_S if status.state.is_live else None)(run)


def _damaged(run: Run, damage: str) -> None:
    """Draw what can be seen of a damaged run, with its way into the trash."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(plain(called(run)), width="content", anchor=False)
        st.markdown(DAMAGED, width="content")
    st.caption(plain(f"{run.id} · {in_words(size_of(run.folder))} on disk"))
    show_labels(run)
    st.error(plain(damage), icon=":material/error:")
    if may_keep(run):
        delete_popover([run])
    _log(run)


def _title(run: Run, status: Status) -> None:
    st.page_link(page_of("runs"), label="All runs", icon=":material/arrow_back:", width="content")
    st.title(plain(called(run)), width="content", anchor=False)
    st.markdown(badge_of(status.state), width="content")


def _facts(run: Run, config: Config, status: Status) -> None:
    named = [] if called(run) == title_of_run(config) else [title_of_run(config)]
    facts = [run.id, *named, *facts_of(config), f"{in_words(size_of(run.folder))} on disk"]
    if run.is_shipped:
        facts.append("comes with the program")
    elif status.started_at is not None:
        facts.append(f"started {moment(status.first_at or status.started_at, st.context.timezone)}")
        if status.first_at != status.started_at:
            facts.append(f"resumed {moment(status.started_at, st.context.timezone)}")
        if (took := took_s(run, status)) is not None:
            facts.append(f"worked on for {duration(took)}")
    st.caption(plain(" · ".join(facts)))


# What can be done with it


def _actions(run: Run, status: Status, is_lost: bool) -> None:
    """Draw the buttons that start, stop and repeat the run, except in a read-only app."""
    state = status.state
    if run.is_shipped or read_only():
        return
    if state.is_live:
        _stop_button(run, state)
    can_resume = (status.can_resume and can_go_on(run)) or is_lost
    if can_resume and st.button("Resume", type="primary", icon=":material/resume:"):
        _do(jobs.resume, run)
    if state is State.CREATED and st.button("Start", type="primary", icon=":material/play_arrow:"):
        _do(jobs.submit, run)
    if state in ADVICE and isinstance(run.config, TrainConfig):
        rank = "secondary" if can_resume or state is State.CREATED else "primary"
        if st.button("Its settings in the form", type=rank, icon=":material/edit_note:", help=BACK):
            st.switch_page(page_of("train"), query_params=address_of(run.config))


def _more(run: Run, status: Status) -> None:
    """Draw what is wanted less often, folded away."""
    own, trained = may_keep(run), isinstance(run.config, TrainConfig)
    if not own and not (trained and has_model(run)):
        return
    words = [*(["export, phone, evaluation, training on"] if trained else []), *(["name, delete"] if own else [])]
    with (
        st.expander(f"More: {', '.join(words)}", icon=":material/more_horiz:"),
        st.container(horizontal=True, vertical_alignment="center", gap="small"),
    ):
        if trained:
            use(run)
        if own:
            labels_form(run)
            if not status.state.is_live:
                delete_popover([run])


def _stop_button(run: Run, state: State) -> None:
    if state is State.STOPPING:
        st.button("Stopping …", disabled=True, icon=":material/hourglass_bottom:")
        return
    with st.popover("Stop", icon=":material/stop_circle:"):
        if state is State.QUEUED:
            st.write("The run leaves the queue. It can be put back later.")
        else:
            st.write("The run writes a checkpoint and stops within seconds. It can be resumed later.")
        if st.button("Stop this run", type="primary"):
            _do(jobs.stop, run)


def _do(action: Callable[[Run], None], run: Run) -> None:
    """Do something with a run, and draw the page again; what refuses says why."""
    with changing():
        action(run)
        st.rerun()


def _ending(run: Run, status: Status) -> None:
    """Say how the run ended, where it did not finish, and what resuming it means."""
    if status.error is not None:
        remedy = f"\n\n**What to do:** {plain(status.error.remedy)}" if status.error.remedy else ""
        message = worded(status.error.message, "insist (below)")
        st.error(f"**{status.error.kind}.** {plain(message)}{remedy}", icon=":material/error:")
        if INSIST in status.error.message and not read_only():
            help = "Makes a run with the same settings that goes on all the same; its result says how many images."
            if st.button("Insist", icon=":material/gavel:", help=help):
                _do(_insist, run)
    if status.state not in ADVICE:
        return
    resume = ""
    if status.state in (State.STOPPED, State.INTERRUPTED):
        resume = (
            " Resume goes on from its last checkpoint." if has_model(run) else " Resume starts it from the beginning."
        )
    if status.state is not State.CREATED and not (status.can_resume and can_go_on(run)):
        st.info(LOST if status.can_resume else HOPELESS, icon=":material/info:")
        return
    show = st.warning if status.state is State.INTERRUPTED else st.info
    show(ADVICE[status.state] + resume, icon=":material/info:")


def _insist(run: Run) -> None:
    """Start a run with the same settings that insists, and show it."""
    made = Run.create(default_root(), run.config.with_(insist=True))
    jobs.submit(made)
    st.switch_page(page_of("runs"), query_params={"run": made.id})


# What moves


@guarded()
def _live(run: Run, seen: tuple[State, bool]) -> None:
    """Draw progress and curves; ask for the whole page again when the run's state is not what the page shows."""
    status = run.status()
    if (status.state, has_model(run)) != seen or not run.folder.exists():
        st.rerun()
    if status.state.is_live:
        _progress(run, status)
    if status.silent_s is not None:
        words = stuck_words(status)
        st.warning(f"{words[0].upper()}{words[1:]}. {what_if_stuck(run)}", icon=":material/heart_broken:")
    show = RECORDS.get(run.config.task)
    if show is not None:
        show(run, run.metrics())


def _progress(run: Run, status: Status) -> None:
    if status.state is State.QUEUED:
        if status.waits:
            st.progress(0.0, text=plain(f"{status.waits[0].upper()}{status.waits[1:]}."))
            return
        before = runs_before(run)
        text = f"Waiting for {plural(before, 'other run')}." if before else "Next in the queue, starting."
        st.progress(0.0, text=text)
        return
    if not status.total:
        st.progress(0.0, text="Starting: loading the data and the model.")
        return
    if status.state is State.STOPPING:
        st.progress(status.share, text=f"{status.text} · ends after this batch, with a checkpoint")
        return
    known = status.seconds_left is not None and status.silent_s is None
    left = f" · about {duration(status.seconds_left or 0)} left" if known else ""
    st.progress(status.share, text=f"{status.text} · {100 * status.share:.0f} %{left}")


def _made_from(run: Run) -> None:
    """Link to the evaluations, sweeps and trainings that were made from this run."""
    users = [user for root in dict.fromkeys((default_root(), run.folder.parent)) for user in users_of([run.id], root)]
    if not users:
        return
    with st.expander(f"Made from this run: {len(users)}", icon=":material/account_tree:"):
        for user in users:
            label = f"{plain(name_of_run(user))} · {user.state}"
            st.page_link(page_of("runs"), label=label, query_params={"run": user.id})


def _result(run: Run, config: Config) -> None:
    result = run.result()
    if result is not None:
        show_result(config.task, result)


# What went in


def _about(config: Config) -> None:
    with st.expander("Settings that differ from the paper's", icon=":material/tune:"):
        values = {entry: getattr(config, name) for name, entry in entries(type(config)).items()}
        rows = [
            {
                "Setting": entry.label,
                "This run": entry.show(value),
                "Paper": entry.show(entry.paper) if entry.is_papers else "–",
            }
            for entry, value in values.items()
            if entry.differs(value) or value != entry.default
        ]
        if rows:
            st.table(rows, hide_index=True, border="horizontal")
        else:
            st.write("None: this is the paper's recipe.")
    with st.expander("The same as a command", icon=":material/terminal:"):
        st.code(command(config), language="bash", wrap_lines=True)


@guarded()
def _log(run: Run) -> None:
    with st.expander("Log", icon=":material/notes:"):
        text = run.log_tail(200)
        st.code(text or "Nothing was printed, and no error arose.", language=None, height=320, wrap_lines=True)
