"""The base configs and data sets of a table for which a runs folder has runs."""

import contextlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from pmsi.base.errors import UnknownName, lookup
from pmsi.config import TrainConfig
from pmsi.tables.definitions import BACKBONE, PAPER_SETS, TABLES, Sets, Table, TableRow, expand, plain
from pmsi.tables.matching import SAME_RESULT, Runs, identity


def protocols(root: Path, number: str) -> list[TrainConfig]:
    """Return the base configs for which ``root`` has a run of at least one cell of a table, newest first.

    A base has seed 0 and the defaults in the fields that the table sets itself or that change no result. If the table
    compares data sets, the base has none (see `data_sets`). Table I needs no runs: the list is empty.
    """
    return list(dict.fromkeys(base for base, _ in _members(root, number)))


def data_sets(root: Path, number: str, base: TrainConfig) -> Sets:
    """Return the data sets, with their folders, for which ``root`` has a run of table ``number`` under this base.

    The paper's data sets come first. If runs used several folders of one data set, the newest run's is returned.
    """
    wanted = _base(lookup("table", TABLES, number), base)
    found: dict[str, str | None] = {}
    for other, config in _members(root, number):
        if other == wanted:
            found.setdefault(config.dataset, config.data)
    paper = [name for name in PAPER_SETS if name in found]
    return {name: found[name] for name in dict.fromkeys([*paper, *found])}


def found_seeds(root: Path, table: Table) -> tuple[int, ...]:
    """Return the seeds of all runs of the table, sorted."""
    runs = Runs(root)
    return tuple(sorted(set().union(*(runs.seeds(config) for config in table.configs))))


def _members(root: Path, number: str) -> Iterator[tuple[TrainConfig, TrainConfig]]:
    """Yield (base, config) of each training run that a cell of the table needs, newest first."""
    row = lookup("table", TABLES, number)
    needed: dict[Any, set[tuple[Any, ...]]] = {}
    for config in Runs(root).distinct:
        base = _base(row, config)
        key = (base, config.dataset, config.data)
        if key not in needed:
            needed[key] = set()
            with contextlib.suppress(UnknownName):  # a data set that does not exist any more
                table = expand(number, base.with_(dataset=config.dataset, data=config.data))
                needed[key] = {identity(each) for each in table.configs}
        if identity(config) in needed[key]:
            yield base, config


def _base(row: TableRow, config: TrainConfig) -> TrainConfig:
    """Return the base config of a run's config."""
    defaults = {about.name: about.default for about in fields(TrainConfig)}
    free = {name: defaults[name] for name in ("seed", "start_from", *SAME_RESULT)}
    return plain(row, config.with_(**free, weights=_weights(row, config)))


def _weights(row: TableRow, config: TrainConfig) -> str:
    """Return the weights, with ``{backbone}`` for the backbone's name in a path if lines have their own files."""
    path = Path(config.weights)
    if not row.compares_backbones or len(path.parts) < 2:
        return config.weights
    return str(path.with_name(path.name.replace(config.backbone, BACKBONE)))
