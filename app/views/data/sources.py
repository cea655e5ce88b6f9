"""The data sets that the Data page offers: built in, imported, those of runs, and a typed folder."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from app.shared.access import check_place
from app.shared.cached_data import is_drawn, open_folder, open_set
from app.shared.panels import OF_RUN, own_source, runs_of
from pmsi.base.files import expanded
from pmsi.config import TrainConfig
from pmsi.data import DATASETS
from pmsi.data.dataset import Dataset
from pmsi.data.importing import imported_sets
from pmsi.runs import Run
from pmsi.runs.mistakes import has_predictions

READING = ("name_encoding", "label_column")
"""Fields of a config, and names in a URL, that say how a typed folder is read."""

FIRST, TYPED = "plumage", "folder"
MARK = "imported-"

SEEDED = {
    "plumage": ("split_seed",),
    "flowers": ("test_on",),
    "folder": ("split_seed", "test_fraction", "split", "test_on", "name_encoding", "label_column"),
}
"""Settings that change which pictures a data set has, or on which side of the split they are, besides limits."""


@dataclass(frozen=True)
class Source:
    """A data set that can be chosen: its title, how it is opened, and the runs on it that have kept their answers."""

    title: str
    config: TrainConfig
    runs: tuple[Run, ...] = ()

    def query(self) -> dict[str, str]:
        """Return the query parameters that open another page with one of its images, beside those that name it."""
        if self.config.data:
            reading = {name: getattr(self.config, name) or "" for name in READING}
            return {
                "source": "data",
                "data": self.config.data,
                **{name: text for name, text in reading.items() if text},
            }
        of = next(iter(self.runs), None)
        return {"source": OF_RUN, "run": of.id} if of and own_source(of) else {"source": "sample"}

    def open(self, run: Run | None = None) -> Dataset:
        """Return the data set as it is seen beside a run; raises what `pmsi.data.open_dataset` does."""
        return open_set(run.config if run is not None and is_drawn(self.config) else self.config)


@dataclass(frozen=True)
class TypedSource(Source):
    """A folder that a visitor typed, which may be outside the folders that the app may read."""

    def open(self, run: Run | None = None) -> Dataset:
        if run is None:
            return open_folder(self.config.data or "", self.config.name_encoding, self.config.label_column)
        return open_set(_unlimited(run.config).with_(data=str(check_place(self.config.data or ""))))


def offered() -> dict[str, Source]:
    """Return what can be chosen, by a short name for the URL that stays the same."""
    found = {FIRST: Source(DATASETS[FIRST].title, TrainConfig(dataset=FIRST))}
    for name, place in imported_sets().items():
        found[MARK + name] = Source(f"{name} (imported)", TrainConfig(dataset="folder", data=str(place.resolve())))
    by_data = {_identity(source.config): name for name, source in found.items()}
    for run, config in _trained():
        name = by_data.setdefault(_identity(config), f"{config.dataset}-{_digest(config)}")
        known = found.get(name) or Source(_title(config), _unlimited(config))
        if has_predictions(run):
            known = replace(known, runs=(*known.runs, run))
        found[name] = known
    return found


def set_of(run: Run) -> str | None:
    """Return the name of the data set of a run that has kept its answers."""
    return next((name for name, source in offered().items() if run in source.runs), None)


def typed_source(folder: str, **reading: str | None) -> Source:
    """Return the source of a folder that was typed, with the runs on it; ``reading`` are fields that say how."""
    place, asked = expanded(folder), {name: value for name, value in reading.items() if value}
    found = [
        source
        for source in offered().values()
        if source.config.data and Path(source.config.data) == place
        and all(getattr(source.config, name) == value for name, value in asked.items())
    ]  # fmt: skip
    title, dataset = (found[0].title, found[0].config.dataset) if found else (folder, "folder")
    runs = tuple(run for source in found for run in source.runs)
    return TypedSource(title, TrainConfig(dataset=dataset, data=folder, **reading), runs)


def _trained() -> Iterator[tuple[Run, TrainConfig]]:
    for run in runs_of(TrainConfig):
        if isinstance(run.config, TrainConfig) and run.config.dataset in DATASETS:
            yield run, run.config


def _identity(config: TrainConfig) -> tuple[object, ...]:
    data = str(expanded(config.data).resolve()) if config.data else None
    return config.dataset, data, *(getattr(config, name) for name in SEEDED.get(config.dataset, ()))


def _digest(config: TrainConfig) -> str:
    return hashlib.blake2b(repr(_identity(config)).encode(), digest_size=4).hexdigest()


def _title(config: TrainConfig) -> str:
    row = DATASETS[config.dataset]
    title = row.title if row.official or not config.data else Path(config.data).name
    seed = f", split {config.split_seed}" if config.split_seed and config.dataset in SEEDED else ""
    return f"{title}{seed}"


def _unlimited(config: TrainConfig) -> TrainConfig:
    """Return a config of the pictures of a run's data set, without the run's limits."""
    names = ("dataset", "data", *SEEDED.get(config.dataset, ()))
    return TrainConfig(**{name: getattr(config, name) for name in names})
