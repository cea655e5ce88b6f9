"""Lists of runs, filtered by words, state, method, data set and tag, and sorted. Fast for hundreds of runs.

Configs and labels are cached until their files change. Metrics are read only to sort by accuracy.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pmsi.base.files import cached_by_files
from pmsi.config import Config
from pmsi.runs.comparison import scores_of
from pmsi.runs.disk import size_of
from pmsi.runs.labels import FILE, Labels, labels_of
from pmsi.runs.lifecycle import State
from pmsi.runs.run import Run

ALL = ""
"""A value of a field of `Choice` that selects every run."""


@dataclass(frozen=True)
class Entry:
    """A run of a list with its config (None if the run is damaged) and labels."""

    run: Run
    config: Config | None
    labels: Labels

    @cached_property
    def state(self) -> State:
        """The run's state when it is first asked for."""
        return self.run.state

    @property
    def words(self) -> str:
        """The text that is searched, in lower case."""
        values = [getattr(self.config, field, "") for field in ("task", "method", "dataset", "backbone")]
        return " ".join([self.run.id, self.labels.name, self.labels.note, *self.labels.tags, *values]).lower()


@dataclass(frozen=True)
class Choice:
    """A filter of runs; an empty field selects all. All words of ``text`` must occur in `Entry.words`."""

    text: str = ALL
    state: str = ALL
    method: str = ALL
    dataset: str = ALL
    tag: str = ALL

    def __bool__(self) -> bool:
        return self != Choice()

    def has(self, entry: Entry) -> bool:
        """Return whether the filter selects a run."""
        alike = all(
            getattr(entry.config, field, None) == wanted
            for field, wanted in (("method", self.method), ("dataset", self.dataset))
            if wanted
        )
        return (
            alike
            and (not self.tag or self.tag in entry.labels.tags)
            and all(word in entry.words for word in self.text.lower().split())
            and (not self.state or entry.state == self.state)
        )


def entries(runs: Iterable[Run]) -> list[Entry]:
    """Return runs as entries, in their order."""
    return [Entry(run, *_read(run, run.damage)) for run in runs]


def chosen(found: Iterable[Entry], choice: Choice, order: str) -> list[Entry]:
    """Return the selected entries, sorted by a row of ORDERS; the sort is stable."""
    return sorted((entry for entry in found if choice.has(entry)), key=ORDERS[order][1])


def values(found: Sequence[Entry], field: str) -> list[str]:
    """Return the values of a field of `Choice` that these runs have, sorted."""
    if field == "tag":
        return sorted({tag for entry in found for tag in entry.labels.tags})
    if field == "state":
        present = {entry.state for entry in found}
        return [state.value for state in State if state in present]
    return sorted({value for entry in found if isinstance(value := getattr(entry.config, field, None), str)})


def _accuracy(entry: Entry) -> float:
    scores = scores_of(entry.run)
    return 1.0 if scores is None else -(scores["last"]["accuracy"].get(scores["best"]["by"]) or 0.0)


def _name(entry: Entry) -> tuple[str, str]:
    method, dataset = (getattr(entry.config, field, "") for field in ("method", "dataset"))
    return (entry.labels.name or f"{method or entry.run.id[16:]} {dataset}").lower(), entry.run.id


ORDERS: dict[str, tuple[str, Callable[[Entry], Any]]] = {
    "newest": ("Newest first", lambda entry: 0),  # as they come
    "accuracy": ("Highest accuracy first", _accuracy),
    "name": ("By name", _name),
    "size": ("Largest on disk first", lambda entry: -size_of(entry.run.folder)),
}
"""The title of each order, and its key, ascending."""


@cached_by_files(lambda run, damage: (run.folder / "config.json", run.folder / FILE))
def _read(run: Run, damage: str | None) -> tuple[Config | None, Labels]:
    return Run(run.folder).config if damage is None else None, labels_of(run)  # a run keeps the config that it has read
