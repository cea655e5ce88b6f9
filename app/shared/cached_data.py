"""Cached data sets and images. An image is cached by the digest of its pixels."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import streamlit as st
from PIL import Image

from app.shared.access import check_place, may_read
from pmsi.base.errors import ImageError
from pmsi.base.files import Stamp, stamp
from pmsi.config import DATA_FIELDS, TrainConfig
from pmsi.data import kind_of, open_dataset
from pmsi.data.checking import confined
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest
from pmsi.data.record import FILE, digest_of
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.sheets import thumbnail
from pmsi.runs import Run
from pmsi.runs.record import as_trained, record_of


@st.cache_resource(show_spinner="Looking at the images…", max_entries=8, ttl=600)
def _open_set(values: dict[str, Any]) -> Dataset:
    return _verified(confined(open_dataset(TrainConfig(**values)), may_read))


def _verified(dataset: Dataset) -> Dataset:
    """Return a data set that raises ImageError for a file whose pixels are others than when the set was opened."""

    def open_image(sample: Sample) -> Image.Image:
        image = dataset.open_image(sample)
        if sample.path is not None and sample.digest and pixels_digest(image) != sample.digest:
            _open_set.clear()
            _data_of_run.clear()
            raise ImageError(f"{sample.key} has other pixels than a moment ago. Reload the page to see what is there.")
        return image

    return replace(dataset, open_image=open_image)


def open_set(config: TrainConfig) -> Dataset:
    """Return the data set of a config, opened once for all configs that agree about it."""
    return _open_set({name: getattr(config, name) for name in DATA_FIELDS})


def open_builtin() -> Dataset:
    """Return the built-in data set."""
    return open_set(TrainConfig(dataset="plumage"))


def open_folder(folder: str) -> Dataset:
    """Return the data set in a folder or a zip that visitors may read: a published one's layout, else class folders."""
    place = str(check_place(folder))
    return open_set(TrainConfig(dataset=kind_of(Path(place)), data=place))


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


@st.cache_resource(show_spinner="Looking for the run's images…", max_entries=16, ttl=600)
def _data_of_run(_run: Run, folder: str, changed: Stamp) -> RunData:
    config = _run.config
    if record_of(_run) is not None and not is_drawn(config):  # the record knows which of all images were used
        config = config.with_(train_per_class=None, test_per_class=None)
    dataset, reasons = as_trained(_run, open_set(config))
    return RunData(dataset, tuple(reasons))


def data_of_run(run: Run) -> RunData:
    """Return the images of a training run: what every page takes for "its test images"."""
    return _data_of_run(run, str(run.folder), stamp(run.folder / FILE))


# Pictures


@st.cache_data(show_spinner=False, max_entries=4096)
def _thumbnail(_dataset: Dataset, _sample: Sample, digest: str, side: int) -> bytes:
    return jpeg(thumbnail(_dataset.open_image(_sample), side), quality=82)


def thumbnail_once(dataset: Dataset, sample: Sample, side: int) -> bytes:
    """Return the middle square of a sample's image as JPEG."""
    return _thumbnail(dataset, sample, digest_of(dataset, sample), side)


@st.cache_resource(show_spinner=False, max_entries=128)
def _sample_image(_dataset: Dataset, _sample: Sample, digest: str) -> Image.Image:
    return _dataset.open_image(_sample)


def sample_image(dataset: Dataset, sample: Sample) -> Image.Image:
    """Return the image of a sample, which callers must not change."""
    return _sample_image(dataset, sample, digest_of(dataset, sample))
