"""The runs of a folder by what they compute: finds the run of a cell by its config, never by a name.

Two configs compute the same if they agree in every field that can change a result. Configs and results are cached until
their files change.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from pmsi.base.errors import ConfigError
from pmsi.config import WEIGHT_WORDS, Config, RobustnessConfig, TrainConfig, from_json
from pmsi.perturbations import PERTURBATIONS
from pmsi.runs import Run, State, known_runs
from pmsi.tables.definitions import Cell

SAME_RESULT = ("device", "threads", "workers", "compile", "checkpoint_every_s", "trackers", "insist")
"""Fields that change at most the last bits of a result."""

CACHED_FILES = 4096


def identity(config: TrainConfig) -> tuple[Any, ...]:
    """Return a key that is equal for configs that compute the same, up to the seed."""
    values = {about.name: getattr(config, about.name) for about in fields(config)}
    values |= {"resize": config.resize_to, "data": _place(config.data)}
    values |= {} if config.weights in WEIGHT_WORDS else {"weights": _place(config.weights)}
    return tuple(value for name, value in values.items() if name not in ("seed", *SAME_RESULT))


def _place(path: str | None) -> str | None:
    """Return a path as an absolute one; older configs may hold relative paths."""
    return path and str(Path(path).expanduser().absolute())


@lru_cache(CACHED_FILES)
def _config(path: str, changed: int) -> Config | None:
    try:
        return from_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigError):
        return None


@lru_cache(CACHED_FILES)
def _identity(path: str, changed: int) -> tuple[Any, ...]:
    config = _config(path, changed)
    assert isinstance(config, TrainConfig)
    return identity(config)


@lru_cache(CACHED_FILES)
def _result(path: str, changed: int) -> dict[str, Any] | None:
    try:
        stored = json.loads(Path(path).read_bytes())
        return stored["result"] if isinstance(stored["result"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unless_gone(read: Callable[[str, int], Any], path: Path) -> Any:
    """Return the cached result of ``read`` for a file; None if the file is missing."""
    try:
        return read(str(path), path.stat().st_mtime_ns)
    except OSError:
        return None


def result_of(run: Run) -> dict[str, Any] | None:
    """Return the result of a run; None if it has none, or a damaged one."""
    found: dict[str, Any] | None = _unless_gone(_result, run.folder / "result.json")
    return found


@dataclass(frozen=True)
class Found:
    """A run and the state in which it was found."""

    run: Run
    state: State

    @property
    def result(self) -> dict[str, Any]:
        """The run's result; empty unless it has finished."""
        return result_of(self.run) or {}


class Runs:
    """The runs of a folder at one moment, found by what they compute. Damaged runs are skipped."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._trained: dict[tuple[Any, ...], list[tuple[int, Run]]] = defaultdict(list)
        self._configs: dict[tuple[Any, ...], TrainConfig] = {}
        self._sweeps: dict[str, list[tuple[RobustnessConfig, Run]]] = defaultdict(list)
        for run in known_runs(self.root):
            self._add(run)

    def _add(self, run: Run) -> None:
        path = run.folder / "config.json"
        config = _unless_gone(_config, path)
        if isinstance(config, TrainConfig) and (key := _unless_gone(_identity, path)):
            self._trained[key].append((config.seed, run))
            self._configs.setdefault(key, config)
        elif isinstance(config, RobustnessConfig):
            for id in config.of:
                self._sweeps[id].append((config, run))

    @property
    def distinct(self) -> list[TrainConfig]:
        """The configs of all training runs, newest first; of those that compute the same, the newest."""
        return list(self._configs.values())

    def seeds(self, config: TrainConfig) -> set[int]:
        """Return the seeds of all runs that compute the same as ``config``."""
        return {seed for seed, _ in self._trained.get(identity(config), ())}

    def training(self, config: TrainConfig, seed: int) -> Found | None:
        """Return the best run of a config and a seed; None if there is none."""
        return best(run for other, run in self._trained.get(identity(config), ()) if other == seed)

    def sweep(self, trained: Found, cell: Cell) -> Found | None:
        """Return the best robustness sweep for a perturbed cell and a finished training run; None if there is none.

        A sweep that began before the training ended tested an earlier model, and does not count.
        """
        ended = trained.run.status().ended_at or 0.0
        return best(
            run for sweep, run in self._sweeps.get(trained.run.id, ()) if _covers(sweep, cell) and _is_later(run, ended)
        )


def best(runs: Iterable[Run]) -> Found | None:
    """Return a finished run, else a live one, else one that can be resumed, else any; the first of equals."""
    found = [Found(run, run.state) for run in runs]
    usable = [each for each in found if each.state is not State.FINISHED or result_of(each.run) is not None]
    return min(usable, key=_rank, default=None)


def _rank(found: Found) -> int:
    if found.state is State.FINISHED:
        return 0
    if found.state.is_live:
        return 1
    return 2 if found.state.can_resume else 3


def _covers(sweep: RobustnessConfig, cell: Cell) -> bool:
    """Return whether a sweep has this cell, on all test images of the training run."""
    name = cell.perturbation
    if name not in sweep.perturbations or sweep.test_per_class not in (None, cell.config.test_per_class):
        return False
    return cell.severity in (PERTURBATIONS[name].levels if sweep.severities is None else sweep.severities)


def _is_later(run: Run, ended: float) -> bool:
    started = run.status().started_at
    return started is None or started >= ended
