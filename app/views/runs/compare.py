"""Several training runs side by side: curves, results and differing settings. The URL names the runs."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import streamlit as st

from app.shared.errors import guarded, plain
from app.shared.fields import entries
from app.shared.palette import CHART
from app.shared.panels import any_run, any_run_box, run_colors, say_apart
from app.shared.session import choice, keep, moved, page_of, remember
from app.shared.wording import name_of_run
from app.views.runs.curves import Record, runs_figure, series
from pmsi.config import TrainConfig
from pmsi.runs import Run, default_root, known_runs
from pmsi.runs.comparison import COLUMNS, baseline_for, cells, differing_settings, outcome, scores_of
from pmsi.runs.listing import entries as listed
from pmsi.runs.record import comparable

REFRESH_S = 3.0
KEY = "picker-runs"

FEW = 5
"""Up to this many runs are columns; more are rows."""

MOST = 24
"""Runs that are compared at once."""

OWN = ""
"""The choice of an output or phase that is each run's own last one: concat of one, the only one of another."""


def compare() -> None:
    """Draw the runs that the URL names."""
    st.page_link(page_of("runs"), label="All runs", icon=":material/arrow_back:")
    st.title("Compare runs", anchor=False)
    known = listed(known_runs(default_root()))
    by_id = {entry.run.id: entry.run for entry in known if isinstance(entry.config, TrainConfig)}
    runs = _choose(by_id)
    if not runs:
        st.info("Choose two or more training runs.", icon=":material/info:")
        return
    for other in runs[1:]:
        say_apart(runs[0], other)
    _offer_baseline(runs, by_id)
    live = any(run.state.is_live for run in runs)
    st.fragment(_curves, run_every=REFRESH_S if live else None)(runs, live)
    _differences(runs)
    with st.expander("The same as a command", icon=":material/terminal:"):
        ids = " ".join(run.id for run in runs)
        st.code(f"python -m pmsi runs compare {ids}", language="bash", wrap_lines=True)


# Which runs


def _choose(by_id: dict[str, Run]) -> list[Run]:
    """Let the visitor choose the runs; those of the URL come first."""
    wanted = [id for id in choice("runs").split(",") if id]
    if moved("runs") or KEY not in st.session_state:
        st.session_state[KEY] = [id for id in dict.fromkeys(wanted) if id in by_id][:MOST]
        gone = [id for id in wanted if id not in by_id]
        if gone:
            st.caption(f"Not here, or no training run: {plain(', '.join(gone))}.")
    names = {id: name_of_run(run) for id, run in by_id.items()}
    picked = st.session_state[KEY]
    first = by_id[picked[0]] if picked else None
    fitting = by_id.values() if first is None or any_run() else comparable(first, by_id.values())
    options = [id for id, run in by_id.items() if run in fitting or id in picked]
    ids = st.multiselect(
        "Runs", options, key=KEY, format_func=names.get, placeholder="Choose runs", max_selections=MOST
    )
    if first is not None and (any_run() or len(options) < len(by_id)):
        any_run_box()
    _keep(ids)
    return [by_id[id] for id in ids]


def _keep(ids: Sequence[str]) -> None:
    keep("runs", ",".join(ids))
    if not ids:
        st.query_params["runs"] = ""  # still this view


def _add(id: str) -> None:
    st.session_state[KEY] = [*st.session_state[KEY], id][-MOST:]


def _offer_baseline(runs: Sequence[Run], by_id: dict[str, Run]) -> None:
    if any(getattr(run.config, "method", "") == "baseline" for run in runs):
        return
    beside = baseline_for(runs[0], (run for run in by_id.values() if scores_of(run) is not None))
    if beside is not None:
        words = f"Add the baseline: {plain(name_of_run(beside))}"
        st.button(words, icon=":material/add:", on_click=_add, args=(beside.id,))


# Curves and numbers


@guarded()
def _curves(runs: Sequence[Run], was_live: bool) -> None:
    colors, names = run_colors(runs), {run.id: name_of_run(run) for run in runs}
    records = {run.id: run.metrics() for run in runs}
    _numbers(runs, colors, names)
    left, right = st.columns(2)
    with left:
        lines = _lines("head", "Test accuracy of", "the output that predicts", records, "epoch", "accuracy")
        figure = runs_figure(lines, colors, names, "accuracy")
        st.plotly_chart(figure, key="runs-accuracy", alt="Test accuracy of each run over the epochs", **CHART)
    with right:
        lines = _lines("phase", "Training loss of", "the last phase", records, "loss", "losses")
        figure = runs_figure(lines, colors, names, "loss")
        st.plotly_chart(figure, key="runs-loss", alt="Training loss of each run over the epochs", **CHART)
    if was_live and not any(run.state.is_live for run in runs):
        st.rerun()


def _lines(
    name: str, label: str, own: str, records: dict[str, list[Record]], kind: str, field: str
) -> dict[str, tuple[list[float], list[float]]]:
    """Let the visitor choose an output or a phase; return the line of each run that has it."""
    found = {id: series(each, kind, field) for id, each in records.items()}
    options = [OWN, *dict.fromkeys(head for lines in found.values() for head in lines)]
    head = remember(st.selectbox, name, OWN, label, options, format_func=lambda head: head or own, width=260)
    lines = {id: each.get(head or next(reversed(each), "")) for id, each in found.items()}
    return {id: line for id, line in lines.items() if line is not None}


def _numbers(runs: Sequence[Run], colors: dict[str, str], names: dict[str, str]) -> None:
    """Show the result of each run in a table; the names are links."""
    head = choice("head") or None
    rows = [[*COLUMNS]]
    for run in runs:
        rows.append([_link(run, colors[run.id], names[run.id]), *map(escape, cells(outcome(run, head)))])
    with st.container(key="sided"):
        st.html(table(rows))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of HTML as a table; the first row and the first column are its heads."""
    head, *others = rows
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    lines = (
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in others
    )
    return f'<table class="sided"><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _link(run: Run, color: str, name: str) -> str:
    """Return a run's name with its colour, as a link that works wherever the app is served."""
    dot = f'<i style="background:{color}"></i>'
    return f'{dot}<a href="runs?run={quote(run.id, safe="")}">{escape(name)}</a>'


def _differences(runs: Sequence[Run]) -> None:
    st.subheader("Settings that differ", anchor=False)
    differing = differing_settings([run.config for run in runs])
    if not differing or len(runs) < 2:
        st.caption("None." if len(runs) > 1 else "There is only one run here.")
        return
    colors, known = run_colors(runs), entries(TrainConfig)
    show: dict[str, Callable[[object], str]] = {name: known[name].show for name in differing}
    columns = [["Setting", *(_link(run, colors[run.id], name_of_run(run)) for run in runs)]]
    for name, values in differing.items():
        columns.append([escape(known[name].label), *(escape(_short(name, show[name](value))) for value in values)])
    with st.container(key="differing"):
        st.html(table(columns if len(runs) <= FEW else _turned(columns)))


def _short(name: str, text: str) -> str:
    """Return a value as it fits into a table: of a path its last part."""
    return Path(text).name if name in ("data", "weights") and "/" in text else text


def _turned(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [list(column) for column in zip(*rows, strict=True)]
