"""Oxford Flowers-102 as it is distributed.

flowers-102/
├── jpg/image_00001.jpg …
├── imagelabels.mat          labels: the class of each image, from 1
└── setid.mat                trnid, valid, tstid: numbers of the images of each split

As published, the two small splits are for training (trnid) and validation (valid), 1,020 images each, and the large one
(tstid, 6,149 images) is for testing. Some programs train on the large one; their numbers cannot be compared.
"""

from dataclasses import replace
from pathlib import Path

from pmsi.data.checking import Progress, assemble, locate, published
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.readers.matlab import whole_numbers

FILES = ("imagelabels.mat", "setid.mat", "jpg")
SOURCE = (
    "Download 102flowers.tgz, imagelabels.mat and setid.mat from https://www.robots.ox.ac.uk/~vgg/data/flowers/102/, "
    "unpack the first, and give the folder that holds jpg and the two lists."
)


def flowers(folder: str | Path, *, test_on: str = "test", progress: Progress | None = None) -> Dataset:
    """Return Oxford Flowers-102: 102 kinds, 2,040 training images (trnid and valid) and 6,149 test images (tstid).

    With ``test_on`` "val", it is trained on trnid and tested on valid. ``folder`` is the one with jpg, or one around
    it; keys are file names. Raises DataError if a file is missing or damaged.
    """
    labels_mat, sets_mat, images = locate("Oxford Flowers-102", [Path(folder)], FILES, SOURCE)
    classes = _names()
    labels = whole_numbers(labels_mat, "labels", SOURCE, len(classes))
    trained, tested = (["trnid"], ["valid"]) if test_on == "val" else (["trnid", "valid"], ["tstid"])
    sides = [
        [number for name in names for number in whole_numbers(sets_mat, name, SOURCE, len(labels))]
        for names in (trained, tested)
    ]
    keys = {number: f"image_{number:05}.jpg" for side in sides for number in side}
    samples = [Sample(key, labels[number - 1] - 1, images / key) for number, key in sorted(keys.items())]
    found = assemble("flowers", classes, samples, {keys[number] for number in sides[1]}, images, progress)
    dataset = published(Path(folder), found, samples, (labels_mat, sets_mat))
    layout = f"official split, {' and '.join(trained)} for training, {tested[0]} for testing"
    return replace(dataset, layout=layout, tested_on="val" if test_on == "val" else "test")


def _names() -> list[str]:
    """Return the names of the classes, which are on the data set's page and not in its files."""
    from pmsi.base.vision import torchvision  # here, because it loads torch

    return [name.capitalize() for name in torchvision.datasets.Flowers102.classes]
