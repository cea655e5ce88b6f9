"""The protocols that the Tables page offers, their titles and seeds, and the command that makes the same table.

A protocol is the base config of a table: of the runs in the runs folder, of the presets, or of another training run.
"""

import contextlib
import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from pathlib import Path

import streamlit as st

from app.shared.fields import entries
from pmsi.base.errors import UnknownName
from pmsi.base.files import expanded
from pmsi.base.text import plural
from pmsi.config import WEIGHT_WORDS, TrainConfig, differences
from pmsi.config.command import flag, typed_words
from pmsi.config.presets import PRESETS
from pmsi.data import DATASETS
from pmsi.runs import State, default_root, known_runs
from pmsi.tables import TABLES, Filled, Sets, Table, data_sets, expand, fill, found_seeds, protocols, set_title
from pmsi.tables.definitions import BACKBONE, BACKBONES, PAPER_SETS, TableRow
from pmsi.tables.matching import SAME_RESULT, Runs, identity
from pmsi.tables.needed import KINDS, NeededRuns

FREE = ("seed", *SAME_RESULT)
"""Fields that are no part of a protocol."""

ANEW = "Anew, from ImageNet's weights"
"""Says where a protocol is from whose runs started from a file that is not there."""


@dataclass(frozen=True)
class Protocol:
    """A base config that can be chosen, with its data sets; ``source`` says where it is from if no run has it yet."""

    base: TrainConfig
    sets: Sets
    source: str = ""

    @property
    def key(self) -> str:
        """A short name for the URL: the same for as long as the settings are."""
        return hashlib.blake2b(repr(identity(self.base)).encode(), digest_size=5).hexdigest()


def offered(root: Path, number: str) -> dict[str, Protocol]:
    """Return by key what can be shown of a table: what has runs (the fullest first), presets, other runs' settings.

    Table I counts images and has one protocol: the data sets that are built in, and those of which a folder is known.
    """
    if not expand(number, TrainConfig()).configs:
        only = Protocol(TrainConfig(), _known_sets(root))
        return {only.key: only}
    found = [Protocol(base, _sets(root, number, base)) for base in protocols(root, number)]
    found.sort(key=lambda protocol: -_filled(root, number, protocol)[0])  # of equal ones the newest stays first
    anew = (_with_imagenet(protocol) for protocol in found if absent_weights(_configs(number, protocol)))
    presets = (_plain(number, row.config, f"Preset: {row.title}") for row in PRESETS.values())
    by_key: dict[str, Protocol] = {}
    for protocol in (*found, *presets, *anew, *_of_other_runs(root, number)):
        by_key.setdefault(protocol.key, protocol)
    return by_key


def absent_weights(configs: Iterable[TrainConfig]) -> list[str]:
    """Return the weights files that some configs start from and that are not on this machine."""
    named = {config.weights for config in configs} - set(WEIGHT_WORDS)
    return sorted(file for file in named if BACKBONE not in file and not expanded(file).is_file())


def _configs(number: str, protocol: Protocol) -> tuple[TrainConfig, ...]:
    return tuple(expand(number, protocol.base, protocol.sets).configs)


def _with_imagenet(protocol: Protocol) -> Protocol:
    """Return a protocol that starts from the weights that torchvision offers, and from no file."""
    return Protocol(protocol.base.with_(weights="imagenet"), protocol.sets, ANEW)


def anew_of(protocol: Protocol, choices: Mapping[str, Protocol]) -> str | None:
    """Return the key of the choice that differs from a protocol by its weights alone, if it is offered."""
    key = _with_imagenet(protocol).key
    return key if key in choices else None


def _sets(root: Path, number: str, base: TrainConfig) -> Sets:
    return data_sets(root, number, base) if TABLES[number].compares_sets else {base.dataset: base.data}


def _of_other_runs(root: Path, number: str) -> Iterator[Protocol]:
    for config in Runs(root).distinct:
        with contextlib.suppress(UnknownName):  # a data set of somebody's own that is not there any more
            yield _plain(number, config, "Settings of a run")


def _plain(number: str, config: TrainConfig, source: str) -> Protocol:
    """Return a config as the base of a table, without what no protocol is about."""
    defaults = TrainConfig()
    table = expand(number, config.with_(**{name: getattr(defaults, name) for name in FREE}))
    return Protocol(table.base, table.sets, source)


def _known_sets(root: Path) -> Sets:
    """Return the data sets that can be opened: those built in, and those that a run was trained on if still there."""
    known: dict[str, str | None] = {}
    for config in Runs(root).distinct:
        if config.dataset in DATASETS and config.data and Path(config.data).exists():
            known.setdefault(config.dataset, config.data)
    known |= {name: None for name, row in DATASETS.items() if not row.needs_folder}
    return {name: known[name] for name in dict.fromkeys([*PAPER_SETS, *known]) if name in known}


# Names


def titles(root: Path, number: str, choices: Mapping[str, Protocol]) -> dict[str, str]:
    """Return a title for each choice: its facts, its differences from similar ones, and how many cells it has."""
    row, found = TABLES[number], {}
    facts = {key: [*filter(None, [each.source]), *_facts(row, each.base)] for key, each in choices.items()}
    for key, protocol in choices.items():
        alike = [choices[other].base for other in choices if facts[other] == facts[key]]
        full = [] if protocol.source else ["{} of {} cells".format(*_filled(root, number, protocol))]
        found[key] = " · ".join([*facts[key], *_apart(protocol.base, alike), *full])
    return found


def _facts(row: TableRow, base: TrainConfig) -> list[str]:
    """Return what everybody asks first, as far as the table does not vary it."""
    words = [] if row.compares_sets else [set_title(base.dataset) if base.dataset in DATASETS else base.dataset]
    words += [] if row.compares_backbones and base.backbone in BACKBONES else [base.backbone]
    return [*words, f"{base.image_size} px", plural(base.epochs, "epoch")]


def _apart(base: TrainConfig, alike: Sequence[TrainConfig]) -> Iterator[str]:
    """Yield the settings in which a base differs from another one with the same facts."""
    known = entries(TrainConfig)
    for about in fields(TrainConfig):
        value = getattr(base, about.name)
        if about.name not in FREE and any(getattr(other, about.name) != value for other in alike):
            entry = known[about.name]
            yield f"{entry.label}: {entry.show(value)}"


def _filled(root: Path, number: str, protocol: Protocol) -> tuple[int, int]:
    """Return how many cells have a number, of those that can have one."""
    table = expand(number, protocol.base, protocol.sets)
    cells = fill(table, root, found_seeds(root, table)).cells.values()
    # A system with one output leaves a column empty for good.
    empty = sum(cell.n == 0 and set(cell.states) == {State.FINISHED} for cell in cells)
    return sum(cell.n > 0 for cell in cells), len(cells) - empty


# Runs


def seeds_to_show(root: Path, table: Table) -> tuple[int, ...]:
    """Return the seeds of which there is a run, or else the base's own."""
    return found_seeds(root, table) or (table.base.seed,)


def unbroken(seeds: Sequence[int]) -> int:
    """Return how many of some ascending seeds follow upon the first without a gap."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], enumerate(seeds, seeds[0])))


def counted(needed: NeededRuns) -> str:
    """Return how many runs are needed, and of which kinds: "6 runs: 2 finished, 4 to be made"."""
    counts = {kind: sum(each.state in states for each in needed.all) for kind, states in KINDS.items()}
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f"**{plural(len(needed.all), 'run')}**: {kinds}"


def startable(needed: NeededRuns) -> int:
    """Return how many runs can be made or resumed now."""
    idle = {state for kind in ("to be resumed", "to be made") for state in KINDS[kind]}
    return sum(each.config is not None and each.state in idle for each in needed.all)


def waiting(needed: NeededRuns) -> int:
    """Return how many sweeps cannot be made before their models are trained."""
    return sum(each.config is None for each in needed.sweeps)


def command_of(table: Table, seeds: Sequence[int], root: Path, epoch: str = "last") -> list[str]:
    """Return the words after ``python -m pmsi`` that make this table with these successive seeds.

    The runs folder is named where it is not the one that the command would look into by itself.
    """
    changes = {name: value for name, value in differences(table.base).items() if name != "seed"}
    words = ["tables", table.number]
    for name, value in changes.items():
        words += typed_words(name, value)
    if TABLES[table.number].compares_sets:
        words += ["--sets", *(name if data is None else f"{name}={data}" for name, data in table.sets.items())]
    asked: list[tuple[str, object, object]] = [("seed", seeds[0], 0), ("seeds", len(seeds), 1)]
    asked += [("epoch", epoch, "last"), ("runs", root, Path("runs"))]
    return words + [word for name, value, usual in asked if value != usual for word in (flag(name), str(value))]


def as_typed(words: Sequence[str]) -> str:
    """Return a command line for a shell."""
    return shlex.join(["python", "-m", "pmsi", *words])


@st.cache_data(show_spinner=False, max_entries=64)
def _protocols(number: str, root: str, ids: list[str]) -> "dict[str, Protocol]":
    return offered(Path(root), number)


def protocols_once(number: str) -> "dict[str, Protocol]":
    """Return what can be shown of a table, looked for once as long as no run is added or removed."""
    root = default_root().absolute()
    return _protocols(number, str(root), [run.id for run in known_runs(root)])


@st.cache_data(show_spinner="Counting images…", max_entries=16, ttl=600)
def _counts(_table: "Table", sets: "Sets") -> "Filled":
    return fill(_table, default_root())


def counts_once(table: "Table") -> "Filled":
    """Return Table I: its data sets are opened and counted once in ten minutes."""
    return _counts(table, dict(table.sets))
