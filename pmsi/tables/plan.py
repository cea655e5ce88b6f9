"""What a table needs and what of it is there: training runs, and the sweeps that perturb their test images.

Making a plan changes nothing and needs no torch.
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
"""How a plan counts its runs."""


@dataclass(frozen=True)
class Needed:
    """A run that the table needs, and the one that is there, if any. ``config`` is None until it can be known."""

    config: Config | None
    found: Found | None

    @property
    def state(self) -> State | None:
        """The state of the run, None where nobody made it."""
        return None if self.found is None else self.found.state


@dataclass(frozen=True)
class Training(Needed):
    """A training run."""

    config: TrainConfig


@dataclass(frozen=True)
class Sweep(Needed):
    """One perturbation of the test images, shown to the models of one seed and data set, trained by ``trained``."""

    trained: tuple[TrainConfig, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What a table needs, seed by seed, so that one seed is whole before the next begins."""

    trainings: tuple[Training, ...]
    sweeps: tuple[Sweep, ...]

    @property
    def needed(self) -> tuple[Training | Sweep, ...]:
        """Trainings, then the sweeps that wait for them."""
        return (*self.trainings, *self.sweeps)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return all(each.state is State.FINISHED for each in self.needed)

    @property
    def found(self) -> list[Found]:
        """The runs that are there."""
        return [each.found for each in self.needed if each.found is not None]

    @property
    def live(self) -> list[Run]:
        """Those that somebody works on, or will."""
        return [found.run for found in self.found if found.state.is_live]


def make_plan(table: Table, root: Path, seeds: Sequence[int]) -> Plan:
    """Return what ``table`` needs for these seeds, and what of it is in the runs folder ``root`` now."""
    runs = Runs(root)
    trainings = {config.with_(seed=seed): runs.training(config, seed) for seed in seeds for config in table.configs}
    sweeps = [_sweep(runs, cells, seed, trainings) for seed in seeds for cells in _perturbed(table)]
    return Plan(tuple(Training(config, found) for config, found in trainings.items()), tuple(sweeps))


def _perturbed(table: Table) -> Iterable[list[Cell]]:
    """Return the perturbed cells in groups that share their pixels: one perturbation of one data set."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in table.cells.values():
        if cell.perturbation:
            groups.setdefault((cell.config.dataset, cell.perturbation), []).append(cell)
    return groups.values()


def _sweep(runs: Runs, cells: Sequence[Cell], seed: int, trainings: Mapping[TrainConfig, Found | None]) -> Sweep:
    """Return the sweep of some cells for one seed; where several runs share them, the one that is furthest behind."""
    trained = tuple(cell.config.with_(seed=seed) for cell in cells)
    ready = [found for config in trained if (found := trainings[config]) and found.state is State.FINISHED]
    if len(ready) < len(cells):
        return Sweep(None, None, trained)
    sweeps = [runs.sweep(found, cell) for found, cell in zip(ready, cells, strict=True)]
    behind = [found for found in sweeps if found is None or found.state is not State.FINISHED]
    first, ids = cells[0], tuple(found.run.id for found in ready)
    return Sweep(_sweep_config(first, ids), (behind or sweeps)[0], trained)


def _sweep_config(cell: Cell, of: tuple[str, ...]) -> RobustnessConfig:
    assert cell.perturbation is not None
    compute = {name: getattr(cell.config, name) for name in ("device", "threads", "workers")}
    return RobustnessConfig(of=of, perturbations=(cell.perturbation,), severities=(cell.severity,), **compute)


def start(table: Table, root: Path, seeds: tuple[int, ...], launcher: str, started: set[str]) -> Plan:
    """Queue what can be worked on now and is not in ``started``, which grows by it; return how things stand after that.

    Campaigns of one folder take turns, so that two of them never make the same run twice.
    """
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / ".campaign.lock"):
        plan = make_plan(table, root, seeds)
        known = len(started)
        for needed in plan.needed:
            _start(needed, root, launcher, started)
        return plan if len(started) == known else make_plan(table, root, seeds)


def _start(needed: Needed, root: Path, launcher: str, started: set[str]) -> None:
    if needed.config is None or needed.state is State.FINISHED:
        return
    run = Run.create(root, needed.config) if needed.found is None else needed.found.run
    if run.id in started:
        return
    started.add(run.id)
    if needed.state in (None, State.CREATED, State.QUEUED):  # the launcher looks after a queued one again
        jobs.submit(run, launcher)
    elif needed.state is not None and needed.state.can_resume:
        jobs.resume(run, launcher)
