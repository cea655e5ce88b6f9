"""The record of a run's data: class names, and the key, label and pixels' digest of every image.

A run stores a `DataRecord` beside its config and in its checkpoint, because its data set's folder may change later.
`compare` compares two.
"""

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import safetensors

from pmsi.base.errors import DataError
from pmsi.base.files import open_regular, parse_json, read_file, unpack, write_atomically
from pmsi.data.checking import Progress
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest

FILE = "data.json.gz"
"""Name of the file in a run's folder, and of the tensor of its bytes in a checkpoint."""

FORMAT = 1
DIGEST = 32
"""Number of hexadecimal digits of an image's digest."""

MAX_FILE_BYTES = 2**26
"""Limit of a file: a million images take about 30 MB, and 110 MB unpacked."""

SPLITS = ("train", "test")
OTHER = {"train": "test", "test": "train", "validation": "train"}
"""By split, the one in which its images may be now."""


class ImageRecord(NamedTuple):
    """One image: its key within the data set, its label number, and the digest of its pixels."""

    key: str
    label: int
    digest: str


@dataclass(frozen=True)
class DataRecord:
    """The classes, in the order of their label numbers, and the images of a data set.

    ``passed_over`` counts the files that were not used, by reason and suffix.
    """

    name: str
    classes: tuple[str, ...]
    train: tuple[ImageRecord, ...]
    test: tuple[ImageRecord, ...]
    passed_over: Mapping[str, int] = field(default_factory=dict)
    validation: tuple[ImageRecord, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset, progress: Progress | None = None) -> "DataRecord":
        """Return the record of a data set; opens only images without a digest, and calls ``progress`` for these."""
        samples = [*dataset.train, *dataset.test, *dataset.validation]
        unknown = sum(not sample.digest for sample in samples)
        images, done = [], 0
        for sample in samples:
            images.append(ImageRecord(sample.key, sample.label, digest_of(dataset, sample)))
            done += not sample.digest
            if progress is not None and not sample.digest:
                progress(done, unknown)
        count = len(dataset.train)
        test = count + len(dataset.test)
        train, tested, held = tuple(images[:count]), tuple(images[count:test]), tuple(images[test:])
        return cls(dataset.name, dataset.classes, train, tested, dataset.passed_over, held)

    @property
    def seen(self) -> tuple[ImageRecord, ...]:
        """The images that training saw: to learn from, and to choose by."""
        return (*self.train, *self.validation)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits: a hash of the classes and images in their order."""
        held = [[*map(tuple, self.validation)]] if self.validation else []
        content = repr((self.classes, [*map(tuple, self.train)], [*map(tuple, self.test)], *held))
        return hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=16).hexdigest()

    def changes(self, now: "DataRecord") -> list[str]:
        """Return the differences to the record ``now`` in words: classes, and images of both splits.

        Classes are told apart by their names and images, images by their keys and pixels, not by label numbers.
        """
        about = compare(self, now)
        found = [f"class {old!r} is called {new!r}" for old, new in about.renamed]
        found += [f"class {name!r} is gone" for name in about.removed]
        found += [f"class {name!r} is new" for name in about.added]
        names = dict(about.renamed)
        for split, other in OTHER.items():
            found += _changed_images(split, self._named(split), now._named(split), now._named(other), names)
        ordered = [(each.classes, each.train, each.test, each.validation) for each in (self, now)]
        if not found and ordered[0] != ordered[1]:
            found.append("classes or images come in another order")
        return found

    def _named(self, split: str) -> "dict[str, tuple[str, str]]":
        """Return {key: (digest, class name)} of a split."""
        return {image.key: (image.digest, self.classes[image.label]) for image in getattr(self, split)}

    def to_bytes(self) -> bytes:
        """Return the record as compressed JSON, about 30 bytes an image; the same for equal records."""
        images = {split: _columns(getattr(self, split)) for split in OTHER if split in SPLITS or self.validation}
        content = {"format": FORMAT, "name": self.name, "classes": self.classes, "passed_over": dict(self.passed_over)}
        return gzip.compress(json.dumps(content | images).encode(), mtime=0)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "The record of the data") -> "DataRecord":
        """Return the record that `to_bytes` wrote; DataError, with ``name``, if it is damaged."""
        try:
            return cls._parsed(parse_json(unpack(data)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"{name} is damaged ({error}). What the run was trained on is then unknown.") from error

    @classmethod
    def _parsed(cls, stored: Any) -> "DataRecord":
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']!r}, expected {FORMAT}")
        classes = tuple(map(_text, stored["classes"]))
        train, test = (_images(stored[split], len(classes)) for split in SPLITS)
        passed_over = {_text(reason): int(count) for reason, count in stored["passed_over"].items()}
        held = _images(stored["validation"], len(classes)) if "validation" in stored else ()
        return cls(_text(stored["name"]), classes, train, test, passed_over, held)

    def to_file(self, path: Path) -> None:
        """Write the record atomically."""
        write_atomically(path, self.to_bytes())

    @classmethod
    def from_file(cls, path: Path) -> "DataRecord | None":
        """Return the record in a file, or None if there is no file, as in runs from before there were records.

        Raises DataError if the file is damaged, too large or cannot be read.
        """
        try:
            return cls.from_bytes(read_file(path, MAX_FILE_BYTES), str(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}).") from error

    @classmethod
    def from_checkpoint(cls, path: Path) -> "DataRecord | None":
        """Return the record in a checkpoint, or None if there is no file or it has none; nothing else of it is read.

        Raises DataError if the record is damaged.
        """
        try:
            open_regular(path).close()
            with safetensors.safe_open(path, framework="numpy") as file:
                data = file.get_tensor(FILE) if FILE in file.keys() else None  # noqa: SIM118 (not a dict)
        except (OSError, safetensors.SafetensorError):
            return None  # what is wrong with it is said where its model is needed
        return None if data is None else cls.from_bytes(data.tobytes(), str(path))


Named = Mapping[str, tuple[str, str]]
"""Images by key: digest and class name."""


def _changed_images(split: str, old: Named, new: Named, other: Named, names: Mapping[str, str]) -> Iterator[str]:
    """Yield in words how the images of a split changed; ``other`` are those of the other split now, ``names`` classes
    that are called otherwise now.
    """
    here, there = dict(new.values()), dict(other.values())
    counts: Counter[str] = Counter()
    for key, (digest, name) in old.items():
        if digest in here:
            counts["have another name"] += key not in new or new[key][0] != digest
            counts["are of another class"] += here[digest] != names.get(name, name)
        elif digest in there:
            counts[f"are {OTHER[split].replace('train', 'training')} images now"] += 1
        else:
            counts["have other pixels" if key in new else "are gone"] += 1
    moved = sum(digest in here and key not in new for key, (digest, _) in old.items())
    counts["are new"] = sum(key not in old for key in new) - moved
    for what, count in counts.items():
        if count > 0:
            yield f"{count}{'' if what == 'are new' else f' of {len(old)}'} {split} images {what}"


def digest_of(dataset: Dataset, sample: Sample) -> str:
    """Return the digest of a sample's pixels; the image is opened only if it is not known."""
    return sample.digest or pixels_digest(dataset.open_image(sample))


def _columns(images: Sequence[ImageRecord]) -> dict[str, Any]:
    return {
        "keys": [image.key for image in images],
        "labels": [image.label for image in images],
        "digests": "".join(image.digest for image in images),
    }


def _images(stored: Mapping[str, Any], classes: int) -> tuple[ImageRecord, ...]:
    digests = stored["digests"]
    parts = [digests[start : start + DIGEST] for start in range(0, len(digests), DIGEST)]
    rows = zip(map(_text, stored["keys"]), stored["labels"], parts, strict=True)
    images = tuple(ImageRecord(*row) for row in rows)
    if any(type(image.label) is not int or not 0 <= image.label < classes for image in images):
        raise ValueError(f"a label is none of the numbers of its {classes} classes")
    return images


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


@dataclass(frozen=True)
class Comparison:
    """The comparison of two records, a and b. Images are identified by their pixels.

    Attributes:
        names: what sentences call a and b.
        unknown: those of ``names`` whose record is missing; then all else is meaningless.
        reordered: whether the same classes have other label numbers.
        renamed: names in a and in b of classes with mostly the same images.
        added, removed: other classes that only b has, and that only a has.
        tested: numbers of test images of a and of b.
        shared: number of common test images.
        changed: test images of b with the key of a test image of a, and pixels of none.
        relabelled: test images of b that have another class in a.
        leaked: test images of b that are training images of a.
        leaked_back: test images of a that are training images of b.
        unfair: test images of either that are training images of exactly one of the two.
    """

    names: tuple[str, str]
    unknown: tuple[str, ...] = ()
    reordered: bool = False
    renamed: tuple[tuple[str, str], ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    tested: tuple[int, int] = (0, 0)
    shared: int = 0
    changed: int = 0
    relabelled: int = 0
    leaked: int = 0
    leaked_back: int = 0
    unfair: int = 0

    @property
    def same_classes(self) -> bool:
        """Whether both have the same class names, in any order."""
        return not (self.unknown or self.renamed or self.added or self.removed)

    @property
    def same_labels(self) -> bool:
        """Whether a label number means the same class in both."""
        return self.same_classes and not self.reordered

    @property
    def same_test(self) -> bool:
        """Whether both have the same test images, of the same classes."""
        return not self.unknown and self.tested == (self.shared, self.shared) and not self.relabelled

    @property
    def comparable(self) -> bool:
        """Whether accuracies on a and on b can be compared: same classes and test images, and none of these is a
        training image of only one of the two. False if a record is missing.
        """
        return self.same_classes and self.same_test and not self.unfair

    @property
    def reasons(self) -> list[str]:
        """The differences and unknowns in sentences; empty if there are none."""
        if self.unknown:
            return [f"What {name} was trained on is unknown: it has no record of its data." for name in self.unknown]
        return [*self.about_classes(), *self._about_test_images(), *self._about_training_images()]

    def about_classes(self) -> Iterator[str]:
        """Yield in sentences what differs between the classes."""
        a, b = self.names
        for old, new in self.renamed:
            yield f"The class {old!r} of {a} is called {new!r} in {b}."
        for having, lacking, classes in ((a, b, self.removed), (b, a, self.added)):
            if classes:
                yield f"{_of(len(classes))} in {having} and not in {lacking}: {_first(classes)}."
        if self.reordered:
            yield f"The classes of {a} and {b} are the same, in another order."

    def _about_test_images(self) -> Iterator[str]:
        (a, b), (of_a, of_b) = self.names, self.tested
        if (of_a, of_b) != (self.shared, self.shared):
            yield f"{a} is tested on {of_a} images and {b} on {of_b}, of which {self.shared} are the same."
        if self.changed:
            yield f"{self.changed} of {of_b} test images of {b} have other pixels than those of {a} of that name."
        if self.relabelled:
            yield f"{self.relabelled} of {of_b} test images of {b} belong to another class in {a}."

    def _about_training_images(self) -> Iterator[str]:
        (a, b), (of_a, of_b) = self.names, self.tested
        for count, of, tested, trained in ((self.leaked, of_b, b, a), (self.leaked_back, of_a, a, b)):
            if count:
                were = "was" if count == 1 else "were"
                yield f"{count} of {of} test images of {tested} {were} among the training images of {trained}."


def compare(
    a: DataRecord | None, b: DataRecord | None, names: tuple[str, str] = ("the first", "the second")
) -> Comparison:
    """Return the comparison of ``a`` and ``b``; None is a missing record, ``names`` is what sentences call them."""
    if a is None or b is None:
        return Comparison(names, tuple(name for name, record in zip(names, (a, b), strict=True) if record is None))
    renamed = _renamed(a, b)
    known = {image.digest: set[str]() for image in (*a.seen, *a.test)}
    for image in (*a.seen, *a.test):
        known[image.digest].add(renamed.get(a.classes[image.label], a.classes[image.label]))
    digests_a, digests_b = (Counter(image.digest for image in record.test) for record in (a, b))
    trained_a, trained_b = ({image.digest for image in record.seen} for record in (a, b))
    keys = {image.key for image in a.test}
    return Comparison(
        names,
        reordered=a.classes != b.classes and set(a.classes) == set(b.classes),
        renamed=tuple(renamed.items()),
        added=tuple(name for name in b.classes if name not in a.classes and name not in renamed.values()),
        removed=tuple(name for name in a.classes if name not in b.classes and name not in renamed),
        tested=(len(a.test), len(b.test)),
        shared=(digests_a & digests_b).total(),
        changed=sum(image.key in keys and image.digest not in digests_a for image in b.test),
        relabelled=sum(b.classes[image.label] not in known.get(image.digest, b.classes) for image in b.test),
        leaked=sum(image.digest in trained_a for image in b.test),
        leaked_back=sum(image.digest in trained_b for image in a.test),
        unfair=len((trained_a ^ trained_b) & {*digests_a, *digests_b}),
    )


def _renamed(a: DataRecord, b: DataRecord) -> dict[str, str]:
    """Return {name in a: name in b} of classes with mostly the same images, and names that the other lacks."""
    old, new = _images_by_class(a, set(b.classes)), _images_by_class(b, set(a.classes))
    found: dict[str, str] = {}
    for name, images in old.items():
        best = max(new, key=lambda other: len(images & new[other]), default=None)
        if best is not None and 2 * len(images & new[best]) > max(len(images), len(new[best])):
            found[name] = best
            del new[best]
    return found


def _images_by_class(record: DataRecord, but: set[str]) -> dict[str, set[str]]:
    """Return {class name: digests of its images}, without the names in ``but``."""
    found: dict[str, set[str]] = {name: set() for name in record.classes if name not in but}
    for image in (*record.seen, *record.test):
        if (name := record.classes[image.label]) in found:
            found[name].add(image.digest)
    return found


def _of(count: int) -> str:
    return "1 class is" if count == 1 else f"{count} classes are"


def _first(names: Sequence[str], count: int = 5) -> str:
    return ", ".join(map(repr, names[:count])) + (", …" if len(names) > count else "")
