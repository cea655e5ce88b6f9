"""Class lists beside flat pictures: competition layouts, columns by name, splits, and lists that are not meant."""

from pathlib import Path

import pytest
from photos import photo

from pmsi.data.dataset import count_by_class
from pmsi.data.readers.folder import folder

LISTS = {
    "labels.csv": ("id,breed", "{stem},{name}"),
    "train/metadata.csv": ("file_name,label,age", '{stem}.jpg,"{name}",3'),
    "train.tsv": ("Path\tSpecies", "train\\{stem}.jpg\t{name}"),
    "train_labels.csv": ("image_id;x;class", "./train/{stem}.jpg;1;{name}"),
}


@pytest.mark.parametrize("wrapper", ["", "dogs/"])
@pytest.mark.parametrize("where", LISTS)
def test_classes_come_from_a_list_beside_flat_pictures(tmp_path, where, wrapper):
    home = tmp_path / wrapper
    header, row = LISTS[where]
    names = ("collie", "beagle, tricolour" if '"' in row else "beagle")
    rows = [row.format(stem=photo(home / "train" / f"{i:04}.jpg").stem, name=names[i % 2]) for i in range(20)]
    for i in range(5):
        photo(home / "test" / f"t{i}.jpg")
    (home / where).write_text("\n".join([header, *rows, row.format(stem="gone", name="collie")]))
    dataset = folder(tmp_path, split="stratified")
    assert dataset.classes == (names[1], "collie")
    assert count_by_class(dataset.train, dataset.classes)["collie"] == 7
    assert {sample.key.rpartition("/")[2] for sample in (*dataset.train, *dataset.test)} == {
        f"{i:04}.jpg" for i in range(20)
    }
    assert dataset.passed_over["not in the list (.jpg)"] == 5
    assert Path(where).name in dataset.layout
    assert any("1 images" in note for note in dataset.notes)


def test_a_lists_own_split_is_kept(tmp_path):
    rows = []
    for i in range(24):
        photo(tmp_path / "images" / f"{i}.jpg")
        rows.append(f"{i},{'ab'[i % 2]},{('train', 'test', 'valid')[i % 3]}")
    (tmp_path / "labels.csv").write_text("\n".join(["image,label,split", *rows]))
    for test_on, rest in (("test", 1), ("val", 2)):
        dataset = folder(tmp_path, test_on=test_on)
        assert {int(Path(sample.key).stem) % 3 for sample in dataset.test} == {rest}
        assert {int(Path(sample.key).stem) % 3 for sample in dataset.train} == {0}
        assert dataset.passed_over["in a split that is not used (.jpg)"] == 8


def test_class_folders_with_a_list_beside_them_stay_class_folders(tmp_path):
    names = [f"{name}/{i}.jpg" for name in ("jay", "tit") for i in range(4)]
    rows = [f"{photo(tmp_path / name).relative_to(tmp_path)},{name[:3]}" for name in names]
    (tmp_path / "labels.csv").write_text("\n".join(["file_name,label", *rows]))
    dataset = folder(tmp_path)
    assert dataset.classes == ("jay", "tit")
    assert "no split of its own" in dataset.layout
