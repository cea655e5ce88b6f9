"""The Tables page: a table of the paper, filled from the runs, beside the printed numbers."""

from collections.abc import Mapping
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from app.shared.access import PlaceError, check_place
from app.shared.charts import paired_bars
from app.shared.errors import error_panel, guarded, plain
from app.shared.glossary import meaning
from app.shared.images import download
from app.shared.palette import CHART
from app.shared.session import choice, keep, moved, relabel, remember, switch
from app.views.tables.protocols import (
    Protocol,
    absent_weights,
    as_typed,
    command_of,
    counts_once,
    protocols_once,
    seeds_to_show,
    titles,
)
from app.views.tables.queue import queue_panel, runs_of
from app.views.tables.table_html import BOX, table_html
from pmsi.base.errors import PMSIError
from pmsi.config import TrainConfig
from pmsi.data import DATASETS
from pmsi.runs import State, default_root
from pmsi.tables import EPOCHS, FORMATS, TABLES, Filled, Sets, Table, expand, fill
from pmsi.tables.definitions import PAPER_SETS
from pmsi.tables.rows import notes

REFRESH_S = 2.0

INTRO = "Filled from the runs of this machine, beside the paper's printed numbers. A click on a number opens its run."
PROTOCOL = (
    "The protocol is what all runs of the table have in common: data, network, size and recipe. Only runs that "
    "agree in all of it are compared. A preset, or the settings of another run, can start a new table. The best epoch "
    "is chosen by the head that the model predicts with: on a run's validation part, or, where it has none, on the "
    "test images, which flatters."
)
FIRST = "3"
WEIGHTS = "weights-file"
"""In the URL: the file of the starting weights that was typed."""
EPOCH_TITLES = {"last": "Last epoch", "best": "Best epoch"}
FILES = {"csv": ("CSV", "csv"), "markdown": ("Markdown", "md"), "latex": ("LaTeX", "tex")}
"""Formats that are offered as a file: title and suffix."""


def page() -> None:
    """Draw the page."""
    st.title("The paper's tables", anchor=False, help=f"{meaning('M, P, R', 'head', 'baseline')}\n\n{PROTOCOL}")
    number = _number()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        protocol = _protocol(number)
        epoch = _epoch() if _has_epochs(number) else "last"
        more = st.container()
    with more:
        table = _table(number, protocol)
    live = any(run.state.is_live for run in runs_of(table))
    st.fragment(_body, run_every=REFRESH_S if live else None)(table, epoch, live)


# What is shown


def _number() -> str:
    return str(switch("table", FIRST, "Table", {number: row.short for number, row in TABLES.items()}))


def _protocol(number: str) -> Protocol:
    """Let the visitor choose what the runs of the table have in common; the fullest is offered first."""
    choices = protocols_once(number)
    default = next(iter(choices))
    if len(choices) == 1:
        return choices[default]
    absent = moved("protocol") and choice("protocol") not in choices
    names = titles(default_root(), number, choices)
    relabel("protocol")
    key = remember(
        st.selectbox,
        "protocol",
        default,
        "Protocol",
        list(choices),
        format_func=names.__getitem__,
        label_visibility="collapsed",
        width=640,
    )
    if absent:
        st.caption("The protocol that the link names has no runs here; the fullest one is shown.")
    keep("protocol", key)  # also the first one, which is another one as soon as somebody starts a run
    return choices[key]


def _table(number: str, protocol: Protocol) -> Table:
    """Return the table of a protocol, with the folders that are typed where its data sets have none."""
    base, sets = protocol.base, dict(protocol.sets)
    if TABLES[number].compares_sets:
        absent = [name for name in PAPER_SETS if not sets.get(name)]
        if absent:
            with st.popover("More data sets", icon=":material/folder_open:"):
                sets |= {name: folder for name in absent if (folder := _folder(name))}
    elif DATASETS[base.dataset].needs_folder and not base.data:
        base = base.with_(data=_folder(base.dataset) or None)
    table = expand(number, base, sets)
    if not table.configs:
        return expand(number, base, _countable(table))
    if choice(WEIGHTS) or absent_weights(table.configs):
        with st.popover("Weights", icon=":material/folder_open:"):
            table = expand(number, base.with_(weights=_weights_file() or base.weights), sets)
    return table


def _countable(table: Table) -> Sets:
    """Return the data sets of Table I that can be opened; of any other, say why not."""
    good = {}
    for name, data in table.sets.items():
        try:
            counts_once(expand(table.number, table.base, {name: data}))
        except PMSIError as error:
            error_panel(error)
        else:
            good[name] = data
    return good


def _folder(dataset: str) -> str:
    """Ask for the folder of a data set; it is kept in the URL."""
    row = DATASETS[dataset]
    return _typed_place(f"{dataset}-folder", f"Folder of {row.title}", "/path/to/the/folder", row.help)


def _typed_place(name: str, label: str, example: str, help: str) -> str:
    """Ask for a path that visitors may use; it is kept in the URL. Empty where there is none or it is refused."""
    typed = remember(st.text_input, name, "", label, placeholder=example, help=help)
    try:
        if typed:
            check_place(typed)
    except PlaceError as error:
        error_panel(error)
        return ""
    return typed


def _weights_file() -> str:
    """Ask for the file of weights that runs start from, where those of the protocol are gone; it is kept in the URL."""
    help = "`{backbone}` in it stands for each network's name. Runs that start from another file are other runs."
    return _typed_place(WEIGHTS, "File of the starting weights", "/path/to/weights.safetensors", help)


def _has_epochs(number: str) -> bool:
    """Say whether a table can show another epoch than the last, whose model is the one that is perturbed."""
    table = expand(number, TrainConfig())
    return bool(table.configs) and not any(line.perturbation for line in table.lines)


def _epoch() -> str:
    return str(
        remember(
            st.selectbox,
            "epoch",
            "last",
            "Accuracy of the",
            list(EPOCHS),
            format_func=EPOCH_TITLES.__getitem__,
            label_visibility="collapsed",
            width=150,
        )
    )


# The table


@guarded()
def _body(table: Table, epoch: str, was_live: bool) -> None:
    """Draw what moves; once nothing is live any more, the page is drawn again without the clock."""
    filled = _filled(table, epoch)
    said, *others = notes(filled)
    own = table.configs and not filled.is_the_papers
    badge = "<span>Not the paper's data or recipe</span>" if own else ""
    heading = f'<b role="heading" aria-level="2">{escape(f"{table.title}. {table.caption}", quote=False)}</b>'
    st.html(f'<p class="finding">{heading} {escape(said, quote=False)} {badge}</p>')
    _chart(filled)
    with st.container(key=BOX):
        st.html(table_html(filled, _shares(table)))
    st.caption("  \n".join([INTRO, *(plain(note) for note in others)]))
    seeds = queue_panel(table) if table.configs else filled.seeds
    _exports(table, epoch, seeds)
    if was_live and not any(run.state.is_live for run in runs_of(table)):
        st.rerun()


def _filled(table: Table, epoch: str) -> Filled:
    if not table.configs:
        return counts_once(table)
    root = default_root()
    return fill(table, root, seeds_to_show(root, table), epoch=epoch)


def _shares(table: Table) -> dict[str, float]:
    """Return by id how much of each running run is done."""
    statuses = {run.id: run.status() for run in runs_of(table) if run.state is State.RUNNING}
    return {id: status.share for id, status in statuses.items() if status.total}


def _fig_1(filled: Filled) -> None:
    """Draw a figure for each data set: the two bars of each backbone."""
    titles = {line.key: line.title for line in filled.lines}
    pairs = [(line.against, line.key) for line in filled.lines if line.against]
    for place, column in zip(st.columns(len(filled.columns), gap="medium"), filled.columns, strict=True):
        cells = [tuple(filled.cells.get((line, column.key)) for line in pair) for pair in pairs]
        with place:
            st.markdown(f"**{column.title}**")
            figure = paired_bars([titles[first] for first, _ in pairs], cells)
            alt = f"Accuracy of each backbone with and without RMG-PMSI on {column.title}; the numbers are in the table"
            st.plotly_chart(figure, key=f"bars-{column.key}", alt=alt, **CHART)


CHARTS: Mapping[str, Any] = {"fig1": _fig_1}
"""What is drawn above a table, by its number."""


def _chart(filled: Filled) -> None:
    draw = CHARTS.get(filled.table.number)
    if draw and any(cell.mean is not None or cell.printed is not None for cell in filled.cells.values()):
        draw(filled)


# To take away


def _exports(table: Table, epoch: str, seeds: tuple[int, ...]) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        for name, (title, suffix) in FILES.items():
            download(title, partial(_laid_out, name, table, epoch), f"table-{table.number}.{suffix}")
    with st.expander("The same as a command", icon=":material/terminal:"):
        st.caption("It queues what is missing, watches it, and prints the table. With --show it only prints.")
        st.code(as_typed(command_of(table, seeds, default_root(), epoch)), language="bash", wrap_lines=True)


def _laid_out(name: str, table: Table, epoch: str) -> str:
    """Return the table as it is when the file is asked for."""
    return FORMATS[name](_filled(table, epoch))
