"""The reader of class folders and class lists: layouts, the seeded split, and what it passes over or reports."""

import os
import random
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from photos import photo
from PIL import Image

from pmsi.base.errors import DataError
from pmsi.base.seeding import derive
from pmsi.data.checking import confined
from pmsi.data.dataset import Sample, count_by_class
from pmsi.data.readers.folder import by_content, folder


def keys(dataset, split):
    return [sample.key for sample in dataset.split(split)]


def make_folder(root, counts):
    for name, count in counts.items():
        for i in range(count):
            photo(root / name / f"{i}.png")
    return root


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Dev"), ("trn", "test-crop"), ("train2017", "val"), ("cars_train", "val"), ("trainSet", "Testing")],
)
def test_splits_are_known_by_many_names_at_the_top_and_below_each_class(tmp_path, train, test):
    make_folder(tmp_path / "a" / train, {"rose": 3, "daisy": 2})
    make_folder(tmp_path / "a" / test, {"rose": 1, "daisy": 2})
    make_folder(tmp_path / "b" / "rose", {train: 3, test: 1})
    make_folder(tmp_path / "b" / "daisy", {train: 2, test: 2})
    for place in ("a", "b"):
        dataset = folder(tmp_path / place)
        counts = [count_by_class(dataset.split(side), dataset.classes) for side in ("train", "test")]
        assert counts == [{"daisy": 2, "rose": 3}, {"daisy": 2, "rose": 1}]
        assert train in dataset.layout
        assert test in dataset.layout
        assert ("tested on" in dataset.name) == (test in ("val", "Dev"))


def test_a_third_split_is_never_mixed_in_and_is_counted(tmp_path):
    for name, count in (("train", 3), ("test", 2), ("val", 1), ("extra", 4)):
        make_folder(tmp_path / name, {"rose": count, "daisy": count})
    for test_on, count in (("test", 2), ("val", 1)):
        dataset = folder(tmp_path, test_on=test_on)
        assert {key.split("/")[0] for key in keys(dataset, "test")} == {test_on}
        assert (len(dataset.train), len(dataset.test)) == (6, 2 * count)
        assert sum(dataset.passed_over.values()) == 8 + 2 * (3 - count)
    with pytest.raises(DataError, match="no split for validation"):
        folder(make_split(tmp_path / "other", "train", "test"), test_on="val")


def make_split(root, *names):
    for name in names:
        make_folder(root / name, {"rose": 2, "daisy": 2})
    return root


def test_splits_that_cannot_be_told_are_refused_with_what_was_seen(tmp_path):
    train = ("train", "training", "test")
    for names in (("train",), ("val",), train, ("train", "rose"), ("train_a", "train_b", "test_a")):
        with pytest.raises(DataError, match=f"cannot be told.*{names[0]}/|{names[0]}/.*cannot be told"):
            folder(make_split(tmp_path / "-".join(names), *names))


def test_classes_that_are_called_like_splits_are_classes(tmp_path):
    for names in (("train station", "test tube"), ("dev", "jay", "tit"), ("test tube", "rose")):
        dataset = folder(make_folder(tmp_path / "-".join(names), dict.fromkeys(names, 3)), split="stratified")
        assert dataset.classes == tuple(sorted(names))


def test_test_images_without_labels_are_refused(tmp_path):
    make_split(tmp_path, "train")
    make_folder(tmp_path, {"test": 5})
    with pytest.raises(DataError, match=r"5 images in test/ lie in no class folder.*itself"):
        folder(tmp_path)
    with pytest.raises(DataError, match="is not a folder"):
        folder(tmp_path / "c")


@pytest.mark.parametrize("split", [(), ("train", "test")])
def test_wrappers_are_entered_and_what_lies_beside_is_reported(tmp_path, split):
    inner = tmp_path / "outer" / "birds" / "birds"
    for home in [inner / name for name in split] or [inner]:
        make_folder(home, {"rose": 3, "daisy": 3})
    plain = folder(inner)
    for name in ("stray.png", "birds/cover.png", "birds/birds/overview.png"):
        photo(tmp_path / "outer" / name)
    (tmp_path / "outer" / "docs").mkdir()
    (tmp_path / "outer" / "docs" / "README.md").write_text("text")
    dataset = folder(tmp_path / "outer")
    assert (dataset.classes, dataset.train, dataset.test) == (plain.classes, plain.train, plain.test)
    assert len(dataset.problems) + sum(dataset.passed_over.values()) == 4
    assert dataset.passed_over["not an image (.md)"] == 1


@pytest.mark.parametrize(("format", "suffix"), [("PPM", ""), ("JPEG", ".ppm"), ("PNG", ".dat"), ("TIFF", ".jpg")])
def test_formats_go_by_content(tmp_path, format, suffix):
    for name in ("rose", "daisy"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.open(photo(tmp_path / "x.png")).save(tmp_path / name / f"{i}{suffix}", format)
    (tmp_path / "rose" / "notes").write_text("text")
    (tmp_path / "rose" / "sound.wav").write_bytes(b"RIFF....WAVE")
    dataset = folder(tmp_path, split="stratified")
    assert (len(dataset.train), len(dataset.test)) == (4, 2)
    assert dataset.passed_over == {"not an image (no suffix)": 1, "not an image (.wav)": 1}


def png_of_16_bits(path, values):
    """A PNG of (h, w, 3) with 16 bits for each value, which Pillow does not write."""

    def chunk(tag, data):
        return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def test_values_of_16_bits_that_use_fewer_are_noticed(tmp_path):
    make_folder(tmp_path, {"rose": 2, "daisy": 2})
    for bits, said in ((10, True), (16, False)):
        values = np.linspace(0, 2**bits - 1, 80).astype(np.uint16).reshape(8, 10)
        for suffix in (".png", ".tif", ".ppm"):
            Image.fromarray(values).save(tmp_path / "rose" / f"{suffix[1:]}{suffix}")
        png_of_16_bits(tmp_path / "rose" / "colours.png", np.stack([values] * 3, axis=2))
        notes = folder(tmp_path).notes
        assert len(notes) == said
        assert not said or "4 images have 16 bits" in notes[0]
        assert not said or "10 of them at most, so they look 64 times" in notes[0]


def test_classes_are_compared_by_what_is_seen(tmp_path):
    composed, apart = "M\u00f6we", "Mo\u0308we"
    for train, test in ((apart, composed), ("Jay", "jay"), ("tit", "tit "), ("wren", "wren")):
        make_folder(tmp_path, {f"train/{train}": 2, f"test/{test}": 1})
    dataset = folder(tmp_path)
    assert dataset.classes == ("Jay", composed, "tit", "wren")
    assert list(count_by_class(dataset.test, dataset.classes).values()) == [1, 1, 1, 1]
    assert len(dataset.notes) == 3
    counts = {"Kite": 2, "kite": 2, composed: 2, apart: 1, "A": 2, "a": 2}
    alone = folder(make_folder(tmp_path / "alone", counts), split="stratified")
    assert alone.classes == ("A", "Kite", composed, "a")  # letters are told apart, words are not
    assert len(alone.notes) == 3


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.99])
def test_a_stratified_split_takes_the_share_of_each_class_and_is_disjoint(tmp_path, fraction):
    counts = {"one": 1, "two": 2, "three": 3, "many": 20}
    dataset = folder(make_folder(tmp_path, counts), test_fraction=fraction, split="stratified")
    train, test = (count_by_class(dataset.split(split), dataset.classes) for split in ("train", "test"))
    assert not set(keys(dataset, "train")) & set(keys(dataset, "test"))
    for name, count in counts.items():
        assert train[name] + test[name] == count
        assert train[name] >= 1
        assert test[name] >= (count >= 2)
        assert abs(test[name] - fraction * count) <= 1
    assert sorted(keys(dataset, "train")) == keys(dataset, "train")


@pytest.mark.parametrize("seed", range(3))
def test_adding_and_renaming_images_moves_no_other_one(seed):
    """Sides are looked up by the pixels that the digests stand for; tiny and one-sided classes are among them."""
    rng = random.Random(seed)
    fraction = rng.choice([0.1, 0.3, 0.7])
    samples = [Sample(f"{i}", rng.randrange(12), digest=f"{rng.randrange(10**9)}") for i in range(60)]

    def tested(samples):
        keys = by_content(samples, fraction, seed)
        return {sample.digest for sample in samples if sample.key in keys}

    before = tested(samples)
    more = [Sample(f"new {i}", rng.randrange(12), digest=f"{rng.randrange(10**9)}") for i in range(40)]
    after = tested(rng.sample(samples + more, 100))
    assert before <= after
    one_sided = {s.label for s in samples} - {s.label for s in samples if s.digest not in before}
    assert not one_sided  # no class loses all its training images
    for label in range(12):
        chances = [derive(seed, "test", s.digest) / 2**63 for s in samples if s.label == label]
        if any(chance >= fraction for chance in chances):
            known = {s.digest for s in samples if s.label == label}
            assert known & after == known & before
    renamed = [replace(sample, key=f"x/{sample.key}") for sample in samples]
    assert tested(renamed) == before
    assert by_content(samples, fraction, seed + 1) != by_content(samples, fraction, seed)


def test_equal_images_are_on_one_side_and_shares_are_kept_on_the_whole():
    samples = [Sample(f"{i}", i % 7, digest=f"{i // 2}") for i in range(7000)]
    tested = by_content(samples, 0.3, 0)
    assert {key for key in tested if str(int(key) ^ 1) in tested} == tested
    assert abs(len(tested) / len(samples) - 0.3) < 0.02


def test_what_counts_as_an_image_of_a_class(tmp_path):
    make_folder(tmp_path, {"rose": 2, "daisy": 2})
    hidden = ("rose/.hidden.png", "rose/._1.png", ".trash/x.png", "__MACOSX/rose/x.png")
    systems = ("@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found", "System Volume Information")
    for name in ("rose/2019/may/A.JPG", "rose/B.Jpeg", "stray.png", "rose/@eaDir/1.jpg/THUMB.jpg", *hidden):
        photo(tmp_path / name)
    for name in systems:
        photo(tmp_path / name / "x.jpg")
    others = {"notes.txt": b"text", "Thumbs.db": b"x", ".DS_Store": b"x"}
    unread = {"phone.heic": b"x", "x.jp2": b"\0\0\0\x0cjP  \r\n\x87\n", "y": b"\0\0\0\x18ftypheic\0\0\0\0"}
    for name, content in (others | unread).items():
        (tmp_path / "rose" / name).write_bytes(content)
    (tmp_path / "empty").mkdir()
    dataset = folder(tmp_path)
    found = {*keys(dataset, "train"), *keys(dataset, "test")}
    numbered = {f"{name}/{i}.png" for name in ("rose", "daisy") for i in (0, 1)}
    assert found == {"rose/2019/may/A.JPG", "rose/B.Jpeg", *numbered}
    assert dataset.classes == ("daisy", "rose")
    assert {problem.key for problem in dataset.problems} == {"stray.png", *(f"rose/{name}" for name in unread)}
    assert sum(dataset.passed_over.values()) == len(others) + len(hidden) + len(systems) + 1
    assert dataset.passed_over["of the system (@eaDir)"] == 2


def test_links_are_followed_unless_they_lead_back(tmp_path):
    root = make_folder(tmp_path / "set", {"rose": 3, "daisy": 3})
    outside = photo(tmp_path / "outside" / "x.png")
    (root / "rose" / "out.png").symlink_to(outside)
    (root / "tulip").symlink_to(outside.parent)
    (root / "rose" / "loop").symlink_to(root)
    (root / "rose" / "gone.png").symlink_to(root / "rose" / "nothing.png")
    dataset = folder(root)
    reasons = {problem.key: problem.reason for problem in dataset.problems}
    assert set(reasons) == {"rose/loop", "rose/gone.png"}
    assert "does not exist" in reasons["rose/gone.png"]
    assert {"rose/out.png", "tulip/x.png"} < {*keys(dataset, "train"), *keys(dataset, "test")}
    inside = confined(dataset, lambda place: place.resolve().is_relative_to(root))
    assert {"rose/out.png", "tulip/x.png", *reasons} == {problem.key for problem in inside.problems}
    assert confined(inside, lambda place: True) is inside


def test_folders_without_an_image_and_folders_inside_classes_are_named(tmp_path):
    for name in ("set1", "set2"):
        make_folder(tmp_path / name, {"rose": 3, "daisy": 3})
    (tmp_path / "owl").mkdir()
    (tmp_path / "owl" / "1.tga").write_bytes(bytes(99))
    (tmp_path / "set1" / "self").symlink_to("self")
    dataset = folder(tmp_path, split="stratified")
    assert dataset.classes == ("set1", "set2")
    bare, inside = sorted(dataset.notes)
    assert "'owl'" in bare
    assert "'daisy', 'rose'" in inside
    make_folder(tmp_path / "split" / "train", {"rose": 2, "daisy": 2})
    make_folder(tmp_path / "split" / "test", {"rose": 1})
    (tmp_path / "split" / "test" / "daisy").mkdir()
    assert ["'daisy'" in note for note in folder(tmp_path / "split").notes] == [True]


def test_bad_images_of_a_folder_do_not_unbalance_its_split_and_a_class_that_loses_all_is_named(tmp_path):
    root = make_folder(tmp_path, {"rose": 3, "daisy": 3, "tulip": 1})
    for name in ("rose", "tulip"):
        (root / name / "0.png").write_bytes(b"")
    dataset = folder(root, test_fraction=0.5, split="stratified")
    for split in (dataset.train, dataset.test):
        assert count_by_class(split, dataset.classes)["rose"] == 1
    assert {problem.key for problem in dataset.problems} == {"rose/0.png", "tulip/0.png"}
    assert any("'tulip'" in note for note in dataset.notes)


def test_names_that_are_no_text_and_folders_that_cannot_be_listed_are_problems(tmp_path, monkeypatch):
    root = make_folder(tmp_path, {"rose": 2, "daisy": 2, "tulip": 2})
    odd = os.fsencode(photo(root / "rose" / "odd.png"))
    os.rename(odd, odd.replace(b"odd", b"odd\xff"))  # noqa: PTH104
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "tulip":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    dataset = folder(root)
    assert dataset.classes == ("daisy", "rose")
    reasons = {problem.key: problem.reason for problem in dataset.problems}
    assert reasons.keys() > {"tulip"}
    assert any("UTF-8" in reason for reason in reasons.values())
    assert all(key.isascii() for key in reasons)
