"""The runs of a folder that belong to the cells of a table: found by what they compute, and on which data.

Two configs compute the same where they agree in every field that can change a result. Runs of one data set stand beside
each other where they were trained and tested on the same images. Configs are read once and kept for as long as their
files do not change, so that a page may look at hundreds of runs again and again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from pmsi.base.errors import ConfigError, DataError, PMSIError
from pmsi.base.files import cached_by_files, expanded, read_file
from pmsi.config import DATA_FIELDS, WEIGHT_WORDS, Config, RobustnessConfig, TrainConfig, differences, from_json
from pmsi.perturbations import severities_of
from pmsi.runs import Run, State, known_runs
from pmsi.runs.damage import read
from pmsi.runs.record import data_of, experiments_apart, is_of_earlier_model, record_of
from pmsi.tables.definitions import Cell

SAME_RESULT = ("device", "threads", "workers", "compile", "checkpoint_every_s", "trackers", "theatre", "insist")
"""Fields that change at most the last bits of a result."""


def identity(config: TrainConfig) -> tuple[Any, ...]:
    """Return a key that is equal for configs that compute the same, up to the seed."""
    values = {about.name: getattr(config, about.name) for about in fields(config)}
    values |= {"resize": config.resize_to, "data": _place(config.data)}
    values |= {} if config.weights in WEIGHT_WORDS else {"weights": _place(config.weights)}
    return tuple(value for name, value in values.items() if name not in ("seed", *SAME_RESULT))


def _place(path: str | None) -> str | None:
    """Return a path as an absolute one; older configs may hold relative paths."""
    return path and str(expanded(path).absolute())


@cached_by_files(lambda run: [run.folder / "config.json"])
def _config(run: Run) -> Config | None:
    try:
        return from_json(read_file(run.folder / "config.json"))
    except (OSError, ConfigError):
        return None


@cached_by_files(lambda run: [run.folder / "config.json"])
def _identity(run: Run) -> tuple[Any, ...]:
    config = _config(run)
    assert isinstance(config, TrainConfig)
    return identity(config)


@cached_by_files(lambda run: [run.folder / "result.json"])
def result_of(run: Run) -> dict[str, Any] | None:
    """Return the result of a run; None if it has none, or a damaged one."""
    return (read(run.folder / "result.json") or {}).get("result")


@dataclass(frozen=True)
class Found:
    """A run and the state in which it was found."""

    run: Run
    state: State

    @property
    def result(self) -> dict[str, Any]:
        """The run's result; empty unless it has finished."""
        return result_of(self.run) or {}


@dataclass(frozen=True)
class OnOtherData:
    """A run that would count for a cell, had it been on the data of the newest; ``reasons`` say what differs."""

    run: Run
    dataset: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Trainings:
    """By config, seed included, the training run that counts for it, all runs of a data set on the same images."""

    found: Mapping[TrainConfig, Found | None]
    left_out: tuple[OnOtherData, ...] = ()


class Runs:
    """The runs of a folder at one moment, found by what they compute. Damaged runs are skipped."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._trained: dict[tuple[Any, ...], list[tuple[int, Run]]] = defaultdict(list)
        self._configs: dict[tuple[Any, ...], TrainConfig] = {}
        self._sweeps: dict[str, list[tuple[RobustnessConfig, Run]]] = defaultdict(list)
        self._order = {run: number for number, run in enumerate(known_runs(self.root))}  # newest first
        for run in self._order:
            self._add(run)

    def _add(self, run: Run) -> None:
        config = _config(run)
        if isinstance(config, TrainConfig):
            self._trained[_identity(run)].append((config.seed, run))
            self._configs.setdefault(_identity(run), config)
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
        """Return the run that is to count for a config and a seed."""
        return best(self._of(config.with_(seed=seed)))

    def _of(self, config: TrainConfig) -> list[Run]:
        return [run for seed, run in self._trained.get(identity(config), ()) if seed == config.seed]

    def trainings(self, configs: Iterable[TrainConfig]) -> Trainings:
        """Return the runs that are to count for some configs of a table.

        Of each data set, the newest finished run says which images; runs on others are left out.
        """
        runs = {config: self._of(config) for config in configs}
        by_set: dict[str, list[Run]] = defaultdict(list)
        for config, candidates in runs.items():
            by_set[config.dataset] += candidates
        others = {run: reasons for each in by_set.values() for run, reasons in self._on_other_data(each)}
        found, left_out = {}, []
        for config, candidates in runs.items():
            found[config] = best(run for run in candidates if run not in others)
            first = best(candidates)
            if first is not None and first.run in others:
                left_out.append(OnOtherData(first.run, config.dataset, others[first.run]))
        return Trainings(found, tuple(left_out))

    def _on_other_data(self, runs: Iterable[Run]) -> list[tuple[Run, tuple[str, ...]]]:
        """Return the runs that are not on the images of the newest finished one, with the reasons.

        A run without a record says less of its images than one with a record, which therefore goes before it.
        """
        newest_first = sorted(set(runs), key=self._order.__getitem__)
        damage = {run: (str(error),) for run in newest_first if (error := _damage(run)) is not None}
        sound = [run for run in newest_first if run not in damage]
        finished = [run for run in sound if run.state is State.FINISHED]
        leading = next((run for run in finished if record_of(run) is not None), next(iter(finished), None))
        if leading is None:
            return [*damage.items()]
        reasons = ((run, tuple(experiments_apart(run, leading))) for run in sound if run != leading)
        return [*damage.items(), *((run, why) for run, why in reasons if why)]

    def newest_on(self, config: TrainConfig) -> Run | None:
        """Return the newest training run on a config's data set, with those of its settings that are no defaults,
        whose images are known; None where there is none.
        """
        wanted = {"dataset": config.dataset, "data": _place(config.data)}
        wanted |= {
            name: value for name, value in differences(config).items() if name in DATA_FIELDS and name not in wanted
        }
        for run in self._order:
            known = _config(run)
            if isinstance(known, TrainConfig) and data_of(run).train is not None:
                about = {name: getattr(known, name) for name in wanted} | {"data": _place(known.data)}
                if about == wanted:
                    return run
        return None

    def sweep(self, trained: Found, cell: Cell) -> Found | None:
        """Return the best robustness sweep for a perturbed cell and a finished training run; None if there is none.

        A sweep that began before the training ended saw an earlier model, and does not count; nor does one of images
        that have changed since.
        """
        return best(
            run
            for sweep, run in self._sweeps.get(trained.run.id, ())
            if _covers(sweep, cell)
            and not is_of_earlier_model(run, trained.run)
            and _is_of_its_images(run, trained.run)
        )


def _damage(run: Run) -> DataError | None:
    """Return what is wrong with a run's record of its data, None where it can be read or is not there."""
    try:
        record_of(run)
    except DataError as error:
        return error
    return None


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
    if sweep.test_per_class not in (None, cell.config.test_per_class):
        return False
    return (cell.perturbation, cell.severity) in _severities(sweep)


@lru_cache(4096)
def _severities(sweep: RobustnessConfig) -> frozenset[tuple[str, float]]:
    """Return the (perturbation, severity) pairs that a sweep means; none where one is unknown."""
    try:
        return frozenset(pair for entry in sweep.perturbations for pair in severities_of(entry, sweep.severities))
    except PMSIError:
        return frozenset()


def _is_of_its_images(run: Run, trained: Run) -> bool:
    """Return whether a sweep, if it has finished, was shown the test images that a training run was tested on."""
    result = result_of(run) or {}
    images, expected = result.get("images"), data_of(trained).test
    same_number = images is None or expected is None or images == expected
    known = record_of(trained) is not None and isinstance(result.get("data"), dict)
    return same_number and not (known and result["data"].get(trained.id))
