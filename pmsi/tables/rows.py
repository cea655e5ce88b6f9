"""The text of a table: rows of short texts, and notes on how to read them.

Fractions become per cent and points here. Below each line of ours stand the paper's number and the difference.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pmsi.perturbations import PERTURBATIONS
from pmsi.runs import State
from pmsi.tables.definitions import LEGACY, Part, set_title
from pmsi.tables.filling import EPOCHS, Filled, FilledCell, Images
from pmsi.tables.matching import OnOtherData
from pmsi.tables.printed import paper_table

NOT_RUN, NO_OUTPUT = "not run", "–"
"""The text of a cell without a run, and of one whose finished run has no such output."""

ON_TEST = "†"
"""The mark of a number whose epoch was chosen on the test images."""

URGENCY = (State.FAILED, State.INTERRUPTED, State.STOPPED, State.RUNNING, State.STOPPING, State.QUEUED)
"""A cell of several seeds shows the first of these states that one of its runs has."""


@dataclass(frozen=True)
class Row:
    """A row: its label, one text per column, and whether these are our own numbers."""

    label: str
    texts: tuple[str, ...]
    is_ours: bool = False


def rows(filled: Filled) -> list[Row]:
    """Return the rows: for each line our numbers, then change, paper and difference if there are any."""
    titles = {line.key: line.title for line in filled.lines}
    found = []
    for line in filled.lines:
        found.append(_row(filled, line, line.title, cell_text, is_ours=True))
        kinds: list[tuple[str, Callable[[FilledCell], str]]] = [("paper", _paper), ("difference", _difference)]
        if line.against:
            kinds.insert(0, (f"against {titles[line.against]}", lambda cell: _points(cell.change)))
        extra = [_row(filled, line, f"  {label}", text) for label, text in kinds]
        found += [row for row in extra if any(row.texts)]
    return found


def _row(filled: Filled, line: Part, label: str, text: Callable[[FilledCell], str], *, is_ours: bool = False) -> Row:
    cells = [filled.cells.get((line.key, column.key)) for column in filled.columns]
    return Row(label, tuple("" if cell is None else text(cell) for cell in cells), is_ours)


def cell_text(cell: FilledCell) -> str:
    """Return a cell's text: mean ± standard deviation, how many seeds are there, or the state of its run."""
    state = next((state for state in URGENCY if state in cell.states), None)
    if cell.mean is None:
        nothing = NO_OUTPUT if State.FINISHED in cell.states else NOT_RUN
        return nothing if state is None else state.value
    text = f"{cell.mean:.0f}" if cell.cell.count else f"{100 * cell.mean:.1f}"
    text += "" if cell.sd is None else f" ± {100 * cell.sd:.1f}"
    text += ON_TEST if cell.on_test else ""
    if cell.n < len(cell.entries):
        text += f" ({cell.n} of {len(cell.entries)}" + (f", {state.value})" if state else ")")
    return text


def _paper(cell: FilledCell) -> str:
    printed = cell.cell.printed
    if printed is None:
        return ""
    if cell.cell.count:
        return f"{printed.value:.0f}"
    change = "" if printed.change is None else f" ({_signed(printed.change)}{'*' if printed.note else ''})"
    return f"{printed.value:.1f}{change}"


def _difference(cell: FilledCell) -> str:
    if cell.cell.count and cell.difference is not None:
        return f"{cell.difference:+z.0f}".replace("-", "−")
    return _points(cell.difference)


def _points(fraction: float | None) -> str:
    return "" if fraction is None else _signed(100 * fraction)


def _signed(points: float) -> str:
    text = f"{points:+z.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def title(filled: Filled) -> str:
    """Return the table's number and caption, as in the paper."""
    return f"{filled.table.title}. {filled.table.caption}"


def notes(filled: Filled) -> list[str]:
    """Return the notes of a table: what it shows, what its numbers are, the protocol, the data, the misprints."""
    counts = filled.table.number == "1"
    found = [finding(filled), *([] if counts else [_what(filled), _protocol(filled)])]
    found += [_data(images, counts) for images in filled.images]
    found += [_left_out(images, filled.left_out) for images in filled.images if _of(images, filled.left_out)]
    if any(line.perturbation == LEGACY for line in filled.lines):
        row = PERTURBATIONS[LEGACY]
        found.append(f"{row.title}: {row.help} The paper does not say how it adds noise.")
    if any(cell.printed is not None for cell in filled.cells.values()):
        unit = "" if counts else ", in points"
        unlike = ""
        if not (filled.is_the_papers or counts):
            unlike = " Our data or recipe is not the paper's, so a difference compares two different experiments."
        found.append(f"Paper: the paper's printed number. Difference: ours minus the paper's{unit}.{unlike}")
    misprints = [
        cell.cell.printed.note for cell in filled.cells.values() if cell.cell.printed and cell.cell.printed.note
    ]
    flatters = any(cell.on_test for cell in filled.cells.values())
    found += [f"{ON_TEST} Epoch chosen on the test images, for want of a validation part: it flatters."] * flatters
    return found + [f"* A misprint of the paper: {note}." for note in misprints]


def finding(filled: Filled) -> str:
    """Return in a sentence what a table's own numbers show, and how large chance may be in them."""
    known = [cell for cell in filled.cells.values() if cell.mean is not None]
    if not known:
        return "There is no number of ours yet."
    if known[0].cell.count:
        return _most(filled)
    compared = [cell for cell in known if cell.change is not None]
    shown = _changes(filled, compared) if any(line.against for line in filled.lines) else _best(filled, known)
    return shown or f"{len(known)} of {len(filled.cells)} cells have a number: there is nothing to compare yet."


def _most(filled: Filled) -> str:
    """Return which line has the most of what each column counts."""
    titles, found = {line.key: line.title for line in filled.lines}, []
    for column in filled.columns:
        counts = {key: cell.mean for (key, of), cell in filled.cells.items() if of == column.key and cell.mean}
        if len(counts) > 1:
            line = max(counts, key=counts.__getitem__)
            found.append(f"{titles[line]} has the most {column.title} ({counts[line]:,.0f})")
    return f"{'; '.join(found)}." if found else "One data set can be counted here."


def _changes(filled: Filled, compared: Sequence[FilledCell]) -> str:
    """Return how many comparisons with another line rise, and how far the changes reach."""
    if not compared:
        return ""
    lines, columns = ({part.key: part.title for part in parts} for parts in (filled.lines, filled.columns))
    changes = [(cell.change or 0.0, f"{lines[cell.cell.line]}, {columns[cell.cell.column]}") for cell in compared]
    (low, first), (high, last) = min(changes), max(changes)
    if len(changes) == 1:
        return f"One comparison: {_points(low)} points ({first}).{_chance(filled, compared)}"
    up = sum(change > 0 for change, _ in changes)
    reach = f"from {_points(low)} ({first}) to {_points(high)} points ({last})"
    return f"{up} of {len(changes)} comparisons rise: {reach}.{_chance(filled, compared)}"


def _best(filled: Filled, known: Sequence[FilledCell]) -> str:
    """Return the best line of the last column in which two have a number, with its lead."""
    for column in reversed(filled.columns):
        cells = [cell for cell in known if cell.cell.column == column.key]
        if len(cells) > 1:
            titles = {line.key: line.title for line in filled.lines}
            first, second, *_ = sorted(cells, key=lambda cell: -(cell.mean or 0.0))
            last = min(cells, key=_mean)
            best, next_, least = (titles[cell.cell.line] for cell in (first, second, last))
            said = f"{best} is best ({column.title}: {100 * _mean(first):.1f} %)"
            more = f" and {_lead(first, last)} above {least}" if len(cells) > 2 else ""
            return f"{said}, {_lead(first, second)} points above {next_}{more}.{_chance(filled, cells)}"
    return ""


def _mean(cell: FilledCell) -> float:
    return cell.mean or 0.0


def _lead(first: FilledCell, second: FilledCell) -> str:
    return f"{100 * (_mean(first) - _mean(second)):.1f}"


def _chance(filled: Filled, cells: Sequence[FilledCell]) -> str:
    """Return how far two accuracies can be apart by the choice of test images alone, where their number is known."""
    tests = [images.test for images in filled.images if images.test]
    if not tests:
        return ""
    shares = [_mean(cell) for cell in cells]
    error = max(math.sqrt(2 * share * (1 - share) / min(tests)) for share in shares)
    few = " and one seed" if len(filled.seeds) == 1 else ""
    return f" With {min(tests):,} test images{few}, less than {196 * error:.1f} points may be chance."


def _what(filled: Filled) -> str:
    listed = ", ".join(map(str, filled.seeds))
    many = len(filled.seeds) > 1
    over = f"mean ± standard deviation of {len(filled.seeds)} seeds ({listed})" if many else f"one seed ({listed})"
    own = "" if any(column.head for column in filled.columns) else " of the head that each model predicts with"
    return f"Ours: accuracy{own} on the test images in per cent, {EPOCHS[filled.epoch]}; {over}."


def _protocol(filled: Filled) -> str:
    changes = {name: value for name, value in filled.protocol.items() if name != "dataset"}
    if "weights" in changes:  # the folder differs between machines
        changes["weights"] = Path(changes["weights"]).name
    listed = ", ".join(f"{name} = {value}" for name, value in changes.items())
    return f"Protocol: the paper's, but {listed}." if listed else "Protocol: the paper's."


def _data(images: Images, counts: bool) -> str:
    if images.classes is None:
        return f"Data: {set_title(images.dataset)}; no run has finished yet."
    paper = paper_table("1").cells
    printed = [paper.get((images.dataset, count)) for count in ("classes", "train", "test")]
    beside = ", ".join(f"{number.value:.0f}" for number in printed if number)
    text = (
        f"Data: {set_title(images.dataset)}, {images.classes} classes, {images.train} training and {images.test} test"
    )
    text += " images" + (f" (the paper: {beside})" if beside else "")
    if counts:
        return f"{text}, as run {images.run} used it." if images.run else f"{text}."
    unknown = f" Of {images.unknown} of its runs the data are unknown: they have no record." if images.unknown else ""
    return f"{text}.{unknown}"


def _of(images: Images, left_out: Sequence[OnOtherData]) -> list[OnOtherData]:
    return [each for each in left_out if each.dataset == images.dataset]


def _left_out(images: Images, left_out: Sequence[OnOtherData]) -> str:
    """Return how many runs are left out, and why the first of them is."""
    mine = _of(images, left_out)
    count = "1 run is" if len(mine) == 1 else f"{len(mine)} runs are"
    of = f"{set_title(images.dataset)}, not being on the data of the newest"
    return f"{count} left out of {of}. {' '.join(mine[0].reasons)}"
