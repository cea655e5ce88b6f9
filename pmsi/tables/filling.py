"""`fill`: a table filled from a runs folder: the mean over seeds in each cell, or the state of its runs.

Accuracies and differences are fractions; only `Printed` is in per cent. Nothing is started or changed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmsi.base.errors import ConfigError, lookup
from pmsi.base.statistics import mean_std
from pmsi.config import TrainConfig, differences
from pmsi.data import open_dataset
from pmsi.runs import Run, State
from pmsi.runs.comparison import chosen_on
from pmsi.runs.record import data_of, record_of
from pmsi.tables.definitions import Cell, Part, Table
from pmsi.tables.matching import SAME_RESULT, Found, OnOtherData, Runs
from pmsi.tables.printed import Place, paper_table

EPOCHS = {
    "last": "last epoch",
    "best": "best epoch by the head that the model predicts with",
}
"""The epochs whose accuracy a table can show."""

ONLY_HEAD = "concat"
"""The column of a system with a single output, as in the paper."""


@dataclass(frozen=True)
class Entry:
    """One cell for one seed.

    ``run`` is the training run's id and ``sweep`` that of its robustness sweep; ``state`` is that of the run which has
    or will have the number, None if there is no run yet. ``value`` is a fraction, or a count.
    """

    seed: int
    run: str | None = None
    sweep: str | None = None
    state: State | None = None
    value: float | None = None
    on_test: bool = False
    """Whether the epoch was chosen on the test images that the number is about, so that it flatters."""


@dataclass(frozen=True)
class FilledCell:
    """A cell with an entry per seed. ``change`` is the mean difference to the line that it is compared with."""

    cell: Cell
    entries: tuple[Entry, ...]
    change: float | None = None

    @property
    def values(self) -> list[float]:
        """The numbers of all seeds that have one."""
        return [entry.value for entry in self.entries if entry.value is not None]

    @property
    def n(self) -> int:
        """How many seeds have a number."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """Their mean; None if there is none yet."""
        return mean_std(self.values)[0] if self.n else None

    @property
    def sd(self) -> float | None:
        """Their sample standard deviation (divisor n − 1); None for fewer than two."""
        return mean_std(self.values)[1] if self.n > 1 else None

    @property
    def printed(self) -> float | None:
        """The paper's number: an accuracy as a fraction, or a count; None if it prints none."""
        if self.cell.printed is None:
            return None
        return self.cell.printed.value / (1 if self.cell.count else 100)

    @property
    def difference(self) -> float | None:
        """Our mean minus the paper's number."""
        return None if self.mean is None or self.printed is None else self.mean - self.printed

    @property
    def states(self) -> tuple[State | None, ...]:
        """The state of each seed's run; None if there is no run."""
        return tuple(entry.state for entry in self.entries)

    @property
    def on_test(self) -> bool:
        """Whether an epoch of any seed was chosen on the test images."""
        return any(entry.on_test for entry in self.entries)

    @property
    def runs(self) -> tuple[str, ...]:
        """The ids of the runs behind the cell, sweeps included."""
        ids = [id for entry in self.entries for id in (entry.run, entry.sweep) if id is not None]
        return tuple(dict.fromkeys(ids))


@dataclass(frozen=True)
class Images:
    """What the runs of one data set were trained and tested on; numbers are None until one has finished.

    Of ``unknown`` runs it is not known whether their images are those: they have no record of their data. ``run`` is
    the one whose counts they are.
    """

    dataset: str
    classes: int | None = None
    train: int | None = None
    test: int | None = None
    unknown: int = 0
    run: str | None = None


@dataclass(frozen=True)
class Filled:
    """A table with what there is of it. ``left_out`` are runs on other data than those of ``images``."""

    table: Table
    seeds: tuple[int, ...]
    epoch: str
    cells: Mapping[Place, FilledCell]
    images: tuple[Images, ...] = ()
    left_out: tuple[OnOtherData, ...] = ()

    @property
    def lines(self) -> tuple[Part, ...]:
        """The table's lines."""
        return self.table.lines

    @property
    def columns(self) -> tuple[Part, ...]:
        """The table's columns."""
        return self.table.columns

    @property
    def protocol(self) -> dict[str, Any]:
        """The settings in which the base differs from the paper's, without those that cannot change a result."""
        changes = differences(self.table.base)
        return {name: value for name, value in changes.items() if name not in ("seed", "data", *SAME_RESULT)}

    @property
    def is_the_papers(self) -> bool:
        """Whether data and recipe are the paper's."""
        recipe = {name: value for name, value in self.protocol.items() if name != "dataset"}
        own = paper_table(self.table.number).dataset
        return not recipe and all(_are_the_papers(images) and own in (None, images.dataset) for images in self.images)

    @property
    def is_complete(self) -> bool:
        """Whether every run that the table needs has finished."""
        return all(state is State.FINISHED for cell in self.cells.values() for state in cell.states)


def _are_the_papers(images: Images) -> bool:
    printed = paper_table("1").cells
    return all(
        (images.dataset, count) in printed and printed[images.dataset, count].value == getattr(images, count)
        for count in ("classes", "train", "test")
    )


def check_epoch(table: Table, epoch: str) -> None:
    """Raise ConfigError if a table cannot show an epoch: perturbed accuracies exist for the last epoch only."""
    lookup("epoch", EPOCHS, epoch)
    if epoch != "last" and any(line.perturbation for line in table.lines):
        raise ConfigError(f"epoch = {epoch!r}: {table.title} perturbs the model of the last epoch. Choose last.")


def seeds_from(base: TrainConfig, n: int) -> tuple[int, ...]:
    """Return the n seeds that start with the base's."""
    return tuple(range(base.seed, base.seed + n))


def fill(table: Table, root: Path, seeds: Iterable[int] | None = None, *, epoch: str = "last") -> Filled:
    """Return ``table`` filled from the runs folder ``root`` for these seeds, by default the base's.

    ``epoch`` is a key of `EPOCHS`. Raises ConfigError if the table cannot show it.
    """
    check_epoch(table, epoch)
    chosen = tuple(dict.fromkeys((table.base.seed,) if seeds is None else seeds))
    if table.number == "1":
        return _statistics(table, chosen, epoch, root)
    runs = Runs(root)
    trainings = runs.trainings(config.with_(seed=seed) for config in table.configs for seed in chosen)
    found = trainings.found
    entries = {
        place: tuple(_entry(cell, seed, found[cell.config.with_(seed=seed)], runs, epoch) for seed in chosen)
        for place, cell in table.cells.items()
    }
    against = {line.key: line.against for line in table.lines}
    cells = {
        place: FilledCell(cell, entries[place], _change(entries, place, against[cell.line]))
        for place, cell in table.cells.items()
    }
    return Filled(table, chosen, epoch, cells, _images(table, found), trainings.left_out)


def _entry(cell: Cell, seed: int, trained: Found | None, runs: Runs, epoch: str) -> Entry:
    if trained is None:
        return Entry(seed)
    entry = Entry(seed, trained.run.id, None, trained.state)
    if trained.state is not State.FINISHED:
        return entry
    if cell.perturbation is None:
        value = accuracy(trained.result, cell.head, epoch)
        flatters = epoch == "best" and value is not None and bool(chosen_on(trained.result["best"]))
        return Entry(seed, trained.run.id, None, trained.state, value, flatters)
    sweep = runs.sweep(trained, cell)
    if sweep is None:
        return Entry(seed, trained.run.id)
    value = _perturbed(sweep.result, trained.run.id, cell) if sweep.state is State.FINISHED else None
    return Entry(seed, trained.run.id, sweep.run.id, sweep.state, value)


def accuracy(result: Mapping[str, Any], head: str | None, epoch: str = "last") -> float | None:
    """Return the accuracy of a head in a training run's result; None for ``head`` is the primary one.

    A system with one output has it in the column "concat". Returns None if the run has no such head.
    """
    try:
        heads, primary = result[epoch]["accuracy"], result["best"]["by"]
    except (KeyError, TypeError):
        return None
    if head is None or (head == ONLY_HEAD and len(heads) == 1):
        head = primary
    value = heads.get(head)
    return float(value) if isinstance(value, (int, float)) else None


def _perturbed(result: Mapping[str, Any], id: str, cell: Cell) -> float | None:
    for record in result.get("cells", ()):
        if (record["perturbation"], record["severity"]) == (cell.perturbation, cell.severity) and id in record["runs"]:
            about = record["runs"][id]
            return float(about["heads"][cell.head or about["primary"]]["accuracy"])
    return None


def _change(entries: Mapping[Place, Sequence[Entry]], place: Place, against: str | None) -> float | None:
    """Return the mean over seeds of the cell's number minus that of the line ``against`` in its column."""
    others = entries.get((against, place[1]), ()) if against else ()
    pairs = zip(entries[place], others, strict=False)
    changes = [a.value - b.value for a, b in pairs if a.value is not None and b.value is not None]
    return math.fsum(changes) / len(changes) if changes else None


def _images(table: Table, found: Mapping[TrainConfig, Found | None]) -> tuple[Images, ...]:
    """Return what the finished runs say about their data sets, in the order of the table."""
    finished: dict[str, list[Run]] = {name: [] for name in table.sets}
    for config, each in found.items():
        if each is not None and each.state is State.FINISHED:
            finished[config.dataset].append(each.run)
    return tuple(_images_of(name, runs) for name, runs in finished.items())


def _images_of(dataset: str, runs: Sequence[Run]) -> Images:
    recorded = [run for run in runs if record_of(run) is not None]
    if not runs:
        return Images(dataset)
    of = (recorded or runs)[0]  # all that are recorded agree
    about = data_of(of)
    classes = None if about.classes is None else len(about.classes)
    return Images(dataset, classes, about.train, about.test, len(runs) - len(recorded), of.id)


def _statistics(table: Table, seeds: tuple[int, ...], epoch: str, root: Path) -> Filled:
    """Fill Table I with the counts of the newest finished run on each data set; where there is none, open the set."""
    runs, images = Runs(root), {}
    for cell in table.cells.values():
        if cell.line not in images:
            run = runs.newest_on(cell.config)
            images[cell.line] = _opened(cell) if run is None else _images_of(cell.line, [run])
    counted = {
        place: FilledCell(
            cell, (Entry(seeds[0], state=State.FINISHED, value=getattr(images[cell.line], str(cell.count))),)
        )
        for place, cell in table.cells.items()
    }
    return Filled(table, seeds, epoch, counted, tuple(images.values()))


def _opened(cell: Cell) -> Images:
    dataset = open_dataset(cell.config)
    return Images(cell.line, len(dataset.classes), len(dataset.train), len(dataset.test))
