"""Oxford-IIIT Pets as it is distributed.

oxford-iiit-pet/
├── images/Abyssinian_100.jpg, american_bulldog_100.jpg …
└── annotations/
    ├── trainval.txt         Abyssinian_100 1 1 1     (image, class, cat or dog, number of the breed)
    └── test.txt
"""

from pathlib import Path

from pmsi.base.errors import DataError
from pmsi.data.checking import Progress, assemble, locate, published, read_rows
from pmsi.data.dataset import Dataset, Sample

FILES = ("annotations/trainval.txt", "annotations/test.txt", "images")
SOURCE = (
    "Download images.tar.gz and annotations.tar.gz from https://www.robots.ox.ac.uk/~vgg/data/pets/, unpack both, and "
    "give the folder that holds images and annotations."
)


def pets(folder: str | Path, *, progress: Progress | None = None) -> Dataset:
    """Return Oxford-IIIT Pets with its official split: 37 breeds, 3,680 training and 3,669 test images when complete.

    ``folder`` is the one with images and annotations, or one around it. Classes are in the order of their numbers, keys
    are file names. Raises DataError if a file is missing or a line is damaged.
    """
    train_txt, test_txt, images = locate("Oxford-IIIT Pets", [Path(folder)], FILES, SOURCE)
    numbers: dict[str, int] = {}
    names: dict[int, str] = {}
    sides = []
    for listed in (train_txt, test_txt):
        rows = {image: text for image, text in read_rows(listed, 2).items() if not image.startswith("#")}
        for image, text in rows.items():
            number = numbers[image] = _class_number(listed, image, text)
            breed = image.rpartition("_")[0].replace("_", " ").title()
            if names.setdefault(number, breed) != breed:
                raise DataError(f"{listed}: {image} has class {number}, which is that of {names[number]}. {SOURCE}")
        sides.append(rows)
    labels = {number: label for label, number in enumerate(sorted(names))}
    samples = [Sample(f"{image}.jpg", labels[numbers[image]], images / f"{image}.jpg") for image in numbers]
    tested = {f"{image}.jpg" for image in sides[1]}
    found = assemble("pets", [names[number] for number in labels], samples, tested, images, progress)
    return published(Path(folder), found, samples, (train_txt, test_txt))


def _class_number(listed: Path, image: str, text: str) -> int:
    number = text.split()[0]
    if not number.isdecimal():
        raise DataError(f"{listed}: {image} has class {number!r}. Expected a whole number.")
    return int(number)
