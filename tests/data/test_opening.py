"""Opening a data set by its config: the table, the limits per class, what is refused, and what is remembered."""

import json
import os
import time
from pathlib import Path

import pytest
from photos import photo
from PIL import Image

from pmsi.base.errors import ConfigError, DataError
from pmsi.config import TrainConfig
from pmsi.data import DATASETS, check_folder, checking, open_dataset, summary
from pmsi.data.checking import cache_folder, check
from pmsi.data.completeness import Official, completeness
from pmsi.data.dataset import Dataset, Problem, Sample, count_by_class


@pytest.fixture
def root(tmp_path):
    """Two classes of 20 images."""
    for name in ("daisy", "rose"):
        for i in range(20):
            photo(tmp_path / "set" / name / f"{i:02}.png", (6, 5))
    return tmp_path / "set"


def config(root, **settings):
    return TrainConfig(**{"dataset": "folder", "data": str(root), "split": "stratified"} | settings)


def paths(root):
    return [Sample(path.name, 0, path) for path in sorted((root / "rose").iterdir())]


@pytest.fixture
def decoded(monkeypatch):
    """The files that were really looked at."""
    seen = []
    examine = checking.examine
    monkeypatch.setattr(checking, "examine", lambda path: seen.append(path) or examine(path))
    monkeypatch.setattr(checking, "SETTLED_S", -1.0)
    return seen


def test_limits_are_seeded_nested_and_keep_the_order(root):
    whole = open_dataset(config(root))
    before = set()
    for k in (1, 3, 5, 10):
        cut = open_dataset(config(root, train_per_class=k, test_per_class=2))
        chosen = [sample.key for sample in cut.train]
        assert count_by_class(cut.train, cut.classes) == {"daisy": k, "rose": k}
        assert count_by_class(cut.test, cut.classes) == {"daisy": 2, "rose": 2}
        assert chosen == [sample.key for sample in whole.train if sample.key in chosen]
        assert before < set(chosen)
        before = set(chosen)
    assert open_dataset(config(root, train_per_class=10)).train == open_dataset(config(root, train_per_class=10)).train
    assert open_dataset(config(root, train_per_class=10_000)).train == whole.train
    seeds = [open_dataset(config(root, train_per_class=3, split_seed=seed)).train for seed in (0, 1)]
    assert seeds[0] != seeds[1]


def test_summary_is_json_and_counts(root):
    (root / "rose" / "00.png").write_bytes(b"")
    about = json.loads(json.dumps(summary(open_dataset(config(root, test_fraction=0.2)))))
    assert about["classes"] == {"daisy": {"train": 16, "test": 4}, "rose": {"train": 15, "test": 4}}
    assert (about["train"], about["test"]) == (31, 8)
    assert about["problems"] == [{"key": "rose/00.png", "reason": "the file is empty"}]


@pytest.mark.parametrize("name", [name for name, row in DATASETS.items() if row.needs_folder])
def test_folder_that_is_needed_must_be_given_and_exist(tmp_path, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for look in (open_dataset, check_folder):
        with pytest.raises(ConfigError, match=f"'{name}' is read from a folder; give it as data"):
            look(TrainConfig(dataset=name))
        with pytest.raises(DataError, match=r"nowhere' does not exist\. Expected"):
            look(TrainConfig(dataset=name, data=str(tmp_path / "nowhere")))
        with pytest.raises(DataError, match="is not a zip" if DATASETS[name].archive else "is not a folder"):
            look(TrainConfig(dataset=name, data=str(tmp_path / "file")))
    with pytest.raises(DataError):
        open_dataset(TrainConfig(dataset=name, data=str(tmp_path / "empty")))
    with pytest.raises(ConfigError, match=rf"'plumage' reads no folder.*{name}"):
        open_dataset(TrainConfig(dataset="plumage", data=str(tmp_path / "empty")))


def test_one_class_or_an_empty_split_is_refused(root):
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"fewer than two classes with training images \(none\).*40 were left out"):
        open_dataset(config(root))
    (root / "rose" / "a.jpg").write_bytes(b"")
    Image.new("RGB", (4, 4)).save(root / "rose" / "b.jpg")
    with pytest.raises(DataError, match=r"fewer than two classes with training images \(rose\)"):
        open_dataset(config(root))
    Image.new("RGB", (4, 4)).save(root / "daisy" / "b.jpg")
    with pytest.raises(DataError, match="has no test image"):
        open_dataset(config(root))


def test_home_is_expanded_and_paths_do_not_depend_on_the_working_folder(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert len(open_dataset(config(Path("~/set"))).train) == 28
    monkeypatch.chdir(root.parent)
    dataset = open_dataset(config(Path("set")))
    monkeypatch.chdir("/")
    assert dataset.open_image(dataset.train[0]).size == (6, 5)


def test_second_opening_looks_at_no_image(root, decoded):
    (root / "rose" / "03.png").write_bytes(b"")
    calls = []
    first = open_dataset(config(root), lambda done, total: calls.append((done, total)))
    assert (len(decoded), calls[0], calls[-1]) == (40, (1, 40), (40, 40))
    second = open_dataset(config(root), lambda done, total: calls.append((done, total)))
    assert (len(decoded), len(calls)) == (40, 40)
    assert (second.train, second.test, second.problems) == (first.train, first.test, first.problems)


def test_changed_files_are_looked_at_again(root, decoded):
    check(paths(root), root)
    decoded.clear()
    victim = root / "rose" / "05.png"
    about = victim.stat()
    victim.write_bytes(b"x" * about.st_size)
    os.utime(victim, ns=(about.st_atime_ns, about.st_mtime_ns))  # same size, same time, other bytes
    good, problems = check(paths(root), root)
    assert decoded == [victim]
    assert [problem.key for problem in problems] == ["05.png"]
    assert len(good) == 19
    (root / "rose" / "06.png").unlink()
    _, problems = check(paths(root), root)
    assert len(problems) == 1


def test_a_file_that_just_changed_is_not_remembered(root, decoded, monkeypatch):
    monkeypatch.setattr(checking, "SETTLED_S", 3600.0)
    for _ in range(2):
        check(paths(root), root)
    assert len(decoded) == 40
    now = time.time()
    monkeypatch.setattr(checking.time, "time", lambda: now + 3610)
    for _ in range(2):
        check(paths(root), root)
    assert len(decoded) == 60


def test_a_damaged_cache_or_one_of_other_rules_is_not_believed(root, cache, monkeypatch, decoded):
    check(paths(root), root)
    (file,) = cache.iterdir()
    stored = json.loads(file.read_text())
    some = stored["files"] | dict.fromkeys(list(stored["files"])[:3])
    damaged = ["", "{", "[]", '{"rules": 1}', '{"files": 3}', json.dumps(stored | {"rules": "of another version"})]
    for content, looked_at in [*((text, 20) for text in damaged), (json.dumps(stored | {"files": some}), 3)]:
        decoded.clear()
        file.write_text(content)
        assert len(check(paths(root), root)[0]) == 20
        assert len(decoded) == looked_at
    monkeypatch.setenv("PMSI_CACHE", str(file / "cache"))
    assert len(check(paths(root), root)[0]) == 20


def test_what_was_checked_before_an_interruption_is_kept(root, decoded):
    def interrupt(done, total):
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(paths(root), root, interrupt)
    decoded.clear()
    check(paths(root), root)
    assert len(decoded) == 12


def test_cache_lies_where_the_environment_says(monkeypatch):
    monkeypatch.delenv("PMSI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/b/pmsi")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/c")
    assert cache_folder() == Path("/c/.cache/pmsi")


# --- Completeness --------------------------------------------------------------------------------------------------


def holding(classes, train, test, left_out=0):
    sides = [
        tuple(Sample(f"{side}{i}", i % classes) for i in range(count)) for side, count in (("a", train), ("b", test))
    ]
    problems = tuple(Problem(f"p{i}", "the file is empty") for i in range(left_out))
    return Dataset("set", tuple(map(str, range(classes))), *sides, lambda sample: None, problems=problems)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (holding(4, 2000, 30), ("Complete", "all 4", "2,000", "30")),
        (holding(4, 1996, 30, left_out=4), ("Incomplete", "4 of 4", "1,996 of 2,000", "30 of 30", "left out")),
        (holding(2, 1000, 15), ("A subset", "2 of 4", "1,000 of 2,000", "15 of 30")),
        (holding(2, 998, 15, left_out=2), ("A subset", "998 of 2,000", "2 of its images")),
        (holding(5, 2000, 30), ("more", "5 of 4", "2,000 of 2,000")),
    ],
)
def test_a_published_data_set_is_whole_lacks_images_or_is_a_subset(found, said):
    official = Official(classes=4, train=2000, test=30)
    sentence = completeness(found, official)
    assert all(words in sentence for words in said)
    assert summary(found, official)["completeness"] == sentence
    assert summary(found)["completeness"] is None
