"""Cached models and their predictions and maps, by the run's checkpoint and the digest of the image's pixels."""

from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image

from pmsi.base.errors import PMSIError
from pmsi.base.files import Stamp, stamp
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest
from pmsi.data.record import digest_of
from pmsi.explain.measures.deletion import Curve, removal_curves
from pmsi.explain.measures.disagreement import Disagreement
from pmsi.maps import disagreement
from pmsi.predictor import Explanation, Prediction, Predictor
from pmsi.runs import Run
from pmsi.runs.record import classes_of
from pmsi.runs.run import CHECKPOINT

Model = tuple[str, Stamp]
"""A run's folder and the stamp of its checkpoint."""


def model_of(run: Run) -> Model:
    """Return what is another value as soon as the run's checkpoint is another."""
    return str(run.folder), stamp(run.folder / "checkpoints" / CHECKPOINT)


def has_model(run: Run) -> bool:
    """Return whether a run has a checkpoint."""
    return any(model_of(run)[1])


@st.cache_resource(show_spinner="Loading the model…", max_entries=6)
def _predictor(model: Model) -> Predictor:
    return Predictor.load(Run(Path(model[0])))


def predictor_of(run: Run) -> Predictor:
    """Return the predictor of a run's newest checkpoint, loaded once for all visitors."""
    return _predictor(model_of(run))


def classes_of_run(run: Run) -> tuple[str, ...]:
    """Return the classes that a run knows, in the order of its label numbers; nothing where it does not say."""
    try:
        return classes_of(run)
    except PMSIError:  # an old run that is still in training, or a damaged record
        return tuple(predictor_of(run).classes) if has_model(run) else ()


@st.cache_data(show_spinner=False, max_entries=512)
def _predict(_predictor: Predictor, _prepared: Image.Image, model: Model, pixels: str) -> Prediction:
    return _predictor.predict(_prepared, top=len(_predictor.classes))


def predict_once(run: Run, prepared: Image.Image) -> Prediction:
    """Return the run's prediction for a prepared picture, computed once for all visitors."""
    return _predict(predictor_of(run), prepared, model_of(run), pixels_digest(prepared))


@st.cache_data(show_spinner=False, max_entries=512)
def _explain(
    _predictor: Predictor,
    _prepared: Image.Image,
    model: Model,
    pixels: str,
    head: str,
    label: int | None,
    method: str,
) -> Explanation:
    return _predictor.explain(_prepared, head=head, label=label, method=method)


def explain_once(run: Run, prepared: Image.Image, head: str, label: int | None, method: str = "gradcam") -> Explanation:
    """Return the run's maps for a prepared picture, computed once for all visitors."""
    return _explain(predictor_of(run), prepared, model_of(run), pixels_digest(prepared), head, label, method)


@st.cache_data(show_spinner="Trying how long this takes…", max_entries=512, ttl=3600)
def _cam_seconds(_predictor: Predictor, model: tuple[str, int], head: str, method: str) -> float:
    return _predictor.explain_seconds(head=head, method=method)


def cam_seconds_once(run: Run, head: str, method: str) -> float:
    """Return about how many seconds maps of one image take on this machine, tried once in an hour for all visitors."""
    return _cam_seconds(predictor_of(run), model_of(run), head, method)


@st.cache_data(show_spinner="Taking pixels away…", max_entries=64)
def _removal(
    _predictor: Predictor, _seen: Image.Image, _values: np.ndarray, key: str, head: str, label: int, *of: object
) -> dict[str, dict[str, Curve]]:
    return removal_curves(_predictor.model, np.asarray(_seen), _values, head=head, label=label, key=key)


def removal_once(
    run: Run, seen: Image.Image, key: str, explanation: Explanation, stage: str
) -> dict[str, dict[str, Curve]]:
    """Return the deletion and insertion curves of one map and of a random one, computed once for all visitors.

    ``key`` seeds the random map.
    """
    of = (model_of(run), pixels_digest(seen), stage, explanation.method)
    return _removal(predictor_of(run), seen, explanation.maps[stage], key, explanation.head, explanation.label, *of)


@st.cache_data(show_spinner=False, max_entries=4096)
def _disagreement(_pair: tuple[Predictor, Predictor], _dataset: Dataset, _sample: Sample, *of: object) -> Disagreement:
    return disagreement(*_pair, _dataset, _sample)


def disagreement_once(runs: tuple[Run, Run], dataset: Dataset, sample: Sample) -> Disagreement:
    """Return how far the maps of two runs are apart on a test image, computed once for all visitors."""
    pair = (predictor_of(runs[0]), predictor_of(runs[1]))
    about = (sample.key, dataset.classes[sample.label], digest_of(dataset, sample))
    return _disagreement(pair, dataset, sample, *map(model_of, runs), *about)
