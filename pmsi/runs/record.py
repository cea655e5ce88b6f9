"""What a run was trained on, and whether a data set, or another run, is still that: the one place that decides it.

A run keeps a `pmsi.data.record.DataRecord` beside its config. Its label numbers are named by that record, its test
images are those of that record, and two runs are comparable where their records say so. Runs made before records were
kept have none; what they were trained on is then said to be unknown.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pmsi.base.errors import DataError, RunError
from pmsi.config import TrainConfig
from pmsi.runs.run import Run

if TYPE_CHECKING:
    from pmsi.data.dataset import Dataset
    from pmsi.data.record import Comparison, DataRecord

# pmsi.data.record is imported inside functions: it needs numpy and Pillow, and runs are listed without them.


def record_of(run: Run) -> "DataRecord | None":
    """Return the record of what a run was trained on, or None where it is older than records.

    Raises DataError where the record is damaged.
    """
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
    about = compare_runs(a, b)
    if about.unknown:
        return [
            f"{name} = {ours!r} in run {a.id} and {theirs!r} in run {b.id}."
            for name in SAME
            if (ours := _setting(a, name)) != (theirs := _setting(b, name)) and not (limited and name == SAME[-1])
        ]
    fair = about.same_labels and not (about.leaked or about.leaked_back) if limited else about.comparable
    return [] if fair else about.reasons


def _setting(run: Run, name: str) -> object:
    value = getattr(run.config, name, None)
    return str(Path(value).expanduser().absolute()) if name == "data" and value else value


def compare_data(run: Run, dataset: "Dataset") -> "Comparison":
    """Return what a data set has in common with what a run was trained on."""
    from pmsi.data.record import DataRecord, compare

    return compare(record_of(run), DataRecord.of(dataset), (f"run {run.id}", dataset.name))


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
