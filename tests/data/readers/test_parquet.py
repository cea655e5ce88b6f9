"""Parquet files as the package datasets writes them, against the pictures that were put in."""

import io
import json
import shutil
import sys

import pyarrow as pa
import pytest
from photos import photo
from PIL import Image
from pyarrow import parquet as pq

from pmsi.base.errors import DataError
from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.data.images import pixels_digest

NAMES = ["Ram C/V Cargo Van", "beagle, tricolour"]
FEATURES = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}, "n": {"dtype": "int64"}}


def picture(tmp_path, seed, format="PNG"):
    buffer, file = io.BytesIO(), photo(tmp_path / "x.png", seed=seed)
    Image.open(file).save(buffer, format)
    file.unlink()
    return buffer.getvalue()


def write(path, images, labels, names="label", features=FEATURES):
    """A file with images, labels and a number, in groups of three rows."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)], kind)
    table = pa.table({"image": column, names: labels, "n": list(range(len(labels)))})
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()} if features else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(told), path, row_group_size=3)


def opened(place, **settings):
    return open_dataset(TrainConfig(dataset="folder", data=str(place), **settings))


LAYOUTS = {
    "data/train-00000-of-00002.parquet": (range(5), "train"),
    "data/train-00001-of-00002.parquet": (range(5, 8), "train"),
    "data/test-00000-of-00001.parquet": (range(8, 12), "test"),
    "default/validation/0000.parquet": (range(12, 14), "val"),
}


def test_parquet_files_are_the_pictures_in_them_with_names_and_split_also_in_a_zip(tmp_path):
    for path, (numbers, _) in LAYOUTS.items():
        images = [picture(tmp_path, i, ("PNG", "JPEG")[i % 2]) for i in numbers]
        write(tmp_path / "set" / path, images, [i % 2 for i in numbers])
    (tmp_path / "set" / "README.md").write_text("# Card")
    photo(tmp_path / "set" / "preview.png")
    zipped = shutil.make_archive(str(tmp_path / "a"), "zip", tmp_path / "set")
    for place in (tmp_path / "set", zipped, tmp_path / "set"):
        for test_on in ("test", "val"):
            dataset = opened(place, test_on=test_on)
            assert dataset.classes == tuple(sorted(NAMES))
            for side, split in ((dataset.train, "train"), (dataset.test, test_on)):
                expected = {
                    pixels_digest(Image.open(io.BytesIO(picture(tmp_path, i, ("PNG", "JPEG")[i % 2])))): NAMES[i % 2]
                    for numbers, own in LAYOUTS.values()
                    if own == split
                    for i in numbers
                }
                assert {sample.digest: dataset.classes[sample.label] for sample in side} == expected
        unused = {".png": 2, ".jpg": 2}  # of the test images
        assert dataset.passed_over == {"not an image (.md)": 1, "beside the Parquet files (.png)": 1} | {
            f"in a split that is not used ({suffix})": count for suffix, count in unused.items()
        }


def test_labels_that_are_kept_back_and_cells_without_a_picture_are_counted(tmp_path):
    images = [picture(tmp_path, i) for i in range(8)]
    write(tmp_path / "train.parquet", [*images[:6], b"", b"text"], [0, 1, 0, 1, 0, -1, 0, 1])
    dataset = opened(tmp_path, split="stratified")
    assert len(dataset.train) + len(dataset.test) == 5
    assert [problem.reason for problem in dataset.problems] == ["it has no class in the list"]
    assert dataset.passed_over == {"not an image (.dat)": 2}


def test_classes_without_names_and_a_column_that_is_chosen(tmp_path):
    images = [picture(tmp_path, i) for i in range(6)]
    write(tmp_path / "train.parquet", images, ["b", "a"] * 3, "Kind", features=None)
    with pytest.raises(DataError, match=r"train\.parquet: which column has the classes.*'Kind', 'n'.*label_column"):
        opened(tmp_path)
    assert opened(tmp_path, label_column="kind", split="stratified").classes == ("a", "b")
    write(tmp_path / "train.parquet", images, [3, 20] * 3, features=None)
    assert opened(tmp_path, split="stratified").classes == ("20", "3")


def test_damaged_files_and_a_missing_package_say_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"train\.parquet cannot be read"):
        opened(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'pmsi-lab\[parquet\]'"):
        opened(tmp_path)
