"""CUB-200-2011 as it is distributed, or any subset of its classes in the same layout.

CUB_200_2011/
├── images.txt               1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
├── image_class_labels.txt   1 1
├── train_test_split.txt     1 0          (1 is training)
├── classes.txt              1 001.Black_footed_Albatross
├── bounding_boxes.txt       1 60.0 27.0 325.0 304.0     (optional: x, y, width, height)
└── images/…
"""

import re
from collections import Counter
from collections.abc import Container, Mapping
from pathlib import Path

from pmsi.base.errors import DataError
from pmsi.data.checking import Progress, assemble, check, four_numbers, locate, read_rows, whole
from pmsi.data.dataset import Dataset, Sample

FOLDER = "CUB_200_2011"
FILES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "images")
SOURCE = (
    "Download CUB_200_2011.tgz from the page Caltech-UCSD Birds-200-2011 "
    "(https://data.caltech.edu/records/65de6-vp158), unpack it, and give the folder CUB_200_2011."
)


def cub(folder: str | Path, *, progress: Progress | None = None) -> Dataset:
    """Return CUB-200-2011 with its official split: 200 classes, 5,994 training and 5,794 test images when complete.

    ``folder`` is CUB_200_2011, its parent or grandparent; the lists may also be beside CUB_200_2011. Classes are in the
    order of their numbers, keys are the paths in images.txt. Raises DataError if a file is missing or a line damaged.
    """
    root = Path(folder)
    places = [root, root / FOLDER, root / FOLDER / FOLDER, *([root.parent] if root.name == FOLDER else [])]
    images_txt, labels_txt, split_txt, classes_txt, images = locate("CUB-200-2011", places, FILES, SOURCE)
    paths = {image: _key(path) for image, path in read_rows(images_txt, 2, numbered=True).items()}
    names = class_names(read_rows(classes_txt, 2, numbered=True))
    order = {number: label for label, number in enumerate(names)}
    labels = _of_each_image(paths, labels_txt, order, "a class that classes.txt lists")
    split = _of_each_image(paths, split_txt, ("0", "1"), "1 (training) or 0 (test)")
    boxes_txt = images_txt.with_name("bounding_boxes.txt")
    rows = read_rows(boxes_txt, 5, numbered=True) if boxes_txt.exists() else {}
    boxes = {image: four_numbers(boxes_txt, f"image {image}", text) for image, text in rows.items()}
    samples = [Sample(key, order[labels[image]], images / key, boxes.get(image)) for image, key in paths.items()]
    good, problems = check(samples, images, progress)
    return assemble(
        "cub", list(names.values()), good, {paths[image] for image in paths if split[image] == "0"}, problems
    )


def _key(path: str) -> str:
    """Return an image's path below images/; the list's path may begin with images/ or have backslashes."""
    return path.replace("\\", "/").removeprefix("./").removeprefix("images/")


def class_names(rows: Mapping[str, str]) -> dict[str, str]:
    """Return {class number: name to show} in numerical order: "001.Black_footed_Albatross" is "Black footed Albatross".

    Equal names get their number: "Cardinal (17)".
    """
    nice = {number: re.sub(r"^\d+\.", "", raw).replace("_", " ").strip() or raw for number, raw in rows.items()}
    same = Counter(nice.values())
    try:
        order = sorted(nice, key=int)
    except ValueError as error:
        raise DataError(f"classes.txt: {error}. Expected a whole number before each class.") from error
    return {number: nice[number] if same[nice[number]] == 1 else f"{nice[number]} ({number})" for number in order}


def _of_each_image(paths: Mapping[str, str], file: Path, allowed: Container[str], expected: str) -> dict[str, str]:
    """Return the value of a list for every image in images.txt; the list may have more images."""
    rows = {image: whole(value) for image, value in read_rows(file, 2, numbered=True).items()}
    absent = [image for image in paths if image not in rows]
    if absent:
        raise DataError(f"{file} lacks {len(absent)} of the images in images.txt, image {absent[0]} first. {SOURCE}")
    for image in paths:
        if rows[image] not in allowed:
            raise DataError(f"{file}: image {image} has {rows[image]!r}. Expected {expected}.")
    return rows
