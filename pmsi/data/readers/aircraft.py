"""FGVC-Aircraft (2013b) as it is distributed, at the level of variants.

    fgvc-aircraft-2013b/data/
    ├── variants.txt                  707-320
    ├── images_variant_trainval.txt   1025794 707-320
    ├── images_variant_test.txt       1514522 707-320
    ├── images_box.txt                1025794 3 144 998 431     (optional: xmin, ymin, xmax, ymax)
    └── images/1025794.jpg …

Each photo ends in a banner of 20 pixels with its copyright. The reader keeps it, so that images, boxes and maps are as
published. The distribution's README asks to remove it for training: do so in a copy of the images.
"""

from pathlib import Path

from pmsi.base.errors import DataError
from pmsi.data.checking import (
    Progress,
    assemble,
    box_of_corners,
    four_numbers,
    locate,
    published,
    read_lines,
    read_rows,
)
from pmsi.data.dataset import Dataset, Sample

FILES = ("variants.txt", "images_variant_trainval.txt", "images_variant_test.txt", "images")
SOURCE = (
    "Download fgvc-aircraft-2013b.tar.gz from the page FGVC-Aircraft Benchmark "
    "(https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/), unpack it, and give the folder fgvc-aircraft-2013b."
)


def aircraft(folder: str | Path, *, progress: Progress | None = None) -> Dataset:
    """Return FGVC-Aircraft: 100 variants, 6,667 training images (training and validation) and 3,333 test images.

    ``folder`` is fgvc-aircraft-2013b, its folder data, or one around it. Classes are in the order of
    variants.txt; keys are file names in images/. Raises DataError if a file is missing or a line is damaged.
    """
    variants_txt, train_txt, test_txt, images = locate("FGVC-Aircraft", [Path(folder)], FILES, SOURCE)
    classes = _lines(variants_txt)
    boxes_txt = variants_txt.with_name("images_box.txt")
    boxes = read_rows(boxes_txt, 5) if boxes_txt.exists() else {}
    labels = {name: label for label, name in enumerate(classes)}
    samples: list[list[Sample]] = [[], []]
    for split, listed in zip(samples, (train_txt, test_txt), strict=True):
        for image, name in read_rows(listed, 2).items():
            if name not in labels:
                raise DataError(f"{listed}: image {image} has variant {name!r}, which {variants_txt} does not list.")
            box = box_of_corners(*four_numbers(boxes_txt, image, boxes[image])) if image in boxes else None
            split.append(Sample(f"{image}.jpg", labels[name], images / f"{image}.jpg", box))
    train, test = samples
    found = assemble("aircraft", classes, [*train, *test], {sample.key for sample in test}, images, progress)
    return published(Path(folder), found, [*train, *test], (variants_txt, train_txt, test_txt, boxes_txt))


def _lines(path: Path) -> list[str]:
    """Return the names in a list file, one per line; they may contain spaces, like "BAE 146-200"."""
    return [" ".join(row).strip() for row in read_lines(path, 1)]
