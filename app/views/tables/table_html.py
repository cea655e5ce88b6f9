"""A filled table as HTML: our numbers, each a link to its run, and the paper's below (rows: `pmsi.tables.rows`)."""

from collections.abc import Iterator, Mapping
from html import escape
from urllib.parse import quote

from pmsi.runs import State
from pmsi.tables import Entry, Filled, FilledCell
from pmsi.tables.rows import NO_OUTPUT, URGENCY, Row, rows, title

BOX = "paper-table"
"""Key of the table's container, which scrolls sideways and keeps its position."""

WIDEST = 9
"""Numbers in a line that a wide window has room for, one beside the other."""

STEP = 5
"""Progress is shown in steps of this many per cent, so that the table seldom changes."""

BESIDE = ("against", "paper", "difference")
"""Numbers beside ours, by the first word of their row's label."""

BAD = (State.FAILED, State.INTERRUPTED, State.STOPPED)


def table_html(filled: Filled, shares: Mapping[str, float]) -> str:
    """Return the table; ``shares`` says by id how much of a running run is done.

    Where a line has few numbers there are two of it, and the width of the window decides which is shown: with the
    paper's numbers beside ours, or below them.
    """
    head = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in filled.columns)
    return (
        f'{_wide(filled, shares)}<table class="numbers" aria-label="{escape(title(filled))}"><thead><tr>'
        f'<th scope="col"></th>{head}</tr></thead>{"".join(_lines(filled, shares))}</table>'
    )


def _wide(filled: Filled, shares: Mapping[str, float]) -> str:
    """Return the table with one row for each line, or nothing where there would be too many numbers in it."""
    blocks = _blocks(filled)
    kinds = [kind for kind in BESIDE if any(kind in more for _, more in blocks)]
    if not kinds or (1 + len(kinds)) * len(filled.columns) > WIDEST:
        return ""
    span = f'<th scope="colgroup" colspan="{1 + len(kinds)}" data-first>'
    names = "".join(f'<th scope="col">{escape(_kind(kind, blocks))}</th>' for kind in kinds)
    names = f'<th scope="col" data-first>ours</th>{names}'
    heads = "".join(f"{span}{escape(column.title)}</th>" for column in filled.columns)
    body = ""
    for line, (ours, more) in zip(filled.lines, blocks, strict=True):
        body += f'<tr class="line"><th scope="row">{escape(ours.label)}</th>'
        for place, column in enumerate(filled.columns):
            cell = _cell(filled.cells.get((line.key, column.key)), ours.texts[place], shares, " data-first")
            body += cell
            body += "".join(f'<td class="aside">{escape(_text(more.get(kind), place))}</td>' for kind in kinds)
        body += "</tr>"
    return (
        f'<table class="numbers wide" aria-label="{escape(title(filled))}"><thead><tr><th rowspan="2"></th>{heads}</tr>'
        f"<tr>{names * len(filled.columns)}</tr></thead><tbody>{body}</tbody></table>"
    )


def _blocks(filled: Filled) -> list[tuple[Row, dict[str, Row]]]:
    """Return for each line the row of ours, and by the first word of their labels those that belong to it."""
    blocks: list[tuple[Row, dict[str, Row]]] = []
    for row in rows(filled):
        if row.is_ours:
            blocks.append((row, {}))
        else:
            blocks[-1][1][row.label.split()[0]] = row
    return blocks


def _kind(kind: str, blocks: list[tuple[Row, dict[str, Row]]]) -> str:
    """Return the head of a kind of number: its rows' label, or what they are where each is against another line."""
    labels = {more[kind].label.strip() for _, more in blocks if kind in more}
    return labels.pop() if len(labels) == 1 else "change"


def _text(row: Row | None, place: int) -> str:
    return "" if row is None else row.texts[place]


def _lines(filled: Filled, shares: Mapping[str, float]) -> Iterator[str]:
    """Yield each line of the table with the rows that belong to it."""
    lines, body = iter(filled.lines), ""
    for row in rows(filled):
        if row.is_ours:
            if body:
                yield f"<tbody>{body}</tbody>"
            key = next(lines).key
            cells = [filled.cells.get((key, column.key)) for column in filled.columns]
            body = _row("ours", row, [_cell(cell, text, shares) for cell, text in zip(cells, row.texts, strict=True)])
        else:
            body += _row("more", row, [f"<td>{escape(text)}</td>" for text in row.texts])
    yield f"<tbody>{body}</tbody>"


def _row(kind: str, row: Row, cells: list[str]) -> str:
    return f'<tr class="{kind}"><th scope="row">{escape(row.label.strip())}</th>{"".join(cells)}</tr>'


def _cell(cell: FilledCell | None, text: str, shares: Mapping[str, float], mark: str = "") -> str:
    """Return a cell of ours: its number or its state, and the way to each of its runs; ``mark`` is an attribute."""
    if cell is None:
        return f"<td{mark}></td>"
    known = [entry for entry in cell.entries if run_behind(entry)]
    if not known or text == NO_OUTPUT:
        return f'<td{mark} class="{"none" if cell.mean is None else ""}">{escape(text)}</td>'
    text += _progress(known, shares)
    if len(cell.entries) == 1:
        return f'<td{mark} class="{_look(cell)}">{_link(known[0], text, "")}</td>'
    seeds = " ".join(_link(entry, str(entry.seed), f"Seed {entry.seed}: ") for entry in known)
    count = f"n = {cell.n}, " if cell.n else ""
    word = "seed" if len(known) == 1 else "seeds"
    return f'<td{mark} class="{_look(cell)}">{escape(text)}<span class="seeds">{count}{word} {seeds}</span></td>'


def run_behind(entry: Entry) -> str | None:
    """Return the id of the run that a number comes from, or will; None where there is none yet."""
    if entry.state is None:
        return None
    return entry.sweep or entry.run


def _progress(known: list[Entry], shares: Mapping[str, float]) -> str:
    """Return how far the run is that is worked on, in steps that do not make a table flicker."""
    share = next((shares[id] for entry in known if (id := run_behind(entry)) in shares), None)
    return "" if share is None else f" {100 * share // STEP * STEP:.0f} %"


def _look(cell: FilledCell) -> str:
    state = next((state for state in URGENCY if state in cell.states), None)
    if cell.n or state is None:
        return "" if cell.n else "none"
    return "bad" if state in BAD else "busy"


def _link(entry: Entry, text: str, about: str) -> str:
    """Return a link to a run: relative, so that it works wherever the app is served."""
    state = "" if entry.state is None else entry.state.value
    hint = escape(f"{about}open the {state} run")
    return f'<a href="runs?run={quote(run_behind(entry) or "", safe="")}" title="{hint}">{escape(text)}</a>'
