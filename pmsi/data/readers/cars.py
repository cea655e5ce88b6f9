"""Stanford Cars in its two original layouts. Copies that are sorted into class folders are read by `folder`.

    stanford_cars/                       (torchvision's layout)
    ├── devkit/cars_meta.mat, cars_train_annos.mat
    ├── cars_test_annos_withlabels.mat   (or in devkit/)
    ├── cars_train/00001.jpg …           (or cars_train/cars_train/…, as some archives unpack)
    └── cars_test/00001.jpg …

    stanford_cars/                       (the later one, all images together)
    ├── cars_annos.mat
    └── car_ims/000001.jpg …

Both have the same images and the same split, in a different order and with different names.
"""

from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from pmsi.base.errors import DataError
from pmsi.data.checking import Progress, assemble, box_of_corners, locate, published
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.readers.matlab import variable
from pmsi.data.readers.tree import folders_below

FILES = ("cars_meta.mat", "cars_train_annos.mat", "cars_test_annos_withlabels.mat", "cars_train", "cars_test")
TOGETHER = ("cars_annos.mat", "car_ims")

SOURCE = (
    "The original page (https://ai.stanford.edu/~jkrause/cars/car_dataset.html) is gone. The images cars_train and "
    "cars_test are at https://www.kaggle.com/datasets/jessicali9530/stanford-cars-dataset; devkit (car_devkit.tgz) and "
    "cars_test_annos_withlabels.mat are linked in https://github.com/pytorch/vision/issues/7545. Give the folder that "
    "holds these four, or the one that holds car_ims and cars_annos.mat. A copy sorted into train/CLASS and test/CLASS "
    "is read by the data set 'folder'."
)
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def cars(folder: str | Path, *, progress: Progress | None = None) -> Dataset:
    """Return Stanford Cars with its official split: 196 models, 8,144 training and 8,041 test images when complete.

    ``folder`` is the one with the images, or one around it. Classes are in the order of the class list; keys are
    cars_train/FILE and cars_test/FILE, or car_ims/FILE. Raises DataError if a file is missing or damaged.
    """
    root = Path(folder)
    homes = (root, *folders_below(root))
    apart, together = (any((home / name).is_dir() for home in homes) for name in ("cars_train", "car_ims"))
    if not apart and not together:
        _refuse_class_folders(root)
    read = _read_together if together and not apart else _read_apart
    samples, tested, classes, lists = read(root)
    return published(root, assemble("cars", classes, samples, tested, root, progress), samples, lists)


def _refuse_class_folders(root: Path) -> None:
    for inner in (root, root / "car_data", root / "car_data" / "car_data"):
        if (inner / "train").is_dir() and (inner / "test").is_dir():
            raise DataError(
                f"{inner} has train/ and test/, as copies of Stanford Cars have that are sorted into class folders. "
                f"Choose the data set 'folder' and give {inner}. The original layout has cars_train/ and cars_test/."
            )


Read = tuple[list[Sample], set[str], list[str], tuple[Path, ...]]
"""Samples, the keys of the test images, the classes, and the lists that were read."""


def _read_apart(root: Path) -> Read:
    """Return the content of the layout with cars_train and cars_test."""
    meta_mat, train_mat, test_mat, train_images, test_images = locate("Stanford Cars", [root], FILES, SOURCE)
    classes = variable(meta_mat, "class_names", SOURCE)
    read = [
        [
            _sample(annotations, images, "fname", entry, classes)
            for entry in variable(annotations, "annotations", SOURCE)
        ]
        for annotations, images in ((train_mat, train_images), (test_mat, test_images))
    ]
    return [*read[0], *read[1]], {sample.key for sample in read[1]}, classes, (meta_mat, train_mat, test_mat)


def _read_together(root: Path) -> Read:
    """Return the content of the layout with car_ims; its list says of each image whether it is for testing."""
    annotations, images = locate("Stanford Cars", [root], TOGETHER, SOURCE)
    classes, entries = variable(annotations, "class_names", SOURCE), variable(annotations, "annotations", SOURCE)
    samples = [_sample(annotations, images, "relative_im_path", entry, classes) for entry in entries]
    tested = {sample.key for sample, entry in zip(samples, entries, strict=True) if _field(annotations, entry, "test")}
    return samples, tested, classes, (annotations,)


def _sample(annotations: Path, images: Path, name: str, entry: Mapping[str, Any], classes: list[str]) -> Sample:
    """Return the sample of an entry of a list; classes and the corners of boxes count from 1 there."""
    key = f"{images.name}/{str(_field(annotations, entry, name)).removeprefix(f'{images.name}/')}"
    label, *corners = (_number(annotations, entry, field) for field in ("class", *BOX))
    if label not in range(1, len(classes) + 1):
        raise DataError(f"{annotations}: {key} has class {label:g}. Expected 1 to {len(classes)}.")
    place = images if (images / images.name).is_dir() else images.parent
    return Sample(key, int(label) - 1, place / key, box_of_corners(*corners))


def _field(annotations: Path, entry: Mapping[str, Any], field: str) -> Any:
    if field not in entry:
        raise DataError(f"{annotations}: an entry has no {field!r}, only {', '.join(entry)}. {SOURCE}")
    return entry[field]


def _number(annotations: Path, entry: Mapping[str, Any], field: str) -> float:
    value = _field(annotations, entry, field)
    if not isinstance(value, Real):
        raise DataError(f"{annotations}: {field} is {value!r}. Expected a number. {SOURCE}")
    return float(value)
