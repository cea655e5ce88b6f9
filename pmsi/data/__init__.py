"""DATASETS: where images come from, by name, and the one way to open them.

What a data set is stands in `pmsi.data.dataset`; how its images become batches, in `pmsi.data.loading`. Importing this
package imports no torch.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from pmsi.base.errors import ConfigError, DataError, lookup
from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.data.checking import Progress
from pmsi.data.completeness import Official, completeness
from pmsi.data.dataset import Dataset, Sample, count_by_class
from pmsi.data.readers.archive import contents, unpacked


class Opener(Protocol):
    """How a row reads its data set: from ``config.data`` where it needs a folder, before any limit per class."""

    def __call__(self, config: TrainConfig, progress: Progress | None = None) -> Dataset: ...


@dataclass(frozen=True)
class DatasetRow:
    """One data set that a config can name.

    ``help`` says what it is and where it is had. ``archive`` says that a zip does as well as a folder. ``official`` is
    the size of a published data set.
    """

    title: str
    open: Opener
    needs_folder: bool
    help: str
    archive: bool = False
    official: Official | None = None


PER_CLASS = 40
"""Images of each class that are drawn for each split where a config sets no limit."""


def _plumage(config: TrainConfig, progress: Progress | None = None) -> Dataset:
    from pmsi.data.plumage import plumage

    return plumage(
        train_per_class=config.train_per_class or PER_CLASS,
        test_per_class=config.test_per_class or PER_CLASS,
        seed=config.split_seed,
    )


def _cub(config: TrainConfig, progress: Progress | None = None) -> Dataset:
    from pmsi.data.readers.cub import cub

    return cub(_place(config), progress=progress)


def _cars(config: TrainConfig, progress: Progress | None = None) -> Dataset:
    from pmsi.data.readers.cars import cars

    return cars(_place(config), progress=progress)


def _aircraft(config: TrainConfig, progress: Progress | None = None) -> Dataset:
    from pmsi.data.readers.aircraft import aircraft

    return aircraft(_place(config), progress=progress)


def _folder(config: TrainConfig, progress: Progress | None = None) -> Dataset:
    from pmsi.data.readers.folder import folder

    place = _place(config)
    read = partial(
        folder,
        test_fraction=config.test_fraction,
        split=config.split,
        split_seed=config.split_seed,
        test_on=config.test_on,
        progress=progress,
    )
    if place.is_dir():
        return read(place)
    home = unpacked(place, progress)
    try:
        return read(home, name=place.stem)
    except DataError as error:
        raise DataError(f"{place.name}, unpacked: {error}") from error


DATASETS: dict[str, DatasetRow] = {
    "plumage": DatasetRow(
        "Plumage (built in)",
        _plumage,
        False,
        "Birds drawn by the program itself, with a mask of every part; the limits per class say how many.",
    ),
    "cub": DatasetRow(
        "CUB-200-2011",
        _cub,
        True,
        "200 bird species; the folder CUB_200_2011, or some of its classes laid out alike.",
        official=Official(classes=200, train=5994, test=5794),
    ),
    "cars": DatasetRow(
        "Stanford Cars",
        _cars,
        True,
        "196 car models; the folder with devkit, cars_train and cars_test. Sorted into class folders, it is `folder`.",
        official=Official(classes=196, train=8144, test=8041),
    ),
    "aircraft": DatasetRow(
        "FGVC-Aircraft",
        _aircraft,
        True,
        "100 aircraft variants; the folder fgvc-aircraft-2013b.",
        official=Official(classes=100, train=6667, test=3333),
    ),
    "folder": DatasetRow(
        "Class folders",
        _folder,
        True,
        "Your own pictures, a folder or a zip: train/CLASS and test/CLASS, or CLASS alone, which is split by a seed.",
        archive=True,
    ),
}


def open_dataset(config: TrainConfig, progress: Progress | None = None) -> Dataset:
    """Return the data set that ``config`` names, cut to its limits per class.

    Reading checks every image once (`pmsi.data.checking`); ``progress`` follows that. Raises what `check_folder` does,
    and DataError where the folder is incomplete or holds no two classes with training and test images.
    """
    check_folder(config)
    dataset = DATASETS[config.dataset].open(config, progress)
    dataset = replace(
        dataset,
        train=limit(dataset.train, config.train_per_class, (config.split_seed, "train")),
        test=limit(dataset.test, config.test_per_class, (config.split_seed, "test")),
    )
    _require_images(dataset, config)
    return dataset


def check_folder(config: TrainConfig) -> None:
    """Raise what is wrong with ``dataset`` and ``data`` before anything is read.

    UnknownName for the name, ConfigError where a folder is needed and not given or the reverse, DataError where it
    does not exist, or is a zip that will not be unpacked (`pmsi.data.readers.archive`).
    """
    row = lookup("data set", DATASETS, config.dataset)
    if row.needs_folder:
        if (place := _place(config)).is_file():
            contents(place)
    elif config.data is not None:
        reading = ", ".join(name for name, other in DATASETS.items() if other.needs_folder)
        raise ConfigError(
            f"data = {config.data!r}, but the data set {config.dataset!r} reads no folder. Leave data out, or choose "
            f"a dataset that reads one: {reading}."
        )


def limit(samples: Sequence[Sample], per_class: int | None, seed: tuple[object, ...]) -> tuple[Sample, ...]:
    """Return at most ``per_class`` samples of each class, drawn by ``seed`` and each one's key, in their order.

    A smaller limit chooses among those of a larger one; None leaves all.
    """
    if per_class is None:
        return tuple(samples)
    by_class = defaultdict(list)
    for sample in samples:
        by_class[sample.label].append(sample.key)
    chosen = {
        key
        for keys in by_class.values()
        for key in sorted(keys, key=lambda key: derive(*seed, "limit", key))[:per_class]
    }
    return tuple(sample for sample in samples if sample.key in chosen)


def summary(dataset: Dataset, official: Official | None = None) -> dict[str, Any]:
    """Return what a data set holds as JSON types: its name, images per class in each split, and the images left out.

    ``completeness`` is a sentence where there is an ``official`` size to compare with, else None.
    """
    train, test = (count_by_class(dataset.split(split), dataset.classes) for split in ("train", "test"))
    return {
        "name": dataset.name,
        "train": len(dataset.train),
        "test": len(dataset.test),
        "classes": {name: {"train": train[name], "test": test[name]} for name in dataset.classes},
        "completeness": completeness(dataset, official) if official else None,
        "read_as": read_as(dataset),
        "notes": list(dataset.notes),
        "passed_over": dict(dataset.passed_over),
        "problems": [{"key": problem.key, "reason": problem.reason} for problem in dataset.problems],
    }


def read_as(dataset: Dataset) -> str:
    """Return in one line how a data set was read, and how many files were not used."""
    parts = [f"{len(dataset.classes)} classes", *([dataset.layout] if dataset.layout else [])]
    parts += [f"{len(dataset.train):,} + {len(dataset.test):,} images"]
    if unused := len(dataset.problems) + sum(dataset.passed_over.values()):
        parts += [f"{unused:,} files passed over"]
    return ", ".join(parts)


def _place(config: TrainConfig) -> Path:
    """Return the folder that the config gives, or the zip where its row takes one, absolute; or say what to give."""
    row = DATASETS[config.dataset]
    if not config.data:
        raise ConfigError(f"The data set {config.dataset!r} is read from a folder; give it as data. {row.help}")
    place = Path(config.data).expanduser().absolute()
    if not (place.is_dir() or (row.archive and place.is_file())):
        what = "is not a folder" if place.exists() else "does not exist"
        raise DataError(f"data = {config.data!r} {what}. Expected the folder of {row.title}. {row.help}")
    return place


def _require_images(dataset: Dataset, config: TrainConfig) -> None:
    left_out = ""
    if dataset.problems:
        problem = dataset.problems[0]
        left_out = f" {len(dataset.problems)} were left out, such as {problem.key}: {problem.reason}."
    where = f"{config.data or dataset.name}"
    if len(dataset.classes) < 2:
        names = ", ".join(dataset.classes) or "none"
        raise DataError(
            f"{where} has fewer than two classes with training images ({names}).{left_out} Expected the folder of "
            f"{DATASETS[config.dataset].title}. {DATASETS[config.dataset].help}"
        )
    for split in ("train", "test"):
        if not dataset.split(split):
            raise DataError(f"{where} has no {split} image.{left_out}")
