"""DATASETS, the data sets by name, and `open_dataset`. Importing this package imports no torch.

`pmsi.data.dataset` has the type `Dataset`; `pmsi.data.loading` makes batches of its images.
"""

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pmsi.base.errors import ConfigError, DataError, lookup
from pmsi.base.files import expanded
from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.data.checking import Progress
from pmsi.data.completeness import Official, completeness
from pmsi.data.dataset import Dataset, Sample, count_by_class, drawn_of_each, hold_back, leave_out
from pmsi.data.duplicates import find_duplicates
from pmsi.data.readers.aircraft import aircraft
from pmsi.data.readers.archive import contents
from pmsi.data.readers.cars import cars
from pmsi.data.readers.cub import NABIRDS, cub
from pmsi.data.readers.dogs import dogs
from pmsi.data.readers.flowers import flowers
from pmsi.data.readers.folder import folder
from pmsi.data.readers.funnybirds import funnybirds
from pmsi.data.readers.pets import pets
from pmsi.data.readers.tree import folders_below
from pmsi.data.readers.unpacking import packed_in, unpacked, unpacked_inside

Opener = Callable[[TrainConfig, Progress | None], Dataset]
"""Reads a data set, from ``config.data`` if it needs a folder, before any limit per class."""


@dataclass(frozen=True)
class DatasetRow:
    """A row of DATASETS.

    ``help`` describes the data set and its folder. ``archive`` says whether a zip or tar can be given instead of a
    folder. ``official`` is the size of a published data set, ``signs`` are files, any of which shows its layout.
    """

    title: str
    open: Opener
    needs_folder: bool
    help: str
    archive: bool = False
    official: Official | None = None
    signs: tuple[str, ...] = ()


PER_CLASS = 40
"""Images of each class that are drawn for each split where a config sets no limit."""

MOST_PER_CLASS = 10_000
"""Limit of such images."""


def _plumage(config: TrainConfig, progress: Progress | None) -> Dataset:
    from pmsi.data.plumage import plumage  # here, because it imports all that draws

    return plumage(
        train_per_class=config.train_per_class or PER_CLASS,
        test_per_class=config.test_per_class or PER_CLASS,
        seed=config.split_seed,
    )


def _folder(config: TrainConfig, progress: Progress | None) -> Dataset:
    place = _place(config)
    read = partial(
        folder,
        test_fraction=config.test_fraction,
        split=config.split,
        split_seed=config.split_seed,
        test_on=config.test_on,
        label_column=config.label_column,
        encoding=config.name_encoding,
        name=place.name if place.is_dir() else re.sub(r"(\.tar)?\.[^.]+$", "", place.name),
    )
    dataset = _read(read, config, progress)
    if (published := kind_of(place)) == "folder":
        return dataset
    title = DATASETS[published].title
    note = f"It has the lists of {title}: the data set {published!r} reads it with its official split."
    return replace(dataset, notes=(*dataset.notes, note))


def _read(read: Callable[..., Dataset], config: TrainConfig, progress: Progress | None) -> Dataset:
    """Return the data set that ``read`` finds in the config's folder, or in its archive after unpacking."""
    place = _place(config)
    if place.is_dir():
        return _read_folder(read, place, config, progress)
    home = unpacked(place, progress, encoding=config.name_encoding)
    try:
        dataset = read(home, progress=progress)
    except DataError as error:
        raise DataError(f"{place.name}, unpacked: {error}") from error
    more = contents(place, encoding=config.name_encoding).passed_over
    return replace(dataset, passed_over=dict(more + Counter(dataset.passed_over)))


def _read_folder(read: Callable[..., Dataset], place: Path, config: TrainConfig, progress: Progress | None) -> Dataset:
    """Return the data set in a folder; where its files are still packed in archives there, unpack them."""
    try:
        return read(place, progress=progress)
    except DataError:
        home = unpacked_inside(place, progress, encoding=config.name_encoding)
        if home is None:
            raise
    dataset = read(home, progress=progress)
    return replace(dataset, notes=(*dataset.notes, f"The archives in {place.name} were unpacked into the cache."))


DATASETS: dict[str, DatasetRow] = {
    "plumage": DatasetRow(
        "Plumage (built in)",
        _plumage,
        False,
        "Birds drawn by the program itself, with a mask of every part; the limits per class say how many.",
    ),
    "cub": DatasetRow(
        "CUB-200-2011",
        partial(_read, cub),
        True,
        "200 bird species; the folder CUB_200_2011, or some of its classes laid out alike.",
        archive=True,
        official=Official(classes=200, train=5994, test=5794),
        signs=("train_test_split.txt", "image_class_labels.txt"),
    ),
    "nabirds": DatasetRow(
        "NABirds",
        partial(_read, partial(cub, variant=NABIRDS)),
        True,
        "555 kinds of North American birds; the folder nabirds, whose lists are those of CUB-200-2011.",
        archive=True,
        official=Official(classes=555, train=23929, test=24633),
    ),
    "cars": DatasetRow(
        "Stanford Cars",
        partial(_read, cars),
        True,
        "196 car models; the folder with devkit, cars_train and cars_test. Sorted into class folders, it is `folder`.",
        archive=True,
        official=Official(classes=196, train=8144, test=8041),
        signs=("cars_train_annos.mat", "cars_annos.mat"),
    ),
    "aircraft": DatasetRow(
        "FGVC-Aircraft",
        partial(_read, aircraft),
        True,
        "100 aircraft variants; the folder fgvc-aircraft-2013b.",
        archive=True,
        official=Official(classes=100, train=6667, test=3333),
        signs=("variants.txt", "images_variant_trainval.txt"),
    ),
    "flowers": DatasetRow(
        "Oxford Flowers-102",
        lambda config, progress: _read(partial(flowers, test_on=config.test_on), config, progress),
        True,
        "102 kinds of flowers; the folder with jpg, imagelabels.mat and setid.mat.",
        archive=True,
        official=Official(classes=102, train=2040, test=6149),
        signs=("imagelabels.mat", "setid.mat"),
    ),
    "pets": DatasetRow(
        "Oxford-IIIT Pets",
        partial(_read, pets),
        True,
        "37 breeds of cats and dogs; the folder with images and annotations.",
        archive=True,
        official=Official(classes=37, train=3680, test=3669),
        signs=("annotations/trainval.txt",),
    ),
    "dogs": DatasetRow(
        "Stanford Dogs",
        partial(_read, dogs),
        True,
        "120 breeds of dogs; the folder with Images, train_list.mat and test_list.mat.",
        archive=True,
        official=Official(classes=120, train=12000, test=8580),
        signs=("train_list.mat", "test_list.mat"),
    ),
    "funnybirds": DatasetRow(
        "FunnyBirds",
        partial(_read, funnybirds),
        True,
        "Rendered birds with masks of their parts, also without each part; the folder FunnyBirds, unpacked.",
        signs=("dataset_test.json",),
    ),
    "folder": DatasetRow(
        "Class folders",
        _folder,
        True,
        "Your pictures, a folder, zip or tar: train/CLASS and test/CLASS, or CLASS alone, which is split by a seed.",
        archive=True,
    ),
}


def open_dataset(config: TrainConfig, progress: Progress | None = None) -> Dataset:
    """Return the data set that ``config`` names, cut to its limits per class, with its validation part held back.

    Every image is checked at the first reading (`pmsi.data.checking`), which calls ``progress``. Raises what
    `check_folder` does, and DataError if the folder is incomplete, or has fewer than two classes with training images,
    or no test image.
    """
    check_folder(config)
    dataset = leave_out(DATASETS[config.dataset].open(config, progress), config.held_out)
    dataset = replace(
        dataset,
        train=limit(dataset.train, config.train_per_class, (config.split_seed, "train")),
        test=limit(dataset.test, config.test_per_class, (config.split_seed, "test")),
    )
    _require_images(dataset, config)
    return hold_back(dataset, config.validation, config.split_seed)


def check_folder(config: TrainConfig) -> None:
    """Raise if ``dataset`` and ``data`` of a config cannot be read; images are not checked.

    UnknownName for an unknown name, ConfigError if a folder is missing or not needed, DataError if it does not exist,
    or if an archive is refused (`pmsi.data.readers.archive`).
    """
    row = lookup("data set", DATASETS, config.dataset)
    if row.needs_folder:
        if (place := _place(config)).is_file():
            contents(place, encoding=config.name_encoding)
        return
    for name in ("train_per_class", "test_per_class"):
        if (getattr(config, name) or 0) > MOST_PER_CLASS:
            raise ConfigError(
                f"{name} = {getattr(config, name)}: of {row.title}, at most {MOST_PER_CLASS} images of each class are "
                "drawn for each split."
            )
    if config.data is not None:
        reading = ", ".join(name for name, other in DATASETS.items() if other.needs_folder)
        raise ConfigError(
            f"data = {config.data!r}, but the data set {config.dataset!r} reads no folder. Leave data out, or choose "
            f"a dataset that reads one: {reading}."
        )


def limit(samples: Sequence[Sample], per_class: int | None, seed: tuple[object, ...]) -> tuple[Sample, ...]:
    """Return at most ``per_class`` samples of each class, drawn by ``seed`` and the samples' keys, in their order.

    The samples of a smaller limit are among those of a larger one. None is no limit.
    """
    if per_class is None:
        return tuple(samples)
    chosen = drawn_of_each(samples, lambda count: per_class, *seed, "limit")
    return tuple(sample for sample in samples if sample.key in chosen)


def kind_of(place: Path) -> str:
    """Return the row of DATASETS whose layout a folder or archive has: a published one by its signs, else "folder"."""
    homes = [place, *folders_below(place)] if place.is_dir() else []
    files: list[str] = []
    for archive in [place] if place.is_file() else packed_in(place) if len(homes) == 1 else ():
        with contextlib.suppress(DataError):
            files += [f"/{path}" for path in contents(archive, lists_alone=True).files]

    def has(sign: str) -> bool:
        return any((home / sign).exists() for home in homes) or any(path.endswith(f"/{sign}") for path in files)

    return next((name for name, row in DATASETS.items() if any(map(has, row.signs))), "folder")


def official_of(row: DatasetRow, dataset: Dataset) -> Official | None:
    """Return the published size of what a row has read; it may be another published data set of the same layout."""
    return DATASETS[dataset.name].official if row.official else None


def summary(dataset: Dataset, official: Official | None = None) -> dict[str, Any]:
    """Return a data set's name, images per class and split, problems, notes and duplicates, as JSON types.

    ``completeness`` is a sentence that compares with the ``official`` size, or None without one.
    """
    train, test = (count_by_class(dataset.split(split), dataset.classes) for split in ("train", "test"))
    same = find_duplicates(dataset)
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
        "duplicates": {
            "words": same.words,
            "leaked": same.leaked,
            "pairs": [{"exact": pair.exact, "images": [pair.a._asdict(), pair.b._asdict()]} for pair in same.pairs],
        },
    }


def read_as(dataset: Dataset) -> str:
    """Return the line that says how a data set was read, and how many files were not used."""
    parts = [f"{len(dataset.classes)} classes", *([dataset.layout] if dataset.layout else [])]
    parts += [
        f"{len(dataset.train):,} + {len(dataset.test):,} images" if dataset.test else f"{len(dataset.train):,} images"
    ]
    if unused := len(dataset.problems) + sum(dataset.passed_over.values()):
        parts += [f"{unused:,} {'file' if unused == 1 else 'files'} passed over"]
    return ", ".join(parts)


def _place(config: TrainConfig) -> Path:
    """Return the absolute path of the config's folder or archive; ConfigError or DataError if there is none."""
    row = DATASETS[config.dataset]
    if not config.data:
        raise ConfigError(f"The data set {config.dataset!r} is read from a folder; give it as data. {row.help}")
    place = expanded(config.data).absolute()
    if not (place.is_dir() or (row.archive and place.is_file())):
        what = "is not a folder" if place.exists() else "does not exist"
        raise DataError(f"data = {config.data!r} {what}. Expected the folder of {row.title}. {row.help}")
    return place


def _require_images(dataset: Dataset, config: TrainConfig) -> None:
    left_out = ""
    if dataset.problems:
        problem = dataset.problems[0]
        left_out = f" {len(dataset.problems)} were left out, such as {problem.key}: {problem.reason}."
    if dataset.passed_over:
        reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(dataset.passed_over).most_common(3))
        left_out += f" Files passed over: {reasons}."
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
