"""The record of what a run was trained on, and comparisons of it with a data set or another run.

A run keeps a `pmsi.data.record.DataRecord` beside its config. The record names the run's classes and its test images,
and decides whether two runs can be compared. Older runs have no record; what they were trained on is then unknown.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pmsi.base.errors import DataError, RunError
from pmsi.config import SPLIT_FIELDS, TrainConfig
from pmsi.runs.run import Run

if TYPE_CHECKING:
    from pmsi.data.dataset import Dataset
    from pmsi.data.record import Comparison, DataRecord

# pmsi.data.record is imported inside functions: it needs numpy and Pillow, and runs are listed without them.


def record_of(run: Run) -> "DataRecord | None":
    """Return the record of a run's data; None for an older run. Raises DataError if the record is damaged."""
    from pmsi.data.record import FILE

    path = run.folder / FILE
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    return _read(str(path), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=64)
def _read(path: str, changed: int, size: int) -> "DataRecord | None":
    from pmsi.data.record import DataRecord

    return DataRecord.from_file(Path(path))


def classes_of(run: Run) -> tuple[str, ...]:
    """Return the class names of a training run, in the order of its labels; raises RunError if it has none."""
    if record := record_of(run):
        return record.classes
    classes = (run.result() or {}).get("classes")
    if isinstance(classes, list) and all(isinstance(name, str) for name in classes):
        return tuple(classes)
    raise RunError(f"Run {run.id!r} does not say which classes it was trained on: it has no record of its data.")


def trained_by(run: Run) -> Run:
    """Return the training run whose predictions ``run`` holds: itself, or the run that it evaluates."""
    of = getattr(run.config, "of", None)
    return run if isinstance(run.config, TrainConfig) or not isinstance(of, str) else run.sibling(of)


def compare_runs(a: Run, b: Run) -> "Comparison":
    """Return whether two training runs can be compared, with the differences in words."""
    from pmsi.data.record import compare

    return compare(record_of(a), record_of(b), (f"run {a.id}", f"run {b.id}"))


def why_not_comparable(a: Run, b: Run, limited: bool = False) -> list[str]:
    """Return the reasons why the accuracies of two training runs cannot be compared; empty if they can.

    ``limited``: both are tested on images drawn anew, so the runs' own test images may differ.
    """
    about = compare_runs(a, b)
    if about.unknown:
        names = SPLIT_FIELDS if limited else (*SPLIT_FIELDS, "test_per_class")
        settings = [(name, _setting(a, name), _setting(b, name)) for name in names]
        return [f"{name} = {x!r} in run {a.id} and {y!r} in run {b.id}." for name, x, y in settings if x != y]
    fair = about.same_labels and not (about.leaked or about.leaked_back) if limited else about.comparable
    return [] if fair else about.reasons


def _setting(run: Run, name: str) -> object:
    value = getattr(run.config, name, None)
    return str(Path(value).expanduser().absolute()) if name == "data" and value else value


def compare_data(run: Run, dataset: "Dataset") -> "Comparison":
    """Return the comparison of a data set with what a run was trained on."""
    from pmsi.data.record import DataRecord, compare

    return compare(record_of(run), DataRecord.of(dataset), (f"run {run.id}", dataset.name))


def check_data(run: Run, dataset: "Dataset", insist: bool = False) -> list[str]:
    """Return the differences of a data set from what a run was trained on, in words.

    Raises DataError if its labels mean other classes, and, unless ``insist``, if the run was trained on some of its
    test images.
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
