"""FunnyBirds as it is distributed: rendered birds, with the masks of their parts, and the same birds without parts.

FunnyBirds/
├── classes.json, parts.json                 [{"class_idx": 0, "parts": {"beak": 3, …}}, …]; {"beak": […], …}
├── dataset_train.json, dataset_test.json    [{"class_idx": 0, …}, …]: the scene of each image, in the order of numbers
├── train/0/000000.png, test/0/000000.png    CLASS/NUMBER
├── test_part_map/0/000000.png               a colour for each part
└── test_interventions/0/000000/             body_beak_eye_foot_tail_wing.png: the parts that are left, by the alphabet
    └── background_interventions/0.png …     the bird with one object of the background removed

Layout and colours are those that its authors' reader has (Hesse et al., ICCV 2023).
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pmsi.base.errors import DataError
from pmsi.base.files import LARGE, parse_json, read_file
from pmsi.data.checking import Progress, assemble, locate, open_sample, published
from pmsi.data.dataset import Dataset, Interventions, Sample

FILES = ("classes.json", "parts.json", "dataset_train.json", "dataset_test.json", "train", "test")
SOURCE = (
    "Download FunnyBirds.zip from download.visinf.tu-darmstadt.de/data/funnybirds/ (github.com/visinf/funnybirds), "
    "unpack it, and give the folder that holds dataset_test.json."
)
COLOURS = {
    (255, 255, 253): "eye",
    (255, 255, 254): "eye",
    (255, 255, 0): "beak",
    (255, 0, 1): "foot",
    (255, 0, 2): "foot",
    (0, 255, 1): "wing",
    (0, 255, 2): "wing",
    (0, 0, 255): "tail",
}
"""The part that a colour of a part map stands for; a pair has two colours."""


def funnybirds(folder: str | Path, *, progress: Progress | None = None) -> Dataset:
    """Return FunnyBirds with its official split; ``folder`` is the one with dataset_test.json, or one around it.

    Classes are named by their number, keys are the paths of the images. Test images have masks of their parts, and can
    be had without parts. Raises DataError if a file is missing or damaged.
    """
    classes_json, parts_json, train_json, test_json, train, test = locate("FunnyBirds", [Path(folder)], FILES, SOURCE)
    numbers = sorted(_class_number(classes_json, one) for one in _read(classes_json, list))
    labels = {number: label for label, number in enumerate(numbers)}
    samples = []
    for listed, images in ((train_json, train), (test_json, test)):
        for number, scene in enumerate(_read(listed, list)):
            label = labels.get(of := _class_number(listed, scene))
            if label is None:
                raise DataError(f"{listed}: image {number} has class {of}, which classes.json does not list. {SOURCE}")
            key = f"{images.name}/{of}/{number:06}.png"
            samples.append(Sample(key, label, images.parent / key))
    tested = {sample.key for sample in samples if sample.key.startswith("test/")}
    names = [f"FunnyBird {number:02}" for number in numbers]
    found = assemble("funnybirds", names, samples, tested, test.parent, progress)
    birds = _Birds(test.parent, tuple(sorted(_read(parts_json, dict))))
    beside = [path for kind in ("part_map", "interventions") for path in (test.parent / f"test_{kind}").rglob("*.png")]
    used = [*samples, *(Sample("", 0, path) for path in beside)]
    found = published(Path(folder), found, used, (classes_json, parts_json, train_json, test_json))
    return replace(
        found,
        open_parts=birds.parts,
        part_names=birds.removable,
        interventions=birds,
        notes=(*found.notes, "Its part maps and interventions are read by `pmsi maps --protocol parts`."),
    )


def _read(path: Path, kind: type) -> Any:
    try:
        found = parse_json(read_file(path, LARGE))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}. {SOURCE}") from error
    if not isinstance(found, kind):
        raise DataError(f"{path}: expected a JSON {kind.__name__}, found {type(found).__name__}. {SOURCE}")
    return found


def _class_number(listed: Path, one: Any) -> int:
    number = one.get("class_idx") if isinstance(one, dict) else None
    if not isinstance(number, int) or isinstance(number, bool):
        raise DataError(f"{listed}: class_idx is {number!r}. Expected a whole number. {SOURCE}")
    return number


@dataclass(frozen=True)
class _Birds(Interventions):
    """The masks and interventions in a folder; a class, so that it can be pickled for a loader's worker processes."""

    root: Path
    removable: tuple[str, ...]

    def _place(self, kind: str, sample: Sample) -> Path:
        split, label, name = sample.key.split("/")
        return self.root / f"{split}_{kind}" / label / name

    def parts(self, sample: Sample) -> dict[str, np.ndarray]:
        """Return the masks of the visible parts; none for an image without a part map."""
        path = self._place("part_map", sample)
        if not path.exists():
            return {}
        pixels = np.asarray(open_sample(replace(sample, path=path)))
        found: dict[str, np.ndarray] = {}
        for colour, part in COLOURS.items():
            mask = (pixels == colour).all(axis=2)
            found[part] = found.get(part, np.zeros_like(mask)) | mask
        return {part: mask for part, mask in found.items() if mask.any()}

    def without(self, sample: Sample, parts: Collection[str]) -> Image.Image:
        if not parts:
            return open_sample(sample)
        left = "_".join(["body", *(part for part in self.removable if part not in parts)])
        path = self._place("interventions", sample).with_suffix("") / f"{left if '_' in left else 'body_'}.png"
        if not path.exists():
            raise DataError(f"{path} is missing: without it nothing is known of {sample.key} without parts. {SOURCE}")
        return open_sample(replace(sample, path=path))

    def surroundings(self, sample: Sample) -> dict[str, Image.Image]:
        """Return the image with one object of its background removed, for each of them."""
        home = self._place("interventions", sample).with_suffix("") / "background_interventions"
        return {
            f"without object {path.stem}": open_sample(replace(sample, path=path))
            for path in sorted(home.glob("*.png"))
        }
