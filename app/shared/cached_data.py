"""Cached data sets and images. An image is cached by the digest of its pixels."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from app.shared.access import check_place, may_read
from app.shared.memory import forget, once
from app.shared.work import LONG
from pmsi.base.errors import ImageError
from pmsi.base.files import stamp
from pmsi.config import DATA_FIELDS, TrainConfig
from pmsi.data import kind_of, open_dataset
from pmsi.data.checking import confined
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest
from pmsi.data.importing import datasets_root
from pmsi.data.record import FILE, digest_of
from pmsi.data.uploads import SIDE, apart
from pmsi.pictures.classes import boxed, clearest
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.sheets import thumbnail
from pmsi.runs import Run
from pmsi.runs.record import as_trained, record_of

SET, OF_RUN = "set", "data of a run"
"""Beginnings of keys."""
TTL_S = 600
"""How long a folder is not looked at again."""
SAMPLE_BYTES = 700
"""Memory of an image's key, path and digest."""


def open_set(config: TrainConfig) -> Dataset:
    """Return the data set of a config, opened once for all configs that agree about it."""
    values = {name: getattr(config, name) for name in DATA_FIELDS}
    return once(
        (SET, *values.values()),
        lambda: _verified(confined(_opened(TrainConfig(**values)), may_read)),
        line=LONG,
        doing="Looking at the images…",
        ttl=TTL_S,
        size=_size_of_set,
    )


def _opened(config: TrainConfig) -> Dataset:
    sent = config.data is not None and Path(config.data).is_relative_to(datasets_root().resolve())
    with apart(own=True) if sent else nullcontext():
        return open_dataset(config)


def _verified(dataset: Dataset) -> Dataset:
    """Return a data set that raises ImageError for a file whose pixels are others than when the set was opened."""

    def open_image(sample: Sample) -> Image.Image:
        image = dataset.open_image(sample)
        if sample.path is not None and sample.digest and pixels_digest(image) != sample.digest:
            forget(SET, OF_RUN)
            raise ImageError(f"{sample.key} has other pixels than a moment ago. Reload the page to see what is there.")
        return image

    return replace(dataset, open_image=open_image)


def _size_of_set(dataset: Dataset) -> int:
    return SAMPLE_BYTES * (len(dataset.train) + len(dataset.test) + len(dataset.problems))


def open_builtin() -> Dataset:
    """Return the built-in data set."""
    return open_set(TrainConfig(dataset="plumage"))


def open_folder(folder: str, encoding: str | None = None, column: str | None = None) -> Dataset:
    """Return the data set in a folder or a zip that visitors may read: a published one's layout, else class folders.

    ``encoding`` is that of its names, ``column`` that of the classes in a list of images: one that `folder` reads.
    """
    place = str(check_place(folder))
    kind = "folder" if column else kind_of(Path(place))
    return open_set(TrainConfig(dataset=kind, data=place, name_encoding=encoding or None, label_column=column or None))


# Of a run


@dataclass(frozen=True)
class RunData:
    """The images that a run was trained and tested on, as far as they are there, with the run's own classes and split.

    ``reasons`` say what has changed since.
    """

    dataset: Dataset
    reasons: tuple[str, ...]


def is_drawn(config: TrainConfig) -> bool:
    """Return whether a run's pictures are drawn: there is no end of them, so its limits say which there are."""
    return config.dataset == "plumage"


def data_of_run(run: Run) -> RunData:
    """Return the images of a training run: what every page takes for "its test images"."""

    def find() -> RunData:
        config = run.config
        if record_of(run) is not None and not is_drawn(config):  # the record knows which of all images were used
            config = config.with_(train_per_class=None, test_per_class=None)
        dataset, reasons = as_trained(run, open_set(config))
        return RunData(dataset, tuple(reasons))

    key = (OF_RUN, str(run.folder), stamp(run.folder / FILE))
    return once(key, find, line=None, ttl=TTL_S, size=lambda found: _size_of_set(found.dataset))


# Pictures


def thumbnail_once(dataset: Dataset, sample: Sample, side: int) -> bytes:
    """Return the middle square of a sample's image as JPEG."""
    key = ("thumbnail", digest_of(dataset, sample), side)
    return once(key, lambda: jpeg(thumbnail(dataset.open_image(sample), side), quality=82), line=None)


def clearest_once(dataset: Dataset, label: int) -> Sample | None:
    """Return the training image on which the distinctive parts of a class are seen best; see `clearest`."""
    some = next((sample for sample in dataset.train if sample.label == label), None)
    key = ("clearest", digest_of(dataset, some) if some else "", dataset.name, label)
    return once(key, lambda: clearest(dataset, label), line=None)


def boxed_once(dataset: Dataset, sample: Sample, side: int) -> bytes:
    """Return the middle square of a sample's image, its distinctive parts in boxes, as JPEG."""
    key = ("boxed", digest_of(dataset, sample), side)
    return once(key, lambda: jpeg(thumbnail(boxed(dataset, sample), side), quality=82), line=None)


def _image_and_size(dataset: Dataset, sample: Sample) -> tuple[Image.Image, tuple[int, int]]:
    def opened() -> tuple[Image.Image, tuple[int, int]]:
        image = dataset.open_image(sample)
        size = image.size
        if max(size) > SIDE:
            image.thumbnail((SIDE, SIDE))
        return image, size

    return once(("image", digest_of(dataset, sample)), opened, line=None)


def sample_image(dataset: Dataset, sample: Sample) -> Image.Image:
    """Return the image of a sample, of at most `SIDE` pixels a side. Callers must not change it."""
    return _image_and_size(dataset, sample)[0]


def sample_size(dataset: Dataset, sample: Sample) -> tuple[int, int]:
    """Return the width and height of a sample's image as it is stored, in which boxes are given."""
    return _image_and_size(dataset, sample)[1]
