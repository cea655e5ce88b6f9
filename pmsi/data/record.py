"""What a run was trained on: class names, and the key, label and pixels' digest of every image.

A run keeps a `DataRecord` beside its config, so that its label numbers keep their names and its images their identity,
whatever becomes of the folder. `compare` says what two of them have in common::

    record = DataRecord.of(open_dataset(config))
    record.to_file(run.folder / FILE)
    …
    then, now = DataRecord.from_file(run.folder / FILE), DataRecord.of(open_dataset(config))
    names = then.classes if then else now.classes          # of the run's label numbers
    about = compare(then, now, ("the run", "the folder"))
    if about.leaked and not insisted:                      # the run's model tested on what it was trained on
        raise DataError(" ".join(about.reasons))
    if not about.comparable:                               # its accuracy beside that of another run
        print(*about.reasons, sep="\\n")
"""

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pmsi.base.errors import DataError
from pmsi.base.files import write_atomically
from pmsi.data.checking import Progress
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest

FILE = "data.json.gz"
"""Name of the file in a run's folder."""

FORMAT = 1
DIGEST = 32
"""Hexadecimal digits of an image's digest."""

MAX_FILE_BYTES, MAX_TEXT_BYTES = 2**26, 2**28
"""No file may be larger, nor unpack to more: a million images take about 30 MB, and 110 MB unpacked."""

SPLITS = ("train", "test")


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

    @classmethod
    def of(cls, dataset: Dataset, progress: Progress | None = None) -> "DataRecord":
        """Return the record of a data set; only images whose digests no reader has found yet are opened for it."""
        samples = [*dataset.train, *dataset.test]
        unknown = sum(not sample.digest for sample in samples)
        images, done = [], 0
        for sample in samples:
            images.append(ImageRecord(sample.key, sample.label, _digest(dataset, sample)))
            done += not sample.digest
            if progress is not None and not sample.digest:
                progress(done, unknown)
        count = len(dataset.train)
        return cls(dataset.name, dataset.classes, tuple(images[:count]), tuple(images[count:]), dataset.passed_over)

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that stand for the classes and images in their order."""
        content = repr((self.classes, [*map(tuple, self.train)], [*map(tuple, self.test)]))
        return hashlib.blake2b(content.encode(errors="surrogatepass"), digest_size=16).hexdigest()

    def changes(self, now: "DataRecord") -> list[str]:
        """Return in words what is not as it was: classes, and images of either split by key and pixels, in order."""
        found = []
        if self.classes != now.classes:
            found.append(f"the classes were {_first(self.classes)} and are {_first(now.classes)}")
        for split in SPLITS:
            old, new = ({image.key: image for image in getattr(record, split)} for record in (self, now))
            both = [(old[key], new[key]) for key in old if key in new]
            for count, what in (
                (len(old) - len(both), "gone"),
                (len(new) - len(both), "new"),
                (sum(then.digest != there.digest for then, there in both), "changed"),
                (sum(then.label != there.label for then, there in both), "of another class"),
            ):
                if count:
                    found.append(f"{count} of {len(old)} {split} images are {what}")
        if not found and (self.train, self.test) != (now.train, now.test):
            found.append("the images come in another order")
        return found

    def to_bytes(self) -> bytes:
        """Return the record as compressed JSON, about 30 bytes an image; the same for equal records."""
        images = {split: _columns(getattr(self, split)) for split in SPLITS}
        content = {"format": FORMAT, "name": self.name, "classes": self.classes, "passed_over": dict(self.passed_over)}
        return gzip.compress(json.dumps(content | images).encode(), mtime=0)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "The record of the data") -> "DataRecord":
        """Return what `to_bytes` wrote; ``name`` is what errors call it. Raises DataError where it is damaged."""
        try:
            unpacker = zlib.decompressobj(wbits=31)
            text = unpacker.decompress(data, MAX_TEXT_BYTES)
            if not unpacker.eof:
                raise ValueError(f"it is cut off, or unpacks to more than {MAX_TEXT_BYTES // 2**20} MB")
            return cls._parsed(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, zlib.error) as error:
            raise DataError(f"{name} is damaged ({error}). What the run was trained on is then unknown.") from error

    @classmethod
    def _parsed(cls, stored: Any) -> "DataRecord":
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']!r}, expected {FORMAT}")
        classes = tuple(map(_text, stored["classes"]))
        train, test = (_images(stored[split], len(classes)) for split in SPLITS)
        passed_over = {_text(reason): int(count) for reason, count in stored["passed_over"].items()}
        return cls(_text(stored["name"]), classes, train, test, passed_over)

    def to_file(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        write_atomically(path, self.to_bytes())

    @classmethod
    def from_file(cls, path: Path) -> "DataRecord | None":
        """Return the record in a file, or None where there is no file: the run is older than records.

        Raises DataError where the file is damaged, too large or cannot be read.
        """
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror}).") from error
        if len(data) > MAX_FILE_BYTES:
            raise DataError(f"{path} has more than {MAX_FILE_BYTES // 2**20} MB. Expected the record of a data set.")
        return cls.from_bytes(data, str(path))


def _digest(dataset: Dataset, sample: Sample) -> str:
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
    """What two records, a and b, have in common. Images are known by their pixels, wherever they lie."""

    names: tuple[str, str]
    """What sentences call a and b."""
    unknown: tuple[str, ...] = ()
    """Those of ``names`` whose record is missing; everything below is then without meaning."""
    reordered: bool = False
    """Whether the same classes have other label numbers."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Names in a and in b of classes that hold the same images."""
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    """Classes of b alone, and of a alone, other than the renamed."""
    tested: tuple[int, int] = (0, 0)
    """Test images of a and of b."""
    shared: int = 0
    """Test images that a and b have in common."""
    changed: int = 0
    """Test images of b that have the key of one of a's, and pixels that no test image of a has."""
    relabelled: int = 0
    """Test images of b that belong to another class in a."""
    leaked: int = 0
    """Test images of b that are training images of a: what a's model has seen, tested on b."""
    leaked_back: int = 0
    """Test images of a that are training images of b."""
    unfair: int = 0
    """Test images of either that one of the two was trained on and the other was not."""

    @property
    def same_classes(self) -> bool:
        """Whether both have the same class names, in whatever order."""
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
        """Whether accuracies of a and of b answer one question: the same classes and test images, of which neither
        alone has been trained on any. False where a record is missing.
        """
        return self.same_classes and self.same_test and not self.unfair

    @property
    def reasons(self) -> list[str]:
        """What differs or is unknown, in sentences; empty where nothing does."""
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
        for count, of, tested, trained in zip(
            (self.leaked, self.leaked_back), self.tested[::-1], self.names[::-1], self.names, strict=True
        ):
            if count:
                yield f"{count} of {of} test images of {tested} {_were(count)} among the training images of {trained}."


def compare(
    a: DataRecord | None, b: DataRecord | None, names: tuple[str, str] = ("the first", "the second")
) -> Comparison:
    """Return what ``a`` and ``b`` have in common; ``names`` is what sentences call them."""
    if a is None or b is None:
        return Comparison(names, tuple(name for name, record in zip(names, (a, b), strict=True) if record is None))
    renamed = _renamed(a, b)
    known = {image.digest: set[str]() for image in (*a.train, *a.test)}
    for image in (*a.train, *a.test):
        known[image.digest].add(renamed.get(a.classes[image.label], a.classes[image.label]))
    digests_a, digests_b = (Counter(image.digest for image in record.test) for record in (a, b))
    trained_a, trained_b = ({image.digest for image in record.train} for record in (a, b))
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
    """Return {name in a: name in b} of classes that hold mostly the same images under names that the other lacks."""
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
    for image in (*record.train, *record.test):
        if (name := record.classes[image.label]) in found:
            found[name].add(image.digest)
    return found


def _of(count: int) -> str:
    return "1 class is" if count == 1 else f"{count} classes are"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _first(names: Sequence[str], count: int = 5) -> str:
    return ", ".join(map(repr, names[:count])) + (", …" if len(names) > count else "")
