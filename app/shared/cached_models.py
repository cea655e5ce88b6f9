"""Cached models and their predictions and maps, by the run's checkpoint and the digest of the image's pixels."""

from collections.abc import Hashable
from functools import partial

import numpy as np
from PIL import Image

from app.shared.background import BACKGROUND
from app.shared.memory import KEPT, budget, once, replace
from app.shared.session import choice
from app.shared.work import LONG, SHORT, stop_if_gone
from pmsi.base.errors import PMSIError
from pmsi.base.files import Stamp, stamp
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest
from pmsi.data.record import digest_of
from pmsi.explain.adapter import between_passes
from pmsi.explain.measures.deletion import Curve, removal_curves
from pmsi.explain.measures.disagreement import Disagreement
from pmsi.explain.methods import CAM_METHODS
from pmsi.graph.engine import may_have_graph
from pmsi.maps import disagreement
from pmsi.predictor import Explanation, Prediction, Predictor
from pmsi.runs import Run
from pmsi.runs.calibration import FILE
from pmsi.runs.record import classes_of
from pmsi.runs.run import CHECKPOINT

Model = tuple[str, Stamp, Stamp]
"""A run's folder and the stamps of its checkpoint and of its calibration."""


def model_of(run: Run) -> Model:
    """Return what is another value as soon as the run's checkpoint or calibration is another."""
    return str(run.folder), stamp(run.folder / "checkpoints" / CHECKPOINT), stamp(run.folder / FILE)


def has_model(run: Run) -> bool:
    """Return whether a run has a checkpoint."""
    return any(model_of(run)[1])


def predictor_of(run: Run) -> Predictor:
    """Return the predictor of a run's newest checkpoint, loaded once for all visitors.

    It answers at once, by torch where it must; the graph by which it answers sooner is made meanwhile.
    """
    key = ("model", model_of(run))
    predictor = once(key, lambda: _loaded(run), line=LONG, doing="Loading the model…", size=_size_of_model)
    if predictor.graph is None and _bytes_of(predictor) >= WORTH and may_have_graph(predictor.model):
        BACKGROUND.ask(("graph", key), ["pmsi.graph", str(run.folder)], partial(_answer_by_graph, run, key))
    return predictor


def _loaded(run: Run) -> Predictor:
    """Return a run's predictor, with its graph where two such models are kept beside each other."""
    predictor = Predictor.load(run)
    if 2 * _size_of_model(predictor) > KEPT * budget():
        predictor.graph = None
    return predictor


WORTH = 4_000_000
"""Bytes of weights from which on a graph is made: smaller networks answer in some milliseconds anyway."""

GRAPH_TAKES = 6
"""Bytes in memory for each byte of a graph: what was read, and two sessions with their own form of the weights."""


def _answer_by_graph(run: Run, key: Hashable) -> None:
    """Put a predictor with a graph in the place of the one without."""
    predictor = _loaded(run)
    if predictor.graph is not None:
        predictor.graph.open("answer", "explain")
        replace(key, predictor, _size_of_model)


def _bytes_of(predictor: Predictor) -> int:
    tensors = (*predictor.model.parameters(), *predictor.model.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _size_of_model(predictor: Predictor) -> int:
    return _bytes_of(predictor) + (GRAPH_TAKES * predictor.graph.size if predictor.graph else 0)


def classes_of_run(run: Run) -> tuple[str, ...]:
    """Return the classes that a run knows, in the order of its label numbers; nothing where it does not say."""
    try:
        return classes_of(run)
    except PMSIError:  # an old run that is still in training, or a damaged record
        return tuple(predictor_of(run).classes) if has_model(run) else ()


RAW = "raw"
"""The name of the visitor's choice to see probabilities as the network gives them."""


def raw_wanted() -> bool:
    """Return whether the visitor wants probabilities without temperatures."""
    return choice(RAW) == "1"


def _shown(run: Run) -> Predictor:
    return predictor_of(run).raw() if raw_wanted() else predictor_of(run)


def predict_once(run: Run, prepared: Image.Image) -> Prediction:
    """Return the run's prediction for a prepared picture, computed once for all visitors."""
    predictor, key = _shown(run), ("predict", model_of(run), raw_wanted(), pixels_digest(prepared))
    return once(key, lambda: predictor.predict(prepared, top=len(predictor.classes)))


def explain_once(
    run: Run,
    prepared: Image.Image,
    head: str,
    label: int | None,
    method: str = "gradcam",
    rival: int | str | None = None,
) -> Explanation:
    """Return the run's maps for a prepared picture, computed once for all visitors."""
    predictor = _shown(run)
    key = ("explain", model_of(run), raw_wanted(), pixels_digest(prepared), head, label, method, rival)
    line = SHORT if CAM_METHODS[method].package is None else LONG

    def explain() -> Explanation:
        with between_passes(stop_if_gone):
            return predictor.explain(prepared, head=head, label=label, method=method, rival=rival)

    return once(key, explain, line=line)


def cam_seconds_once(run: Run, head: str, method: str) -> float:
    """Return about how many seconds maps of one image take on this machine, tried once in an hour for all visitors."""
    predictor, key = predictor_of(run), ("seconds", model_of(run), head, method)
    made = lambda: predictor.explain_seconds(head=head, method=method)  # noqa: E731
    return once(key, made, line=LONG, doing="Trying how long this takes…", ttl=3600)


def removal_once(
    run: Run, seen: Image.Image, key: str, explanation: Explanation, stage: str
) -> dict[str, dict[str, Curve]]:
    """Return the deletion and insertion curves of one map and of a random one, computed once for all visitors.

    ``key`` seeds the random map.
    """
    model, head, label = predictor_of(run).model, explanation.head, explanation.label
    about = ("removal", model_of(run), pixels_digest(seen), stage, explanation.method, key, head, label)
    values = explanation.maps[stage]
    made = lambda: removal_curves(model, np.asarray(seen), values, head=head, label=label, key=key)  # noqa: E731
    return once(about, made, line=LONG, doing="Taking pixels away…")


def disagreement_once(runs: tuple[Run, Run], dataset: Dataset, sample: Sample) -> Disagreement:
    """Return how far the maps of two runs are apart on a test image, computed once for all visitors."""
    pair = (predictor_of(runs[0]), predictor_of(runs[1]))
    about = (sample.key, dataset.classes[sample.label], digest_of(dataset, sample))
    return once(("apart", *map(model_of, runs), *about), lambda: disagreement(*pair, dataset, sample))
