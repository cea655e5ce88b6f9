"""Records of data: what is written is read back, and what two have in common is what a plain loop over them finds."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pmsi.base.errors import DataError
from pmsi.data import record as module
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest
from pmsi.data.plumage import DRAWING, plumage
from pmsi.data.plumage.drawing import draw_image
from pmsi.data.record import DataRecord, ImageRecord, compare

Named = list[tuple[str, str, str]]
"""Images as (key, class name, digest)."""


def digest(number):
    return f"{number:032x}"


def made(classes, train, test):
    sides = (
        tuple(ImageRecord(key, classes.index(name), digest) for key, name, digest in images) for images in (train, test)
    )
    return DataRecord("set", tuple(classes), *sides)


def named(record, split):
    return [(image.key, record.classes[image.label], image.digest) for image in getattr(record, split)]


def random_record(rng):
    classes = [f"class {i}" for i in range(rng.randint(2, 5))]
    numbers = iter(rng.sample(range(10**6), 60))
    sides = [
        [(f"{split}/{name}/{i}", name, digest(next(numbers))) for name in classes for i in range(rng.randint(2, 5))]
        for split in ("train", "test")
    ]
    return made(classes, *sides)


# --- One record ----------------------------------------------------------------------------------------------------


def test_what_is_written_is_read_back_in_few_bytes(tmp_path):
    rng = random.Random(0)
    record = replace(random_record(rng), name="Vögel \udcff", passed_over={"not an image (.txt)": 3})
    record.to_file(tmp_path / "a")
    again = DataRecord.from_file(tmp_path / "a")
    assert again == record
    assert again.digest == record.digest
    assert replace(record, name="other", passed_over={}).digest == record.digest
    assert DataRecord.from_file(tmp_path / "none") is None
    keys = [f"images/{i // 50:03}.Some_Long_Class_Name/Some_Long_Class_Name_{i:04}_{i * 7}.jpg" for i in range(1000)]
    large = made(["a", "b"], [(key, "a", rng.randbytes(16).hex()) for key in keys], [])
    assert len(large.to_bytes()) < 40 * len(keys)


def test_every_change_of_a_class_or_an_image_changes_the_digest_of_the_whole():
    record = random_record(random.Random(1))
    first = record.train[0]
    changed = [
        replace(record, classes=record.classes[::-1]),
        replace(record, train=record.train[::-1]),
        replace(record, train=record.train[1:], test=(*record.test, first)),
        *(replace(record, train=(image, *record.train[1:])) for image in (
            first._replace(key="x"), first._replace(label=1), first._replace(digest=digest(7)),
        )),
    ]  # fmt: skip
    assert len({record.digest, *(other.digest for other in changed)}) == len(changed) + 1


def test_damaged_foreign_and_huge_files_are_refused(tmp_path, monkeypatch):
    record = random_record(random.Random(2))
    data, path = record.to_bytes(), tmp_path / "a"
    damaged = [data[:n] for n in range(0, len(data), 9)]
    rng = random.Random(0)
    damaged += [data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :] for at in range(10, len(data))]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(DataError, match="damaged"):
            DataRecord.from_file(path)
    stored = json.loads(module.gzip.decompress(data))
    wrong_label = stored["test"] | {"labels": [9] * len(record.test)}
    for change in ({"format": 99}, {"classes": 3}, {"train": {}}, {"test": wrong_label}, {"classes": [1, 2]}):
        path.write_bytes(module.gzip.compress(json.dumps(stored | change).encode()))
        with pytest.raises(DataError):
            DataRecord.from_file(path)
    for text in (b"[" * 10**6, b"null", b"{}"):
        path.write_bytes(module.gzip.compress(text))
        with pytest.raises(DataError):
            DataRecord.from_file(path)
    with pytest.raises(DataError, match="unpacks to more"):
        DataRecord.from_bytes(module.gzip.compress(bytes(10**7)))
    monkeypatch.setattr(module, "MAX_FILE_BYTES", 100)
    path.write_bytes(data)
    with pytest.raises(DataError, match="more than"):
        DataRecord.from_file(path)


def test_only_images_without_a_digest_are_opened():
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    opened = []
    dataset = Dataset(
        "set",
        ("a", "b"),
        (Sample("x", 0, digest=digest(1)), Sample("y", 1)),
        (Sample("z", 1),),
        lambda sample: opened.append(sample.key) or image,
        passed_over={"system file": 2},
    )
    calls = []
    record = DataRecord.of(dataset, lambda done, total: calls.append((done, total)))
    assert opened == ["y", "z"]
    assert calls == [(1, 2), (2, 2)]
    assert record.train == (("x", 0, digest(1)), ("y", 1, pixels_digest(image)))
    assert record.passed_over == {"system file": 2}


def test_a_drawings_digest_follows_from_what_is_drawn():
    few, more = (DataRecord.of(plumage(train_per_class=n, test_per_class=2)) for n in (2, 3))
    assert set(few.train) < set(more.train)
    assert few.test == more.test
    others = [plumage(seed=1, train_per_class=2), plumage(size=64, train_per_class=2)]
    digests = [{image.digest for image in DataRecord.of(data).train} for data in (plumage(train_per_class=2), *others)]
    assert len(set.union(*digests)) == 3 * 24


def test_drawings_are_those_of_their_version():
    """Where this fails because drawings were changed on purpose, raise DRAWING and put the new colours here."""
    assert DRAWING == 1
    expected = {
        0: "e5cc9dd3be8fcac38fdaca949c8a66d4c795a7a270b2ac7abab27d",
        4: "cfdce5c9d8e2cbd9e3d5e2eac5cdc8c5d2d2d8e1e4babeb6c8d1d3",
        8: "ccc29ecabf9ccbbd9eb7a984b5a886beb393c9be99d0c6a3c9bd99",
        11: "d9e3f7dce3f6dee6f9d8e2f7a8acbebbbfcdcbd0e1d2d7e6cdcdd3",
    }
    for species, colours in expected.items():
        small = np.asarray(draw_image(species, 7, 128).resize((3, 3), Image.Resampling.BOX)).ravel()
        assert np.abs(small - np.array([*bytes.fromhex(colours)], int)).max() <= 1


# --- Two records ---------------------------------------------------------------------------------------------------


def check_against_loops(a, b):
    """Compare, and check everything that a plain loop over names and digests can tell."""
    about = compare(a, b)
    leaked = sum(any(image[2] == other[2] for other in named(a, "train")) for image in named(b, "test"))
    assert about.leaked == leaked == compare(b, a).leaked_back
    assert about.tested == (len(a.test), len(b.test))
    assert about.same_labels == (a.classes == b.classes)
    assert about.same_classes == (sorted(a.classes) == sorted(b.classes))
    assert about.reordered == (about.same_classes and not about.same_labels)
    if about.same_classes:
        same = sorted(image[1:] for image in named(a, "test")) == sorted(image[1:] for image in named(b, "test"))
        assert about.same_test == same
    assert about.comparable <= (about.same_classes and about.same_test)
    assert about.comparable == compare(b, a).comparable
    assert bool(about.reasons) == (not about.comparable or about.reordered or bool(leaked))
    return about


@pytest.mark.parametrize("seed", range(3))
def test_what_is_done_to_a_data_set_is_found(seed):
    rng = random.Random(seed)
    a = random_record(rng)
    classes, train, test = list(a.classes), named(a, "train"), named(a, "test")

    about = check_against_loops(a, a)
    assert about.comparable

    shuffled = rng.sample(classes, len(classes))
    about = check_against_loops(a, made(shuffled, rng.sample(train, len(train)), rng.sample(test, len(test))))
    assert about.comparable
    assert about.reordered == (shuffled != classes)

    old = rng.choice(classes)
    new = {name: f"renamed {name}" if name == old else name for name in classes}
    renamed = made([*new.values()], *([(f"x/{k}", new[n], d) for k, n, d in images] for images in (train, test)))
    about = check_against_loops(a, renamed)
    assert (about.renamed, about.added, about.removed) == (((old, new[old]),), (), ())
    assert about.same_test
    assert not about.comparable

    kept = [name for name in classes if name != old]
    about = check_against_loops(a, made(kept, *([i for i in images if i[1] != old] for images in (train, test))))
    assert (about.renamed, about.added, about.removed) == ((), (), (old,))

    extra = [(f"new/{i}", "new", digest(10**7 + i)) for i in range(4)]
    about = check_against_loops(a, made(["new", *classes], [*train, *extra[:2]], [*test, *extra[2:]]))
    assert (about.renamed, about.added, about.removed, about.shared) == ((), ("new",), (), len(test))

    about = check_against_loops(a, made(classes, [*train, ("new", old, digest(10**7))], test))
    assert about.comparable  # more training images: that is what one may want to compare

    moved = rng.sample(train, 2)
    other = made(classes, [i for i in train if i not in moved] + test[:1], test[1:] + moved)
    about = check_against_loops(a, other)
    assert (about.leaked, about.leaked_back, about.shared) == (2, 1, len(test) - 1)

    repainted = [(k, n, digest(10**7 + i) if i < 2 else d) for i, (k, n, d) in enumerate(test)]
    about = check_against_loops(a, made(classes, train, repainted))
    assert (about.changed, about.shared) == (2, len(test) - 2)

    about = check_against_loops(a, made(classes, [*train, test[0]], test))
    assert about.same_test
    assert not about.comparable  # one of the two has seen a test image

    relabelled = [(k, classes[classes.index(n) - 1] if i == 0 else n, d) for i, (k, n, d) in enumerate(test)]
    about = check_against_loops(a, made(classes, train, relabelled))
    assert (about.relabelled, about.shared) == (1, len(test))


def test_reasons_count_and_a_missing_record_is_unknown():
    a = made(["jay", "tit"], [(f"a{i}", "jay", digest(i)) for i in range(30)], [("t", "tit", digest(99))])
    b = made(["jay", "tit"], [("u", "tit", digest(98))], [(f"b{i}", "jay", digest(i + 1)) for i in range(48)])
    names = ("the source", "this run")
    assert any("29 of 48" in reason for reason in compare(a, b, names).reasons)
    for pair, missing in (((None, a), names[:1]), ((a, None), names[1:]), ((None, None), names)):
        about = compare(*pair, names)
        assert not any((about.comparable, about.same_classes, about.same_labels, about.same_test))
        assert len(about.reasons) == len(missing)
        assert all(name in reason for name, reason in zip(missing, about.reasons, strict=True))
