"""One run on the screen: what it is doing, its curves, its numbers, and what can be done with it.

What moves is one fragment that reads the run's folder every two seconds, and only while somebody works on the run; when
the state changes, the whole page is drawn once more. This module does not know how a run computes.
"""

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.curves import accuracy_figure, accuracy_rows, bar_figure, loss_figure, percent, summary
from app.forms import entries
from app.palette import CHART
from app.run_session import page_of
from app.wording import ago, badge_of, duration, runs_before, title_of_run
from pmsi import jobs
from pmsi.flags import command
from pmsi.config import Config, TrainConfig, differences
from pmsi.errors import PMSIError, RunError
from pmsi.runs import Run, State, Status

REFRESH_S = 2.0

ADVICE = {
    State.CREATED: "This run was made, but never started.",
    State.STOPPED: "This run was stopped. Resume goes on from its last checkpoint.",
    State.INTERRUPTED: "The process that worked on this run is gone: killed, or the machine was switched off. "
    "Resume goes on from its last checkpoint.",
}


def detail(run: Run) -> None:
    """Draw everything about one run."""
    status = run.status()
    st.page_link(page_of("runs"), label="All runs", icon=":material/arrow_back:")
    try:
        config = run.config
    except RunError as error:
        st.title(run.id)
        st.error(str(error), icon=":material/error:")
        return
    _head(run, config, status)
    _actions(run, config, status.state)
    _ending(status)
    seen = (status.state, has_model(run))
    st.fragment(_live, run_every=REFRESH_S if status.state.is_live else None)(run, seen)
    if not status.state.is_live:
        _result(run, config)
    _about(run, config)


def has_model(run: Run) -> bool:
    """Return whether a run has something to predict with: a checkpoint is written after the first epoch."""
    return (run.folder / "checkpoints" / "last.safetensors").exists()


def _head(run: Run, config: Config, status: Status) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(title_of_run(config), width="content", anchor=False)
        st.markdown(badge_of(status.state), width="content")
    facts = [run.id, *_facts(config)]
    if status.started_at is not None:
        facts.append(f"started {ago(status.started_at)}")
    if status.started_at is not None and status.ended_at is not None:
        facts.append(f"last worked on for {duration(status.ended_at - status.started_at)}")
    st.caption(" · ".join(facts))


def _facts(config: Config) -> list[str]:
    if not isinstance(config, TrainConfig):
        return []
    return [config.backbone, f"{config.image_size} px", f"{config.epochs} epochs", f"seed {config.seed}"]


# What can be done with it


def _actions(run: Run, config: Config, state: State) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        if state.is_live:
            _stop_button(run, state)
        if state.can_resume and st.button("Resume", type="primary", icon=":material/resume:"):
            _do(jobs.resume, run)
        if state is State.CREATED and st.button("Start", type="primary", icon=":material/play_arrow:"):
            _do(jobs.submit, run)
        if isinstance(config, TrainConfig):
            ready = has_model(run)
            help = None if ready else "There is a model to look at after the first epoch."
            for name, icon in (("maps", ":material/visibility:"), ("robustness", ":material/blur_on:")):
                link = {"label": name.capitalize(), "icon": icon, "disabled": not ready, "help": help}
                st.page_link(page_of(name), query_params={"run": run.id}, **link)


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
    try:
        action(run)
    except (PMSIError, OSError) as error:
        st.error(str(error), icon=":material/error:")
        return
    st.rerun()


def _ending(status: Status) -> None:
    """Say how the run ended, where it did not finish."""
    if status.state in ADVICE:
        show = st.warning if status.state is State.INTERRUPTED else st.info
        show(ADVICE[status.state], icon=":material/info:")
    if status.error is not None:
        remedy = f"\n\n**What to do:** {status.error.remedy}" if status.error.remedy else ""
        st.error(f"**{status.error.kind}.** {_plain(status.error.message)}{remedy}", icon=":material/error:")


def _plain(text: str) -> str:
    """Return a text such that markdown shows it as it is."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>#|~$:" else c for c in text)


# What moves


def _live(run: Run, seen: tuple[State, bool]) -> None:
    """Draw progress and curves; ask for the whole page again when the run's state is not what the page shows."""
    status = run.status()
    if (status.state, has_model(run)) != seen:
        st.rerun()
    if status.state.is_live:
        _progress(run, status)
    records = run.metrics()
    if run.config.task == "train":
        _curves(records, status.state)


def _progress(run: Run, status: Status) -> None:
    if status.state is State.QUEUED:
        before = runs_before(run)
        text = f"Waiting for {before} other run{'s' * (before != 1)}." if before else "Next in the queue, starting."
        st.progress(0.0, text=text)
        return
    if not status.total:
        st.progress(0.0, text="Starting: loading the data and the model.")
        return
    left = f" · about {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
    share = min(1.0, status.done / status.total)
    st.progress(share, text=f"{status.text} · {100 * share:.0f} %{left}")


def _curves(records: list[dict[str, Any]], state: State) -> None:
    scores = summary(records)
    if scores is not None:
        _tiles(scores)
    if not records and not state.is_live:
        st.caption("Nothing was recorded.")
        return
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Training loss** by phase")
        st.plotly_chart(loss_figure(records), key="loss", alt="Training loss of each phase over the epochs", **CHART)
    with right:
        st.markdown("**Test accuracy** by output")
        primary = scores["best"]["by"] if scores else None
        figure = accuracy_figure(records, primary)
        st.plotly_chart(figure, key="accuracy", alt="Test accuracy of each output over the epochs", **CHART)


def _tiles(scores: dict[str, Any]) -> None:
    last, best = scores["last"], scores["best"]
    by = best["by"]
    with st.container(horizontal=True):
        st.metric(f"Accuracy of {by}, epoch {last['epoch']}", percent(last["accuracy"][by]), width=220)
        st.metric(f"Best so far, epoch {best['epoch']}", percent(best["accuracy"][by]), width=220)


# What came out, and what went in


def _result(run: Run, config: Config) -> None:
    result = run.result()
    if result is not None:
        st.subheader("Result", anchor=False)
        RESULTS.get(config.task, _any_result)(result)


def _train_result(result: dict[str, Any]) -> None:
    table, facts = st.columns([3, 2], gap="large")
    best = result["best"]
    with table:
        st.table(accuracy_rows(result), hide_index=True, border="horizontal")
        st.caption(
            f"Test accuracy of each output at the last epoch ({result['last']['epoch']}) and at the epoch that was best "
            f"for {best['by']} ({best['epoch']}). The best epoch was chosen on the test images, so it flatters."
        )
    with facts:
        numbers = {
            "Training images": f"{result['train_images']:,}",
            "Test images": f"{result['test_images']:,}",
            "Classes": f"{len(result['classes']):,}",
            "Parameters": f"{result['parameters'] / 1e6:.2f} M",
            "Training time": duration(result["seconds"]),
        }
        st.table([{"": key, " ": value} for key, value in numbers.items()], hide_index=True, hide_header=True)


def _evaluate_result(result: dict[str, Any]) -> None:
    st.write(f"{result['images']:,} {result['split']} images.")
    rows = [{"Output": head, "Accuracy": percent(value)} for head, value in result["accuracy"].items()]
    st.table(rows, hide_index=True, border="horizontal")
    classes = {name: value for name, value in (result.get("class_accuracy") or {}).items() if value is not None}
    if classes:
        st.markdown("**Accuracy by class**, the hardest on top")
        hardest = dict(sorted(classes.items(), key=lambda item: item[1])[:40])
        st.plotly_chart(bar_figure(hardest, "accuracy (%)"), key="classes", alt="Accuracy of each class", **CHART)


def _any_result(result: dict[str, Any]) -> None:
    """Show whatever a task returned: lists of rows as tables, the rest as it is."""
    rest = {}
    for name, value in result.items():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            st.markdown(f"**{name.replace('_', ' ').capitalize()}**")
            st.dataframe(value, hide_index=True)
        else:
            rest[name] = value
    if rest:
        st.json(rest, expanded=1)


RESULTS: dict[str, Callable[[dict[str, Any]], None]] = {"train": _train_result, "evaluate": _evaluate_result}


def _about(run: Run, config: Config) -> None:
    with st.expander("Settings that differ from the paper's", icon=":material/tune:"):
        known = entries(type(config))
        rows = [
            {"Setting": known[name].label, "This run": known[name].show(value), "Paper": known[name].show(known[name].paper)}
            for name, value in differences(config).items()
        ]
        if rows:
            st.table(rows, hide_index=True, border="horizontal")
        else:
            st.write("None: this is the paper's recipe.")
    with st.expander("The same as a command", icon=":material/terminal:"):
        st.code(command(config), language="bash", wrap_lines=True)
    with st.expander("Log", icon=":material/notes:"):
        text = run.log_tail(200)
        st.code(text or "The log is empty.", language=None, height=320, wrap_lines=True)
