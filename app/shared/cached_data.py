"""Data sets and their images."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from PIL import Image

from app.shared.access import check_place, may_read
from pmsi.config import DATA_FIELDS

if TYPE_CHECKING:
    from pmsi.config import TrainConfig
    from pmsi.data.dataset import Dataset


@st.cache_resource(show_spinner=False)
def open_builtin() -> "Dataset":
    """Return the built-in data set."""
    from pmsi.config import TrainConfig
    from pmsi.data import open_dataset

    return open_dataset(TrainConfig(dataset="plumage"))


SIGNS = {
    "images.txt": "cub",
    "CUB_200_2011/images.txt": "cub",
    "devkit": "cars",
    "variants.txt": "aircraft",
    "data/variants.txt": "aircraft",
}
"""What is found in the folder of a published data set; class folders have none of it."""


def kind_of_folder(folder: str) -> str:
    """Return the row of DATASETS that reads a folder: a published one's by its files, else that of class folders."""
    return next((name for sign, name in SIGNS.items() if (Path(folder) / sign).exists()), "folder")


@st.cache_resource(show_spinner="Reading the folder…", max_entries=8, ttl=600)
def _open_folder(folder: str) -> "Dataset":
    from pmsi.config import TrainConfig
    from pmsi.data import open_dataset
    from pmsi.data.checking import confined

    return confined(open_dataset(TrainConfig(dataset=kind_of_folder(folder), data=folder)), may_read)


def open_folder(folder: str) -> "Dataset":
    """Return the data set in a folder or a zip that visitors may read: a published one's layout, else class folders."""
    return _open_folder(str(check_place(folder)))


@st.cache_resource(show_spinner="Looking at the images…", max_entries=8, ttl=600)
def _open_set(fields: dict[str, Any]) -> "Dataset":
    from pmsi.config import TrainConfig
    from pmsi.data import open_dataset
    from pmsi.data.checking import confined

    return confined(open_dataset(TrainConfig(**fields)), may_read)


def open_set(config: "TrainConfig") -> "Dataset":
    """Return the data set of a config, opened once for all configs that agree about it."""
    return _open_set({name: getattr(config, name) for name in DATA_FIELDS})


@st.cache_data(show_spinner=False, max_entries=4096)
def thumbnail_once(_dataset: "Dataset", place: str, key: str, side: int) -> bytes:
    """Return the middle square of an image as JPEG; ``place`` tells data sets apart."""
    from pmsi.pictures.encoding import jpeg
    from pmsi.pictures.sheets import thumbnail

    return jpeg(thumbnail(_dataset.open_image(_dataset.find(key)), side), quality=82)


@st.cache_resource(show_spinner=False, max_entries=128)
def sample_image(_dataset: "Dataset", place: str, key: str) -> Image.Image:
    """Return the image of a sample; ``place`` tells data sets apart. Not to be changed by anybody."""
    return _dataset.open_image(_dataset.find(key))
