"""Models, and what they answer."""

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image

if TYPE_CHECKING:
    import numpy as np

    from pmsi.data.dataset import Dataset, Sample
    from pmsi.explain.measures.deletion import Curve
    from pmsi.explain.measures.disagreement import Disagreement
    from pmsi.predictor import Explanation, Prediction, Predictor
    from pmsi.runs import Run


@st.cache_resource(show_spinner="Loading the model…", max_entries=6)
def _predictor(folder: str, stamp: int) -> "Predictor":
    from pmsi.predictor import Predictor
    from pmsi.runs import Run

    return Predictor.load(Run(Path(folder)))


def stamp_of(run: "Run") -> int:
    """Return a number that changes with the run's checkpoint; 0 while there is none."""
    from pmsi.engine.checkpoint import CHECKPOINT

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


@st.cache_data(show_spinner=False, max_entries=512)
def _explain(
    _predictor: "Predictor",
    _prepared: Image.Image,
    model: tuple[str, int],
    picture: str,
    head: str,
    label: int | None,
    method: str,
) -> "Explanation":
    return _predictor.explain(_prepared, head=head, label=label, method=method)


def explain_once(
    run: "Run", prepared: Image.Image, picture: str, head: str, label: int | None, method: str = "gradcam"
) -> "Explanation":
    """Return the run's maps for a picture that ``picture`` names, computed once for all visitors."""
    model = (str(run.folder), stamp_of(run))
    return _explain(predictor_of(run), prepared, model, picture, head, label, method)


@st.cache_data(show_spinner="Trying how long this takes…", max_entries=512, ttl=3600)
def _cam_seconds(_predictor: "Predictor", model: tuple[str, int], head: str, method: str) -> float:
    return _predictor.explain_seconds(head=head, method=method)


def cam_seconds_once(run: "Run", head: str, method: str) -> float:
    """Return about how many seconds maps of one image take on this machine, tried once in an hour for all visitors."""
    return _cam_seconds(predictor_of(run), (str(run.folder), stamp_of(run)), head, method)


@st.cache_data(show_spinner="Taking pixels away…", max_entries=64)
def _removal(
    _predictor: "Predictor", _seen: Image.Image, _values: "np.ndarray", key: str, head: str, label: int, *of: object
) -> "dict[str, dict[str, Curve]]":
    import numpy as np

    from pmsi.explain.measures.deletion import removal_curves

    return removal_curves(_predictor.model, np.asarray(_seen), _values, head=head, label=label, key=key)


def removal_once(
    run: "Run", seen: Image.Image, picture: str, explanation: "Explanation", stage: str
) -> "dict[str, dict[str, Curve]]":
    """Return the deletion and insertion curves of one map and of a random one, computed once for all visitors."""
    about = (str(run.folder), stamp_of(run), stage, explanation.method)
    values = explanation.maps[stage]
    return _removal(predictor_of(run), seen, values, picture, explanation.head, explanation.label, *about)


@st.cache_data(show_spinner=False, max_entries=4096)
def _disagreement(
    _pair: "tuple[Predictor, Predictor]", _dataset: "Dataset", _sample: "Sample", key: str, *of: object
) -> "Disagreement":
    from pmsi.maps import disagreement

    return disagreement(*_pair, _dataset, _sample)


def disagreement_once(runs: "tuple[Run, Run]", dataset: "Dataset", place: str, sample: "Sample") -> "Disagreement":
    """Return how far the maps of two runs are apart on a test image, computed once for all visitors."""
    models = [word for run in runs for word in (str(run.folder), stamp_of(run))]
    pair = (predictor_of(runs[0]), predictor_of(runs[1]))
    return _disagreement(pair, dataset, sample, sample.key, *models, place)
