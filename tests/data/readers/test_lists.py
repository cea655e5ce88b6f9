"""Lists of pictures: the forms in which tools write them, splits, and lists that are not meant."""

import json

import pytest
from photos import photo

from pmsi.base.errors import DataError
from pmsi.data.readers import columns
from pmsi.data.readers.folder import folder

COUNT = 18
NAMES = ("beagle", "collie", "möwe")
SPLITS = ("train", "test", "valid")


def name_of(i):
    return NAMES[i % 3]


def split_of(i):
    return SPLITS[i // 6]


def rows_of(form, header=None, images=range(COUNT)):
    """The lines of a list, by a form with i, name and split."""
    return "\n".join([*([header] if header else []), *(form(i, name_of(i), split_of(i)) for i in images)])


FLAT = {
    "names without suffix": {"labels.csv": rows_of(lambda i, name, split: f"{i:02},{name}", "id,breed")},
    "a mark, semicolons, an index": {
        "labels.csv": "\ufeff" + rows_of(lambda i, name, split: f"{i};{i:02}.jpg;7;{name}", ";Image;age;Species")
    },
    "tabs, another machine": {
        "list.tsv": rows_of(lambda i, name, split: f"C:\\data\\x\\images\\{i:02}.JPG\t{name}", "File\tKlasse")
    },
    "other suffixes": {"x.csv": rows_of(lambda i, name, split: f'"/kaggle/x/{i:02}.png", "{name}"', "file, class")},
    "no header": {"labels.txt": rows_of(lambda i, name, split: f"images/{i:02}.jpg {name}")},
    "no header, commas": {"images/labels.csv": rows_of(lambda i, name, split: f"./{i:02}.jpg,{name}")},
    "one column a class": {
        "truth.csv": rows_of(
            lambda i, name, split: f"{i:02}," + ",".join(f"{float(name == known)}" for known in NAMES),
            "image,beagle,collie,möwe",
        )
    },
    "JSON lines": {
        "images/metadata.jsonl": rows_of(lambda i, name, split: json.dumps({"file_name": f"{i:02}.jpg", "label": name}))
    },
    "a sample of what to hand in": {
        "labels.csv": rows_of(lambda i, name, split: f"{i:02},{name}", "id,label"),
        "sample_submission.csv": rows_of(lambda i, name, split: f"{i:02},beagle", "id,label"),
    },
    "UTF-16": {"labels.csv": rows_of(lambda i, name, split: f"{i:02}\t{name}", "id\tlabel")},
    "windows": {"labels.csv": rows_of(lambda i, name, split: f"{i:02},{name}", "id,label").replace("\n", "\r\n")},
}
"""Lists without a split, by what is odd about them."""

SPLIT = {
    "a column": {"labels.csv": rows_of(lambda i, name, split: f"{i:02},{name},{split}", "image,label,split")},
    "its content": {"l.csv": rows_of(lambda i, name, split: f"{split},{i:02},{name}", "data,image,label")},
    "the last word": {
        "list.txt": rows_of(lambda i, name, split: f"images/{i:02}.jpg {name} {split}", "path label split")
    },
    "lists of their own": {
        f"{split}.txt": rows_of(lambda i, name, split: f"{i:02}.jpg {name}", images=range(6 * k, 6 * k + 6))
        for k, split in enumerate(SPLITS)
    },
    "one for the split": {
        "labels.csv": rows_of(lambda i, name, split: f"{i:02},{name}", "id,label"),
        **{
            f"{s}.txt": rows_of(lambda i, n, _: f"{i:02}", images=range(6 * k, 6 * k + 6)) for k, s in enumerate(SPLITS)
        },
    },
}


def write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode("utf-16" if "\t" in text and "id\t" in text else "utf-8"))


def images(root, places=("images",)):
    """The pictures, in turn in each of the ``places``, and two that no list has."""
    for i in range(COUNT):
        photo(root / places[i // 6 % len(places)] / f"{i:02}.jpg")
    for i in range(2):
        photo(root / places[-1] / f"t{i}.jpg")


def number_of(sample):
    return int(sample.path.stem)


@pytest.mark.parametrize("wrapper", ["", "a/b/"])
@pytest.mark.parametrize("form", FLAT)
def test_classes_of_flat_pictures_come_from_a_list(tmp_path, form, wrapper):
    images(tmp_path / wrapper)
    write(tmp_path / wrapper, FLAT[form])
    dataset = folder(tmp_path, split="stratified")
    assert dataset.classes == NAMES
    found = {number_of(sample): dataset.classes[sample.label] for sample in (*dataset.train, *dataset.test)}
    assert found == {i: name_of(i) for i in range(COUNT)}
    samples = {"not an image (.csv)": 1} if "sample_submission.csv" in FLAT[form] else {}
    assert dataset.passed_over == {"not in the list (.jpg)": 2} | samples
    assert (dataset.tested_on, dataset.notes) == ("", ())
    assert next(iter(FLAT[form])).split("/")[-1] in dataset.layout


@pytest.mark.parametrize("form", SPLIT)
def test_the_split_of_lists_is_kept(tmp_path, form):
    images(tmp_path)
    write(tmp_path, SPLIT[form])
    for test_on, k in (("test", 1), ("val", 2)):
        dataset = folder(tmp_path, test_on=test_on)
        assert (dataset.classes, dataset.tested_on) == (NAMES, test_on)
        assert {number_of(sample) for sample in dataset.train} == {*range(6)}
        assert {number_of(sample) for sample in dataset.test} == {*range(6 * k, 6 * k + 6)}
        assert dataset.passed_over == {"in a split that is not used (.jpg)": 6, "not in the list (.jpg)": 2}


@pytest.mark.parametrize("lists", [("labels.csv",), ("train/metadata.csv", "test/metadata.csv", "valid/metadata.csv")])
def test_folders_of_listed_pictures_are_their_splits(tmp_path, lists):
    images(tmp_path, SPLITS)
    for path in lists:
        own = [i for i in range(COUNT) if "/" not in path or path.startswith(split_of(i))]
        write(tmp_path, {path: rows_of(lambda i, name, split: f"{i:02}.jpg,{name}", "file_name,label", own)})
    dataset = folder(tmp_path)
    assert [{number_of(sample) for sample in side} for side in (dataset.train, dataset.test)] == [
        {*range(6)},
        {*range(6, 12)},
    ]
    assert dataset.classes == NAMES


def test_numbers_that_each_split_uses_again_are_told_apart(tmp_path):
    for split in ("train", "test"):
        for i in range(6):
            photo(tmp_path / split / f"{i}.jpg")
    write(tmp_path, {"labels.csv": rows_of(lambda i, name, split: f"{i},{name}", "id,label", range(6))})
    dataset = folder(tmp_path, split="stratified")
    assert {sample.path.parent.name for sample in (*dataset.train, *dataset.test)} == {"train"}
    assert dataset.passed_over == {"not in the list (.jpg)": 6}


def test_lists_split_class_folders_and_else_leave_them_alone(tmp_path):
    for i in range(COUNT):
        photo(tmp_path / "food" / "images" / name_of(i) / f"{i:02}.jpg")
    labels = rows_of(lambda i, name, split: f"{i:02}.jpg,{i % 3}", "file_name,label")
    ages = rows_of(lambda i, name, split: f"{i:02}.jpg,{i % 2}", "file_name,age")
    write(tmp_path / "food", {"labels.csv": labels, "ages.csv": ages})
    dataset = folder(tmp_path, split="stratified")
    assert (dataset.classes, dataset.tested_on) == (NAMES, "")
    assert dataset.passed_over == {"not an image (.csv)": 2}
    for k, split in enumerate(("train", "test")):
        own = range(9 * k, 9 * k + 9)
        write(tmp_path / "food", {f"meta/{split}.txt": rows_of(lambda i, name, _: f"{name}/{i:02}", images=own)})
    dataset = folder(tmp_path)
    assert (dataset.classes, dataset.tested_on) == (NAMES, "test")
    assert {number_of(sample) for sample in dataset.test} == {*range(9, 18)}


def test_the_column_of_classes_can_be_chosen_and_is_asked_for(tmp_path):
    images(tmp_path)
    text = rows_of(lambda i, name, split: f"{i:02},{name},{'dog' if i % 3 < 2 else 'bird'}", "id,Kind,Group")
    write(tmp_path, {"labels.csv": text})
    with pytest.raises(DataError, match=r"cannot be told.*'Kind', 'Group'.*label_column"):
        folder(tmp_path)
    assert folder(tmp_path, label_column="kind").classes == NAMES
    assert folder(tmp_path, label_column="Group").classes == ("bird", "dog")
    with pytest.raises(DataError, match=r"no list has the column 'Genus'.*'Kind', 'Group'"):
        folder(tmp_path, label_column="Genus")


def test_what_a_list_says_in_two_ways_or_not_at_all_is_a_problem(tmp_path):
    images(tmp_path)
    more = ["00,collie", "01,collie", "02,", "99,collie"]
    text = rows_of(lambda i, name, split: f"{i:02},{name}", "id,label", [i for i in range(COUNT) if i != 2])
    write(tmp_path, {"labels.csv": "\n".join([text, *more])})
    dataset = folder(tmp_path, split="stratified")
    assert {problem.key for problem in dataset.problems} == {"images/00.jpg", "images/02.jpg"}
    assert len(dataset.train) + len(dataset.test) == COUNT - 2
    assert [note[-3:] for note in dataset.notes] == [" 1."]


def test_a_list_in_another_encoding_is_asked_for_and_read_in_it(tmp_path):
    images(tmp_path)
    text = rows_of(lambda i, name, split: f"{i:02},{name}", "id,label")
    (tmp_path / "labels.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(DataError, match=r"labels\.csv is not in UTF-8.*name_encoding"):
        folder(tmp_path)
    assert folder(tmp_path, encoding="cp1252").classes == NAMES


@pytest.mark.parametrize("form", ["no header, commas", "JSON lines"])
def test_a_table_that_unfolds_to_more_than_a_list_is_none(tmp_path, monkeypatch, form):
    images(tmp_path)
    write(tmp_path, FLAT[form])
    assert folder(tmp_path).classes == NAMES
    monkeypatch.setattr(columns, "MOST_CELLS", COUNT)
    assert folder(tmp_path).classes != NAMES


def test_a_caption_for_each_picture_is_no_list(tmp_path):
    for i in range(COUNT):
        photo(tmp_path / name_of(i) / f"{i:02}.jpg")
        write(tmp_path, {f"captions/{i:02}.txt": f"{i:02} a dog"})
    dataset = folder(tmp_path, split="stratified")
    assert (dataset.classes, dataset.passed_over) == (NAMES, {"not an image (.txt)": COUNT})
