"""Grids: one config with one or two fields varied, each combination a training run in a queue.

A combination that has a finished or a live run is skipped.
"""

import itertools
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from pmsi import tasks
from pmsi.base.errors import ConfigError, lookup
from pmsi.base.locks import locked
from pmsi.config import TrainConfig
from pmsi.config.command import command
from pmsi.config.declare import field_type
from pmsi.config.text import from_text, split, to_text
from pmsi.runs import Run, State, jobs
from pmsi.runs.labels import label
from pmsi.tables.estimate import Estimator
from pmsi.tables.matching import SAME_RESULT, Runs

MOST_FIELDS, MOST_RUNS = 2, 100

FIXED = (*SAME_RESULT, "start_from")
"""Fields that a grid cannot vary: no result depends on them, or they belong to one run."""


@dataclass(frozen=True)
class Axis:
    """A field and its values, in order."""

    name: str
    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.name}={','.join(map(to_text, self.values))}"


@dataclass(frozen=True)
class Grid:
    """``base`` with every combination of the axes' values; the last axis varies fastest."""

    base: TrainConfig
    axes: tuple[Axis, ...]

    @property
    def configs(self) -> tuple[TrainConfig, ...]:
        """The configs of all runs; raises ConfigError for an invalid combination."""
        names = [axis.name for axis in self.axes]
        combinations = itertools.product(*(axis.values for axis in self.axes))
        return tuple(self.base.with_(**dict(zip(names, values, strict=True))) for values in combinations)


def varied() -> tuple[str, ...]:
    """Return the fields that a grid can vary."""
    names = (about.name for about in fields(TrainConfig))
    return tuple(name for name in names if name not in FIXED and not field_type(TrainConfig, name)[2])


def read_axis(text: str) -> Axis:
    """Return the axis of ``FIELD=VALUE,VALUE,…``; raises ConfigError for an unknown field or value."""
    name, separator, values = text.partition("=")
    field = name.strip().replace("-", "_")
    if not separator:
        raise ConfigError(f"{text!r}: expected a setting and its values, such as lr_new=0.003,0.01.")
    lookup("setting to vary", dict.fromkeys(varied()), field)
    return axis_of(field, tuple(from_text(TrainConfig, field, value) for value in split(values)))


def axis_of(name: str, values: Sequence[Any]) -> Axis:
    """Return an axis; raises ConfigError unless there are values and all differ."""
    if not values:
        raise ConfigError(f"{name}: no values. Give them separated by commas, such as {name}=A,B.")
    if len(values) > MOST_RUNS:
        raise ConfigError(f"{name}: {len(values)} values. A grid makes {MOST_RUNS} runs at most.")
    twice = [value for value in values if list(values).count(value) > 1]
    if twice:
        raise ConfigError(f"{name}: the value {to_text(twice[0])} is given twice. Leave one out.")
    return Axis(name, tuple(values))


def make_grid(base: TrainConfig, axes: Sequence[Axis]) -> Grid:
    """Return the grid of some axes; raises ConfigError for too many axes or runs, or an invalid combination."""
    names = [axis.name for axis in axes]
    if len(names) > MOST_FIELDS or len(set(names)) < len(names):
        raise ConfigError(f"A grid over {', '.join(names)}: expected {MOST_FIELDS} settings at most, each once.")
    grid = Grid(base, tuple(axes))
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_RUNS:
        raise ConfigError(f"A grid over {' × '.join(names)} makes {count} runs: expected {MOST_RUNS} at most.")
    _ = grid.configs  # an invalid combination
    return grid


def missing(grid: Grid, root: Path) -> list[TrainConfig]:
    """Return the configs that have neither a finished nor a live run."""
    runs = Runs(root)
    found = [(config, runs.training(config, config.seed)) for config in grid.configs]
    return [config for config, run in found if run is None or not _counts(run.state)]


def _counts(state: State) -> bool:
    return state is State.FINISHED or state.is_live


def check(grid: Grid, root: Path) -> None:
    """Raise a PMSIError if one of the runs could not start; `start` reads the data for that too."""
    for config in grid.configs:
        tasks.check(config, root)


def start(grid: Grid, root: Path, launcher: str = "local") -> list[Run]:
    """Create and queue the missing runs, and return them in order.

    Raises a PMSIError, and queues none, if one of them could not start.
    """
    check(grid, root)
    tasks.check_data(missing(grid, root))
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / ".submit.lock"):  # so that two processes never create the same run twice
        runs = [Run.create(root, config.located()) for config in missing(grid, root)]
        for run in runs:
            label(run, tags=[tag_of(runs)])
            jobs.submit(run, launcher)
    return runs


def tag_of(runs: Sequence[Run]) -> str:
    """Return the tag of the runs of one grid."""
    return f"grid-{runs[0].id[-4:]}"


def command_of(grid: Grid) -> str:
    """Return the shell command that queues the same runs."""
    python, option, package, _, *rest = shlex.split(command(grid.base))
    return shlex.join([python, option, package, "grid", "--vary", *map(str, grid.axes), *rest])


def changes(grid: Grid, config: TrainConfig) -> str:
    """Return the varied settings of one run as text: ``method = pmr, seed = 1``."""
    return ", ".join(f"{axis.name} = {to_text(getattr(config, axis.name))}" for axis in grid.axes)


def estimate(configs: Sequence[TrainConfig], root: Path) -> float:
    """Return the estimated seconds of some runs, one after another; makes trials for those without an equal run."""
    estimator = Estimator(root)
    return sum(estimator.seconds(config) for config in configs)
