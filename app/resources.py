"""What all visitors share: data sets, models, and what was computed of them. The only file with ``st.cache_*``.

Nothing cached is ever changed by anybody: a model is loaded once for the process, and used by many threads at a time.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from PIL import Image

if TYPE_CHECKING:
    from app.comparing import Protocol
    from pmsi.config import TrainConfig
    from pmsi.costs import Costs
    from pmsi.data.dataset import Dataset
    from pmsi.predictor import Explanation, Prediction, Predictor
    from pmsi.runs import Run
    from pmsi.tables import Filled, Sets, Table


@st.cache_resource(show_spinner=False)
def open_builtin() -> "Dataset":
    """Return the built-in data set."""
    from pmsi.config import TrainConfig
    from pmsi.data import open_dataset

    return open_dataset(TrainConfig(dataset="plumage"))


@st.cache_resource(show_spinner="Reading the folder…", max_entries=8, ttl=600)
def open_folder(folder: str) -> "Dataset":
    """Return the data set in a folder: CUB-200-2011's layout where its list of images is there, else class folders."""
    from pmsi.config import TrainConfig
    from pmsi.data import open_dataset

    name = "cub" if (Path(folder) / "images.txt").exists() else "folder"
    return open_dataset(TrainConfig(dataset=name, data=folder))


@st.cache_resource(show_spinner=False, max_entries=64)
def sample_image(_dataset: "Dataset", place: str, key: str) -> Image.Image:
    """Return the image of a sample; ``place`` tells data sets apart. Not to be changed by anybody."""
    return _dataset.open_image(_dataset.find(key))


@st.cache_resource(show_spinner=False, max_entries=64)
def receptive_fields(backbone: str) -> tuple[int | None, ...]:
    """Return the receptive fields of S1…S5 of a backbone, in pixels; None where one is unknown."""
    import torch

    from pmsi.model.backbone import find_backbone

    row = find_backbone(backbone)
    with torch.device("meta"):  # sizes are all that matters, and a typed network may be large
        return row.make(None).receptive_fields()


@st.cache_data(show_spinner=False, max_entries=512)
def _costs(fields: dict[str, Any], classes: int) -> "Costs":
    from pmsi.config import TrainConfig
    from pmsi.costs import costs_of

    return costs_of(TrainConfig(**fields), classes)


def costs_once(config: "TrainConfig", classes: int) -> "Costs":
    """Return what a config's system costs, counted once for all configs that differ in nothing that costs."""
    from pmsi.costs import FIELDS

    return _costs({name: getattr(config, name) for name in FIELDS}, classes)


@st.cache_resource(show_spinner="Loading the model…", max_entries=6)
def _predictor(folder: str, stamp: int) -> "Predictor":
    from pmsi.predictor import Predictor
    from pmsi.runs import Run

    return Predictor.load(Run(Path(folder)))


def stamp_of(run: "Run") -> int:
    """Return a number that changes with the run's checkpoint; 0 while there is none."""
    from pmsi.checkpoints import CHECKPOINT

    try:
        return (run.folder / "checkpoints" / CHECKPOINT).stat().st_mtime_ns
    except OSError:
        return 0


def predictor_of(run: "Run") -> "Predictor":
    """Return the predictor of a run's newest checkpoint, loaded once for all visitors."""
    return _predictor(str(run.folder), stamp_of(run))


@st.cache_data(show_spinner=False, max_entries=512)
def _predict(_predictor: "Predictor", _prepared: Image.Image, model: tuple[str, int], picture: str) -> "Prediction":
    return _predictor.predict(_prepared, top=len(_predictor.classes))


def predict_once(run: "Run", prepared: Image.Image, picture: str) -> "Prediction":
    """Return the run's prediction for a picture that ``picture`` names, computed once for all visitors."""
    return _predict(predictor_of(run), prepared, (str(run.folder), stamp_of(run)), picture)


@st.cache_data(show_spinner=False, max_entries=256)
def _explain(
    _predictor: "Predictor",
    _prepared: Image.Image,
    model: tuple[str, int],
    picture: str,
    head: str,
    label: int | None,
) -> "Explanation":
    return _predictor.explain(_prepared, head=head, label=label)


def explain_once(run: "Run", prepared: Image.Image, picture: str, head: str, label: int | None) -> "Explanation":
    """Return the run's maps for a picture that ``picture`` names, computed once for all visitors."""
    model = (str(run.folder), stamp_of(run))
    return _explain(predictor_of(run), prepared, model, picture, head, label)


@st.cache_data(show_spinner=False, max_entries=64)
def _protocols(number: str, root: str, ids: list[str]) -> "dict[str, Protocol]":
    from app.comparing import offered

    return offered(Path(root), number)


def protocols_once(number: str) -> "dict[str, Protocol]":
    """Return what can be shown of a table, looked for once as long as no run is added or removed."""
    from pmsi.runs import default_root, list_runs

    root = default_root().absolute()
    return _protocols(number, str(root), [run.id for run in list_runs(root)])


@st.cache_data(show_spinner="Counting images…", max_entries=16, ttl=600)
def _counts(_table: "Table", sets: "Sets") -> "Filled":
    from pmsi.runs import default_root
    from pmsi.tables import fill

    return fill(_table, default_root())


def counts_once(table: "Table") -> "Filled":
    """Return Table I: its data sets are opened and counted once in ten minutes."""
    return _counts(table, dict(table.sets))
