"""CUB-200-2011 as it is distributed, or any subset of its classes in the same layout.

CUB_200_2011/
├── images.txt               1 001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg
├── image_class_labels.txt   1 1
├── train_test_split.txt     1 0          (1 is training)
├── classes.txt              1 001.Black_footed_Albatross
├── bounding_boxes.txt       1 60.0 27.0 325.0 304.0     (optional: x, y, width, height)
├── parts/parts.txt          2 beak                      (optional)
├── parts/part_locs.txt      1 2 312.0 182.0 1           (optional: x, y, whether it is visible)
└── images/…

NABirds has the same lists, its own classes, and hierarchy.txt.
"""

import re
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pmsi.base.errors import DataError
from pmsi.data.checking import Progress, assemble, four_numbers, locate, published, read_lines, read_rows, whole
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import geometry

FILES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "images")


class Published(NamedTuple):
    """A data set of this layout: its title, the name of its folder, and where it comes from."""

    title: str
    folder: str
    source: str


CUB = Published(
    "CUB-200-2011",
    "CUB_200_2011",
    "Download CUB_200_2011.tgz from the page Caltech-UCSD Birds-200-2011 "
    "(https://data.caltech.edu/records/65de6-vp158), unpack it, and give the folder CUB_200_2011.",
)
NABIRDS = Published(
    "NABirds",
    "nabirds",
    "Ask for nabirds.tar.gz at https://dl.allaboutbirds.org/nabirds, unpack it, and give the folder nabirds.",
)
PART_FILES = ("parts.txt", "part_locs.txt")
PART_RADIUS = 0.1
"""Radius of a part's region, as a share of the longer side of the bird's box: the usual tolerance of keypoints."""


def cub(folder: str | Path, *, variant: Published = CUB, progress: Progress | None = None) -> Dataset:
    """Return CUB-200-2011 with its official split: 200 classes, 5,994 training and 5,794 test images when complete.

    ``folder`` is CUB_200_2011, or one around it; the lists may also be beside CUB_200_2011. Classes are in the order of
    their numbers, keys are the paths in images.txt. Visible parts are discs around their locations. NABirds, which has
    555 classes, is named as such. Raises DataError if a file is missing or a line damaged.
    """
    root = Path(folder)
    places = [root, root.parent] if root.name == variant.folder else [root]
    images_txt, labels_txt, split_txt, classes_txt, images = locate(variant.title, places, FILES, variant.source)
    paths = {image: _key(path) for image, path in read_rows(images_txt, 2, numbered=True).items()}
    names = class_names(read_rows(classes_txt, 2, numbered=True))
    order = {number: label for label, number in enumerate(names)}
    labels = _of_each_image(paths, labels_txt, order, "a class that classes.txt lists")
    split = _of_each_image(paths, split_txt, ("0", "1"), "1 (training) or 0 (test)")
    boxes_txt = images_txt.with_name("bounding_boxes.txt")
    rows = read_rows(boxes_txt, 5, numbered=True) if boxes_txt.exists() else {}
    boxes = {image: four_numbers(boxes_txt, f"image {image}", text) for image, text in rows.items()}
    samples = [Sample(key, order[labels[image]], images / key, boxes.get(image)) for image, key in paths.items()]
    tested = {paths[image] for image in paths if split[image] == "0"}
    parts, hierarchy_txt = _Parts(images_txt.parent / "parts", paths), images_txt.with_name("hierarchy.txt")
    found = assemble("cub", list(names.values()), samples, tested, images, progress)
    lists = (images_txt, labels_txt, split_txt, classes_txt, boxes_txt, hierarchy_txt)
    found = published(root, found, samples, (*lists, *(parts.folder / name for name in PART_FILES)))
    if hierarchy_txt.exists():
        found = replace(found, name="nabirds", notes=(*found.notes, "It is NABirds, whose hierarchy it has."))
    if not all((parts.folder / name).exists() for name in PART_FILES):
        return found
    return replace(found, open_parts=parts, part_names=tuple(parts.names.values()))


@dataclass(frozen=True)
class _Parts:
    """Opens the regions of visible parts; a class, so that it can be pickled for a loader's worker processes.

    ``folder`` has the lists of parts, which are read at the first use; ``paths`` are image keys by number.
    """

    folder: Path
    paths: Mapping[str, str]

    def __call__(self, sample: Sample) -> dict[str, np.ndarray]:
        """Return a disc around each visible part of an image, (height, width) bool."""
        if sample.key not in self._places:
            return {}
        about = geometry(sample.path or "")
        longer = max(sample.box[2:] if sample.box is not None else (about.width, about.height))
        across, down = np.arange(about.width) + 0.5, np.arange(about.height)[:, None] + 0.5
        discs = {}
        for part, place in self._places[sample.key].items():
            x, y, _, _ = about.upright_box((*place, 0, 0))
            discs[part] = (across - x) ** 2 + (down - y) ** 2 <= (PART_RADIUS * longer) ** 2
        return discs

    @cached_property
    def names(self) -> dict[str, str]:
        """The names of all parts by number."""
        return read_rows(self.folder / "parts.txt", 2, numbered=True)

    @cached_property
    def _places(self) -> dict[str, dict[str, tuple[float, float]]]:
        """x and y of the visible parts in the stored image, by image key and part."""
        places_txt = self.folder / "part_locs.txt"
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for image, text in read_lines(places_txt, 5, numbered=True):
            part, x, y, visible = four_numbers(places_txt, f"a part of image {image}", text)
            if f"{part:g}" not in self.names:
                raise DataError(f"{places_txt}: image {image} has part {part:g}, which parts.txt does not list.")
            if visible and image in self.paths:
                found.setdefault(self.paths[image], {})[self.names[f"{part:g}"]] = (x, y)
        return found


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
        raise DataError(f"{file} lacks {len(absent)} of the images in images.txt, image {absent[0]} first.")
    for image in paths:
        if rows[image] not in allowed:
            raise DataError(f"{file}: image {image} has {rows[image]!r}. Expected {expected}.")
    return rows
