"""The runs that a table needs, those that exist, and `start`, which queues the others.

A table needs training runs, and robustness sweeps of them for its perturbed cells.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pmsi.base.locks import locked
from pmsi.config import Config, RobustnessConfig, TrainConfig
from pmsi.runs import Run, State, jobs
from pmsi.tables import Cell, Table
from pmsi.tables.matching import Found, Runs

KINDS = {
    "finished": (State.FINISHED,),
    "queued or running": (State.QUEUED, State.RUNNING, State.STOPPING),
    "to be resumed": (State.STOPPED, State.FAILED, State.INTERRUPTED),
    "to be made": (None, State.CREATED),
}
"""States by the words in which needed runs are counted."""


@dataclass(frozen=True)
class Needed:
    """A run that the table needs, and the existing one, if any. ``config`` is None until its models are trained."""

    config: Config | None
    found: Found | None

    @property
    def state(self) -> State | None:
        """The state of the run; None if it does not exist."""
        return None if self.found is None else self.found.state


@dataclass(frozen=True)
class NeededTraining(Needed):
    """A training run that the table needs."""

    config: TrainConfig


@dataclass(frozen=True)
class NeededSweep(Needed):
    """A robustness sweep that the table needs: one perturbation, for the training runs of one seed and data set."""

    trained: tuple[TrainConfig, ...] = ()


@dataclass(frozen=True)
class NeededRuns:
    """The runs that a table needs, seed by seed, so that one seed is complete before the next begins."""

    trainings: tuple[NeededTraining, ...]
    sweeps: tuple[NeededSweep, ...]

    @property
    def all(self) -> tuple[NeededTraining | NeededSweep, ...]:
        """Training runs, then the sweeps of them."""
        return (*self.trainings, *self.sweeps)

    @property
    def is_complete(self) -> bool:
        """Whether all runs have finished."""
        return all(each.state is State.FINISHED for each in self.all)

    @property
    def found(self) -> list[Found]:
        """The runs that exist."""
        return [each.found for each in self.all if each.found is not None]

    @property
    def live(self) -> list[Run]:
        """The runs that are queued or running."""
        return [found.run for found in self.found if found.state.is_live]


def needed_runs(table: Table, root: Path, seeds: Sequence[int]) -> NeededRuns:
    """Return the runs that ``table`` needs for these seeds, with those that the runs folder ``root`` has."""
    runs = Runs(root)
    trainings = runs.trainings(config.with_(seed=seed) for seed in seeds for config in table.configs).found
    sweeps = [_sweep(runs, cells, seed, trainings) for seed in seeds for cells in _perturbed(table)]
    return NeededRuns(tuple(NeededTraining(config, found) for config, found in trainings.items()), tuple(sweeps))


def _perturbed(table: Table) -> Iterable[list[Cell]]:
    """Return the perturbed cells, grouped by data set and perturbation."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in table.cells.values():
        if cell.perturbation:
            groups.setdefault((cell.config.dataset, cell.perturbation), []).append(cell)
    return groups.values()


def _sweep(runs: Runs, cells: Sequence[Cell], seed: int, trainings: Mapping[TrainConfig, Found | None]) -> NeededSweep:
    """Return the sweep of some cells for one seed; if several runs have the cells, one that has not finished."""
    trained = tuple(cell.config.with_(seed=seed) for cell in cells)
    ready = [found for config in trained if (found := trainings[config]) and found.state is State.FINISHED]
    if len(ready) < len(cells):
        return NeededSweep(None, None, trained)
    sweeps = [runs.sweep(found, cell) for found, cell in zip(ready, cells, strict=True)]
    behind = [found for found in sweeps if found is None or found.state is not State.FINISHED]
    first, ids = cells[0], tuple(found.run.id for found in ready)
    return NeededSweep(_sweep_config(first, ids), (behind or sweeps)[0], trained)


def _sweep_config(cell: Cell, of: tuple[str, ...]) -> RobustnessConfig:
    assert cell.perturbation is not None
    compute = {name: getattr(cell.config, name) for name in ("device", "threads", "workers")}
    return RobustnessConfig(of=of, perturbations=(cell.perturbation,), severities=(cell.severity,), **compute)


def start(table: Table, root: Path, seeds: tuple[int, ...], launcher: str, started: set[str]) -> NeededRuns:
    """Queue the runs that can start now and are not in ``started``, add their ids to it, and return the needed runs.

    A lock on the runs folder ensures that two processes never create the same run twice.
    """
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / ".submit.lock"):
        runs = needed_runs(table, root, seeds)
        known = len(started)
        for needed in runs.all:
            _start(needed, root, launcher, started)
        return runs if len(started) == known else needed_runs(table, root, seeds)


def _start(needed: Needed, root: Path, launcher: str, started: set[str]) -> None:
    if needed.config is None or needed.state is State.FINISHED:
        return
    run = Run.create(root, needed.config) if needed.found is None else needed.found.run
    if run.id in started:
        return
    started.add(run.id)
    if needed.state in (
        None,
        State.CREATED,
        State.QUEUED,
    ):  # a queued run is submitted again in case its runner has ended
        jobs.submit(run, launcher)
    elif needed.state is not None and needed.state.can_resume:
        jobs.resume(run, launcher)
