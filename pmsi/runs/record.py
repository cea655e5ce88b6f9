"""What a run was trained on, and whether a data set, or another run, is still that: the one place that decides it.

A run keeps a `pmsi.data.record.DataRecord` beside its config. Its label numbers are named by that record, its test
images are those of that record, and two runs are comparable where their records say so. Runs made before records were
kept have none; what they were trained on is then said to be unknown.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pmsi.base.errors import DataError, RunError
from pmsi.base.files import Stamp, stamp
from pmsi.config import Config, TrainConfig
from pmsi.runs.run import Run

if TYPE_CHECKING:
    from pmsi.data.dataset import Dataset, Sample
    from pmsi.data.record import Comparison, DataRecord, ImageRecord

# pmsi.data.record is imported inside functions: it needs numpy and Pillow, and runs are listed without them.


def record_of(run: Run) -> "DataRecord | None":
    """Return the record of what a run was trained on, or None where it is older than records.

    Raises DataError where the record is damaged.
    """
    from pmsi.data.record import FILE

    path = run.folder / FILE
    return _read(path, stamp(path))


@lru_cache(maxsize=64)
def _read(path: Path, changed: Stamp) -> "DataRecord | None":
    from pmsi.data.record import DataRecord

    return DataRecord.from_file(path)


def classes_of(run: Run) -> tuple[str, ...]:
    """Return the names of a training run's label numbers, in their order; RunError where the run does not say."""
    if record := record_of(run):
        return record.classes
    classes = (run.result() or {}).get("classes")
    if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
        return tuple(classes)
    raise RunError(f"Run {run.id!r} does not say which classes it was trained on: it has no record of its data.")


def trained_by(run: Run) -> Run:
    """Return the training run whose answers ``run`` holds: itself, or the run that it evaluates."""
    of = getattr(run.config, "of", None)
    return run if isinstance(run.config, TrainConfig) or not isinstance(of, str) else run.sibling(of)


def compare_runs(a: Run, b: Run) -> "Comparison":
    """Return whether two training runs can be compared, and what differs in words."""
    from pmsi.data.record import compare

    return compare(record_of(a), record_of(b), (f"run {a.id}", f"run {b.id}"))


SAME = ("dataset", "data", "test_fraction", "split", "test_on", "split_seed", "test_per_class")
"""Settings that decide which test images a run is judged by: all that is known of runs without a record."""


def apart(a: Run, b: Run, limited: bool = False) -> list[str]:
    """Return in words why the accuracies of two training runs cannot be compared; empty where they can.

    ``limited`` says that both are judged by test images drawn anew, so that those of the runs may differ.
    """
    from pmsi.data.record import FILE

    files = [run.folder / name for run in (a, b) for name in ("config.json", FILE, "result.json")]
    return list(_apart(a, b, limited, tuple(map(stamp, files))))


@lru_cache(maxsize=4096)
def _apart(a: Run, b: Run, limited: bool, changed: tuple[Stamp, ...]) -> tuple[str, ...]:
    if not limited and _same_files(a, b):
        return ()
    about = compare_runs(a, b)
    if about.unknown:
        return (*_other_classes(a, b), *_other_settings(a, b, limited))
    fair = about.same_labels and not (about.leaked or about.leaked_back) if limited else about.comparable
    return () if fair else tuple(about.reasons)


def _same_files(a: Run, b: Run) -> bool:
    """Return whether two runs have equal records, as runs on one data set do: equal records are equal files."""
    from pmsi.data.record import FILE

    files = (a.folder / FILE, b.folder / FILE)
    return all(file.is_file() for file in files) and files[0].read_bytes() == files[1].read_bytes()


def _other_classes(a: Run, b: Run) -> Iterator[str]:
    """Yield that two runs have other classes, where both say theirs."""
    with contextlib.suppress(RunError):
        if classes_of(a) != classes_of(b):
            yield f"The {len(classes_of(a))} classes of run {a.id} are not the {len(classes_of(b))} of run {b.id}."


def _other_settings(a: Run, b: Run, limited: bool) -> Iterator[str]:
    for name in SAME:
        ours, theirs = _setting(a, name), _setting(b, name)
        if ours != theirs and not (limited and name == "test_per_class"):
            yield f"{name} = {ours!r} in run {a.id} and {theirs!r} in run {b.id}."


ALIKE = ("image_size", "backbone", "weights")
"""Settings that a run shares with the one that it is shown beside by default: size, network and pretraining."""


def comparable(run: Run, others: Iterable[Run]) -> list[Run]:
    """Return those of ``others``, in their order, whose accuracies can be compared with a training run's."""
    trained = (other for other in others if other.id != run.id and isinstance(_config(other), TrainConfig))
    return [other for other in trained if not apart(run, other)]


def is_alike(a: Run, b: Run) -> bool:
    """Return whether two training runs began alike: the same network, pretraining and image size."""
    return all(_setting(a, name) == _setting(b, name) for name in ALIKE)


def _config(run: Run) -> Config | None:
    try:
        return run.config
    except RunError:
        return None


def _setting(run: Run, name: str) -> object:
    value = getattr(run.config, name, None)
    return str(Path(value).expanduser().absolute()) if name == "data" and value else value


def compare_data(run: Run, dataset: "Dataset") -> "Comparison":
    """Return what a data set has in common with what a run was trained on."""
    from pmsi.data.record import DataRecord, compare

    return compare(record_of(run), DataRecord.of(dataset), (f"run {run.id}", dataset.name))


def as_trained(run: Run, dataset: "Dataset") -> "tuple[Dataset, list[str]]":
    """Return the images of a data set that a run was trained and tested on, and in words what has changed since.

    Classes, label numbers, keys and split are the run's. An image is found by its pixels, wherever it lies now. Of a
    run without a record the data set is returned as it is.
    """
    from pmsi.data.images import pixels_digest

    record = record_of(run)
    about = compare_data(run, dataset)
    if record is None:
        return dataset, about.reasons
    here: dict[str, dict[str, Sample]] = {}  # by digest, then by key
    for sample in (*dataset.train, *dataset.test):
        here.setdefault(sample.digest or pixels_digest(dataset.open_image(sample)), {})[sample.key] = sample

    def found(images: "Iterable[ImageRecord]") -> "Iterator[Sample]":
        for image in images:
            if alike := here.get(image.digest):
                sample = alike.get(image.key) or next(iter(alike.values()))
                yield replace(sample, key=image.key, label=image.label, digest=image.digest)

    then = replace(dataset, classes=record.classes, train=tuple(found(record.train)), test=tuple(found(record.test)))
    return then, [*about.about_classes(), *_about_images(run, record, then, about)]


def _about_images(run: Run, record: "DataRecord", then: "Dataset", about: "Comparison") -> "Iterator[str]":
    """Yield in words which test images of a run are not there any more, and which it must not be tested on."""
    if gone := len(record.test) - len(then.test):
        changed = f"; {about.changed} have other pixels" if about.changed else ""
        yield f"{gone} of the {len(record.test)} test images of run {run.id} are gone{changed}."
    if about.leaked:
        yield f"{about.leaked} of today's {about.tested[1]} test images were among its training images."


def check_data(run: Run, dataset: "Dataset", insist: bool = False) -> list[str]:
    """Return in words how a data set differs from what a run was trained on.

    Raises DataError where its labels mean other classes, and, unless ``insist``, where the run has been trained on some
    of its test images.
    """
    about = compare_data(run, dataset)
    if about.unknown:
        return about.reasons
    if not about.same_labels:
        raise DataError(" ".join([*about.reasons, "Bring the data back as they were, or train a new run."]))
    if about.leaked and not insist:
        remedy = "An accuracy on them would be too high. Bring the data back as they were, or insist (--insist)."
        raise DataError(" ".join([*about.reasons, remedy]))
    return about.reasons
