"""Stanford Dogs as it is distributed.

stanford_dogs/
├── Images/n02085620-Chihuahua/n02085620_10074.jpg …
├── train_list.mat           file_list: the path of each image below Images; labels: its class, from 1
└── test_list.mat            (both also in lists/)
"""

import re
from pathlib import Path

from pmsi.base.errors import DataError
from pmsi.data.checking import Progress, assemble, locate, published
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.readers.matlab import variable, whole_numbers

FILES = ("train_list.mat", "test_list.mat", "Images")
SOURCE = (
    "Download images.tar and lists.tar from http://vision.stanford.edu/aditya86/ImageNetDogs/, unpack both into one "
    "folder, and give that. A copy without lists has no official split: it is read by the data set 'folder'."
)


def dogs(folder: str | Path, *, progress: Progress | None = None) -> Dataset:
    """Return Stanford Dogs with its official split: 120 breeds, 12,000 training and 8,580 test images when complete.

    ``folder`` is the one with Images and the lists, or one around it. Classes are in the order of their numbers, keys
    are paths below Images. Raises DataError if a file is missing or damaged.
    """
    train_mat, test_mat, images = locate("Stanford Dogs", [Path(folder)], FILES, SOURCE)
    numbers: dict[str, int] = {}
    sides = []
    for listed in (train_mat, test_mat):
        keys = [str(name) for name in variable(listed, "file_list", SOURCE)]
        labels = whole_numbers(listed, "labels", SOURCE, 1000)
        if len(keys) != len(labels):
            raise DataError(f"{listed} has {len(keys)} files and {len(labels)} labels. {SOURCE}")
        numbers |= dict(zip(keys, labels, strict=True))
        sides.append(keys)
    names = {number: breed(key) for key, number in numbers.items()}
    order = {number: label for label, number in enumerate(sorted(names))}
    samples = [Sample(key, order[number], images / key) for key, number in numbers.items()]
    found = assemble("dogs", [names[number] for number in order], samples, {*sides[1]}, images, progress)
    return published(Path(folder), found, samples, (train_mat, test_mat))


def breed(key: str) -> str:
    """Return the breed of an image: "Japanese spaniel" for "n02085782-Japanese_spaniel/n02085782_1.jpg"."""
    return re.sub(r"^n\d+-", "", key.partition("/")[0]).replace("_", " ")
