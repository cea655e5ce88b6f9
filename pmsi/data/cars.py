"""Stanford Cars in its original layout, which is torchvision's too. Sorted into class folders, it is read by `folder`.

    stanford_cars/
    ├── devkit/cars_meta.mat, cars_train_annos.mat
    ├── cars_test_annos_withlabels.mat    (or in devkit/)
    ├── cars_train/00001.jpg …            (or cars_train/cars_train/…, as some archives unpack)
    └── cars_test/00001.jpg …

The lists are MATLAB files: reading them needs SciPy, which nothing else here does.
"""

import importlib
from pathlib import Path
from typing import Any

from pmsi.data.checking import Progress, assemble, box_of_corners, check, locate
from pmsi.data.dataset import Dataset, Sample
from pmsi.errors import DataError

FOLDER = "stanford_cars"
FILES = ("cars_meta.mat", "cars_train_annos.mat", "cars_test_annos_withlabels.mat", "cars_train", "cars_test")
SOURCE = (
    "The original page (https://ai.stanford.edu/~jkrause/cars/car_dataset.html) is gone; torchvision's page "
    "StanfordCars links instructions for the copies (https://github.com/pytorch/vision/issues/7545). Give the folder "
    "that holds devkit, cars_train, cars_test and cars_test_annos_withlabels.mat. A copy sorted into train/CLASS and "
    "test/CLASS is read by the data set 'folder'."
)
FIELDS = ("fname", "class", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")


def cars(folder: str | Path, *, progress: Progress | None = None) -> Dataset:
    """Return Stanford Cars with its official split: 196 models, 8,144 training and 8,041 test images when complete.

    ``folder`` is the one that holds devkit, or its parent. Classes are in the order of cars_meta.mat, keys are
    cars_train/FILE and cars_test/FILE. Raises DataError that names what is missing, and where SciPy is not installed.
    """
    root = Path(folder)
    places = [root, root / "devkit", root / FOLDER, root / FOLDER / "devkit"]
    meta_mat, train_mat, test_mat, train_images, test_images = locate("Stanford Cars", places, FILES, SOURCE)
    classes = [str(name) for name in _listed(_load(meta_mat, "class_names"))]
    train = _samples(train_mat, train_images, len(classes))
    test = _samples(test_mat, test_images, len(classes))
    good, problems = check([*train, *test], root, progress)
    return assemble("cars", classes, good, {sample.key for sample in test}, problems)


def _samples(annotations: Path, images: Path, classes: int) -> list[Sample]:
    """Return the samples that a list names; its classes and boxes count from 1, corners included."""
    place = images / images.name if (images / images.name).is_dir() else images
    samples = []
    for number, entry in enumerate(_listed(_load(annotations, "annotations")), 1):
        absent = [field for field in FIELDS if field not in entry]
        if absent:
            raise DataError(f"{annotations}: entry {number} lacks {', '.join(absent)}. {SOURCE}")
        file, label = str(entry["fname"]), int(entry["class"]) - 1
        if not 0 <= label < classes:
            raise DataError(f"{annotations}: {file} has class {label + 1}. Expected 1 to {classes}.")
        box = box_of_corners(*(float(entry[field]) for field in FIELDS[2:]))
        samples.append(Sample(f"{images.name}/{file}", label, place / file, box))
    return samples


def _load(path: Path, variable: str) -> Any:
    """Return one variable of a MATLAB file as dicts, lists, strings and numbers."""
    try:
        loadmat = importlib.import_module("scipy.io").loadmat
    except ImportError as error:
        raise DataError(f"Reading {path.name} needs SciPy, which is not installed: pip install scipy.") from error
    try:
        return loadmat(path, simplify_cells=True, variable_names=[variable])[variable]
    except Exception as error:  # scipy raises nearly anything on damaged bytes
        raise DataError(f"{path} cannot be read as a MATLAB file with {variable!r} ({error}). {SOURCE}") from error


def _listed(value: Any) -> list[Any]:
    """Return a MATLAB array as a list; an array of one comes out of the file as its only value."""
    return [value] if isinstance(value, (dict, str)) else list(value)
