"""The record of what a run was trained on, and comparisons of it with a data set or another run.

A run keeps a `pmsi.data.record.DataRecord` beside its config and in its checkpoint. The record names the run's classes
and its test images, and decides whether two runs can be compared. Older runs have no record; what they were trained on
is then unknown.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from pmsi.base.errors import DataError, RunError
from pmsi.base.files import LARGE, cached_by_files, expanded, read_file
from pmsi.config import SPLIT_FIELDS, Config, TrainConfig
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.record import FILE, Comparison, DataRecord, ImageRecord, compare, digest_of
from pmsi.runs.run import CHECKPOINT, Run

INSIST = "insist (--insist)"
"""The remedy where a model was trained on test images, as errors say it; a form has its own words for it."""


@cached_by_files(lambda run: (run.folder / FILE, run.folder / "checkpoints" / CHECKPOINT), most=64)
def record_of(run: Run) -> DataRecord | None:
    """Return the record of a run's data; None for an older run. Raises DataError if the record is damaged."""
    record = DataRecord.from_file(run.folder / FILE)
    return DataRecord.from_checkpoint(run.folder / "checkpoints" / CHECKPOINT) if record is None else record


def classes_of(run: Run) -> tuple[str, ...]:
    """Return the class names of a training run, in the order of its labels; raises RunError if it has none."""
    if record := record_of(run):
        return record.classes
    if classes := (run.result() or {}).get("classes"):
        return tuple(classes)
    raise RunError(f"Run {run.id!r} does not say which classes it was trained on: it has no record of its data.")


class Data(NamedTuple):
    """The class names of a training run, and its numbers of training and test images; None where unknown."""

    classes: tuple[str, ...] | None
    train: int | None
    test: int | None


def data_of(run: Run) -> Data:
    """Return what a training run's record, or else its result, says of its data."""
    if record := record_of(run):
        return Data(record.classes, len(record.train), len(record.test))
    result = run.result() or {}
    classes = result.get("classes")
    return Data(None if classes is None else tuple(classes), result.get("train_images"), result.get("test_images"))


def trained_by(run: Run) -> Run:
    """Return the training run whose predictions ``run`` holds: itself, or the run that it evaluates."""
    of = getattr(run.config, "of", None)
    return run if isinstance(run.config, TrainConfig) or not isinstance(of, str) else run.sibling(of)


def is_of_earlier_model(run: Run, trained: Run) -> bool:
    """Return whether a training run has gone on since ``run``, which is about it, began: it saw another model."""
    began, status = run.status().started_at, trained.status()
    return began is not None and began < max(status.started_at or 0.0, status.ended_at or 0.0)


def compare_runs(a: Run, b: Run) -> Comparison:
    """Return whether two training runs can be compared, with the differences in words."""
    return compare(record_of(a), record_of(b), (f"run {a.id}", f"run {b.id}"))


def why_not_comparable(a: Run, b: Run, limited: bool = False) -> list[str]:
    """Return the reasons why the accuracies of two training runs cannot be compared; empty if they can.

    ``limited``: both are tested on images drawn anew, so the runs' own test images may differ.
    """
    return list(_apart(a, b, limited))


def _files_of(a: Run, b: Run, limited: bool) -> list[Path]:
    names = ("config.json", FILE, "result.json", f"checkpoints/{CHECKPOINT}")
    return [run.folder / name for run in (a, b) for name in names]


@cached_by_files(_files_of)
def _apart(a: Run, b: Run, limited: bool) -> tuple[str, ...]:
    if unfair := (*_began_unfairly(a), *_began_unfairly(b)):
        return unfair
    if not limited and _same_files(a, b):
        return ()
    try:
        about = compare_runs(a, b)
    except DataError as error:  # a record is damaged
        return (str(error),)
    if about.unknown:
        return (*_settings_apart(a, b, limited), *_counts_apart(a, b, limited))
    fair = about.same_labels and not (about.leaked or about.leaked_back) if limited else about.comparable
    return () if fair else tuple(about.reasons)


def _began_unfairly(run: Run) -> Iterator[str]:
    """Yield in words that a run started, where its user insisted, from one that was trained on its test images."""
    config = _config(run)
    if not isinstance(config, TrainConfig) or config.start_from is None or not config.insist:
        return
    try:
        other = run.sibling(config.start_from)
    except RunError:
        yield f"run {run.id} started from a run that is gone, whatever that was trained on."
        return
    if leaked := compare_runs(other, run).leaked:
        yield f"run {run.id} started from run {other.id}, which was trained on {leaked} of its test images."


def _same_files(a: Run, b: Run) -> bool:
    """Return whether two runs have equal records, as runs on one data set do: equal records are equal files."""
    files = (a.folder / FILE, b.folder / FILE)
    return all(file.is_file() for file in files) and read_file(files[0], LARGE) == read_file(files[1], LARGE)


def why_not_together(a: Run, b: Run, limited: bool = False, insist: bool = False) -> list[str]:
    """Return the reasons why two training runs cannot be tested on the first one's images; empty if they can.

    As `why_not_comparable`, but label numbers must be the same, and with ``insist`` nothing else has to be.
    """
    same = _same_labels(a, b)
    if same and insist:
        return []
    reasons = why_not_comparable(a, b, limited) or ([] if same is not False else compare_runs(a, b).reasons)
    return [*reasons, f"Leave one out, or {INSIST}." if same else "Leave one out."] if reasons else []


def _same_labels(a: Run, b: Run) -> bool | None:
    """Return whether a label number means the same class to both runs; None if one does not say."""
    try:
        return classes_of(a) == classes_of(b)
    except RunError:
        return None


def differences_in(result: Mapping[str, Any]) -> list[str]:
    """Return in words, each once, how the data of a result differ from what the runs in it were trained on."""
    found = result.get("data") or []
    return [*dict.fromkeys(line for each in found.values() for line in each)] if isinstance(found, dict) else found


ALIKE = ("image_size", "backbone", "weights")
"""Settings that a run shares with the one that it is shown beside by default: size, network and pretraining."""


def comparable(run: Run, others: Iterable[Run]) -> list[Run]:
    """Return those of ``others``, in their order, whose accuracies can be compared with a training run's."""
    trained = (other for other in others if other.id != run.id and isinstance(_config(other), TrainConfig))
    return [other for other in trained if not why_not_comparable(run, other)]


def is_alike(a: Run, b: Run) -> bool:
    """Return whether two training runs began alike: the same network, pretraining and image size."""
    return all(_setting(a, name) == _setting(b, name) for name in ALIKE)


def _config(run: Run) -> Config | None:
    try:
        return run.config
    except RunError:
        return None


def experiments_apart(a: Run, b: Run) -> list[str]:
    """Return in words why two runs of equal data settings are not on the same data; empty where they are.

    As `why_not_comparable`, but their training images must be the same too.
    """
    if reasons := why_not_comparable(a, b):
        return reasons
    one, other = record_of(a), record_of(b)
    if one is None or other is None:
        return list(_counts_apart(a, b, train=True))
    first, second = ({(image.digest, record.classes[image.label]) for image in record.train} for record in (one, other))
    if first == second:
        return []
    both = f"{len(first & second)} are the same and of the same class"
    return [f"Run {a.id} is trained on {len(first)} images and run {b.id} on {len(second)}, of which {both}."]


def _settings_apart(a: Run, b: Run, limited: bool) -> Iterator[str]:
    for name in SPLIT_FIELDS if limited else (*SPLIT_FIELDS, "test_per_class"):
        ours, theirs = _setting(a, name), _setting(b, name)
        if ours != theirs:
            yield f"{name} = {ours!r} in run {a.id} and {theirs!r} in run {b.id}."


def _counts_apart(a: Run, b: Run, limited: bool = False, train: bool = False) -> Iterator[str]:
    """Yield how runs differ, of which one has no record: their results tell classes and numbers of images."""
    ours, theirs = data_of(a), data_of(b)
    if None not in (ours.classes, theirs.classes) and ours.classes != theirs.classes:
        yield f"Runs {a.id} and {b.id} have other classes."
    counted = [("training", ours.train, theirs.train)] if train else []
    for what, one, other in counted if limited else [*counted, ("test", ours.test, theirs.test)]:
        if None not in (one, other) and one != other:
            yield f"Run {a.id} has {one} {what} images and run {b.id} {other}."


def _setting(run: Run, name: str) -> object:
    value = getattr(run.config, name, None)
    return str(expanded(value).absolute()) if name == "data" and value else value


def compare_record(run: Run, record: DataRecord) -> Comparison:
    """Return what the record of a data set has in common with what a run was trained on."""
    return compare(record_of(run), record, (f"run {run.id}", record.name))


def as_trained(run: Run, dataset: Dataset) -> tuple[Dataset, list[str]]:
    """Return the images of a data set that a run was trained and tested on, and in words what has changed since.

    Classes, label numbers, keys and split are the run's. An image is found by its pixels, wherever it lies now. Of a
    run without a record the data set is returned as it is.
    """

    record = record_of(run)
    about = compare_data(run, dataset)
    if record is None:
        return dataset, about.reasons
    here: dict[str, dict[str, Sample]] = {}  # by digest, then by key
    for sample in dataset.samples:
        here.setdefault(digest_of(dataset, sample), {})[sample.key] = sample

    def found(images: Iterable[ImageRecord]) -> Iterator[Sample]:
        for image in images:
            if alike := here.get(image.digest):
                sample = alike.get(image.key) or next(iter(alike.values()))
                yield replace(sample, key=image.key, label=image.label, digest=image.digest)

    train, test, held = (tuple(found(images)) for images in (record.train, record.test, record.validation))
    then = replace(dataset, classes=record.classes, train=train, test=test, validation=held)
    return then, [*about.about_classes(), *_about_images(run, record, then, about)]


def _about_images(run: Run, record: DataRecord, then: Dataset, about: Comparison) -> Iterator[str]:
    """Yield in words which test images of a run are not there any more, and which it must not be tested on."""
    if gone := len(record.test) - len(then.test):
        changed = f"; {about.changed} have other pixels" if about.changed else ""
        yield f"{gone} of the {len(record.test)} test images of run {run.id} are gone{changed}."
    if about.leaked:
        yield f"{about.leaked} of today's {about.tested[1]} test images were among its training images."


def compare_data(run: Run, dataset: Dataset, limited: bool = False) -> Comparison:
    """Return what a data set has in common with what a run was trained on.

    ``limited`` says that fewer test images were asked for: that there are fewer is then no difference.
    """

    about = compare_record(run, DataRecord.of(dataset))
    if limited and about.shared == about.tested[1]:
        return replace(about, tested=(about.shared, about.shared))
    return about


def check_data(run: Run, dataset: Dataset, insist: bool = False, limited: bool = False) -> list[str]:
    """Return in words how a data set differs from what a run was trained on; see `compare_data` for ``limited``.

    Raises DataError if its labels mean other classes, and, unless ``insist``, if the run was trained on some of its
    test images.
    """
    about = compare_data(run, dataset, limited)
    if about.unknown:
        return about.reasons
    if not about.same_labels:
        raise DataError(" ".join([*about.reasons, "Bring the data back as they were, or train a new run."]))
    if about.leaked and not insist:
        remedy = f"An accuracy on them would be too high. Bring the data back as they were, or {INSIST}."
        raise DataError(" ".join([*about.reasons, remedy]))
    return about.reasons
