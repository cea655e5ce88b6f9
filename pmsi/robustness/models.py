"""The trained models of a sweep, and their common test images."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset
from pmsi.data.preprocessing import normalize
from pmsi.data.record import ImageRecord
from pmsi.engine.checkpoint import load_model
from pmsi.engine.device import prepare_device
from pmsi.engine.folding import folded
from pmsi.evaluation import check_file_classes, check_same_data, checking_progress
from pmsi.graph import is_model_file
from pmsi.graph.about import config_of
from pmsi.graph.engine import graph_of, open_file
from pmsi.model import Recognizer
from pmsi.runs import Run
from pmsi.runs.calibration import Calibration, parsed
from pmsi.uncertainty.temperature import calibration_for

if TYPE_CHECKING:
    from pmsi.graph.onnx_model import OnnxModel

Logits = dict[str, np.ndarray]
"""Logits (b, classes) by head."""

FORMAT = "predictions-6"
"""Format of predictions files. Resuming a sweep repeats cells in another format; finished sweeps of any format are
read. 2 added the drawn factors, 6 what calibration needs; 3 to 5 changed how models are computed, which can change a
prediction near a tie."""


@dataclass(frozen=True)
class SweptModel:
    """A model of a sweep: a run's network in eval mode, or an exported file's graph; where both, the graph answers.

    ``id`` is that of its run, or the file's name; ``classes`` are the names of its classes.
    """

    id: str
    config: TrainConfig
    classes: tuple[str, ...]
    heads: tuple[str, ...]
    primary: str
    run: Run | None = None
    network: Recognizer | None = None
    graph: "OnnxModel | None" = None
    calibration: Calibration | None = None

    @classmethod
    def of_run(cls, run: Run, device: torch.device) -> "SweptModel":
        """Return the model of a run's last checkpoint."""
        network, config, classes = load_model(run, device)
        calibration = calibration_for(run, network)
        return cls(run.id, config, classes, network.heads, network.primary, run, network, calibration=calibration)

    @classmethod
    def of_file(cls, path: Path) -> "SweptModel":
        """Return the model of an exported file; raises ExportError."""
        graph = open_file(path, threads=1)
        config = config_of(graph)
        calibration = parsed(graph.about.get("calibration"))
        return cls(path.name, config, graph.classes, graph.heads, graph.primary, graph=graph, calibration=calibration)

    @property
    def sides(self) -> tuple[int, int]:
        """The sides in pixels of the resized image and of its crop; models with equal sides share their images."""
        return self.config.resize_to, self.config.image_size

    @property
    def temperatures(self) -> dict[str, float]:
        """The temperatures of its outputs; empty where it has none."""
        return dict(self.calibration.temperatures) if self.calibration else {}

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device if self.network else torch.device("cpu")

    @cached_property
    def logits(self) -> Callable[[Tensor], Logits]:
        """What computes logits of images (b, 3, side, side) uint8: the graph, or else the network's folded copy."""
        if self.graph is not None:
            return partial(_by_graph, self.graph)
        assert self.network is not None
        return partial(_by_network, folded(self.network))


def _by_graph(graph: "OnnxModel", images: Tensor) -> Logits:
    return dict(zip(graph.heads, graph.answer(images.cpu().numpy()).transpose(1, 0, 2), strict=True))


@torch.inference_mode()
def _by_network(network: Recognizer, images: Tensor) -> Logits:
    images = images.to(next(network.parameters()).device, non_blocking=True)
    return {head: logits.float().cpu().numpy() for head, logits in network(normalize(images)).items()}


def accelerated(models: Sequence[SweptModel], images: int) -> tuple[SweptModel, ...]:
    """Return the models of a sweep, each with a graph for ONNX Runtime if that will save time and can be made.

    ``images`` is the number of images that each of them will see.
    """
    return tuple(
        replace(model, graph=graph_of(model.network, model.sides, images, threads=1)) if model.network else model
        for model in models
    )


def load_models(config: RobustnessConfig, root: Path) -> tuple[SweptModel, ...]:
    """Return the models of a sweep, each once: of runs in ``root``, on the sweep's device, and of exported files."""
    device = prepare_device(config)
    return tuple(
        SweptModel.of_file(Path(id)) if is_model_file(id) else SweptModel.of_run(Run.open(root, id), device)
        for id in dict.fromkeys(config.of)
    )


def open_shared(
    config: RobustnessConfig, models: Sequence[SweptModel], run: Run
) -> tuple[Dataset, dict[str, list[str]]]:
    """Return the data set of the first run, with the sweep's limit on test images, and by model how it differs from
    what that was trained on, in words. Without a run it is that of the first file, in the folder ``config.data``.

    Raises DataError if its labels mean other classes for one of the models, or, unless ``config.insist``, if a model
    was trained on some of its test images.
    """
    first = next((model for model in models if model.run), models[0])
    where = first.config if first.run else first.config.with_(data=config.data)
    dataset = open_dataset(
        replace(where, test_per_class=config.test_per_class or where.test_per_class), checking_progress(run)
    )
    return dataset, {model.id: _differs(model, dataset, config) for model in models}


def _differs(model: SweptModel, dataset: Dataset, config: RobustnessConfig) -> list[str]:
    if model.run is None:
        check_file_classes(model.id, model.classes, dataset)
        return [f"{model.id} does not say on which images it was trained: check that these are not among them."]
    return check_same_data(model.run, dataset, model.classes, config.insist, config.test_per_class is not None)


def identity(models: Sequence[SweptModel], images: Sequence[ImageRecord]) -> str:
    """Return a digest of what every cell depends on: the format, the images' pixels, all parameters of all models."""
    about = repr(
        (
            FORMAT,
            [*map(tuple, images)],
            [(model.id, model.sides, model.graph is not None, model.temperatures) for model in models],
        )
    )
    digest = hashlib.blake2b(about.encode(), digest_size=8)
    for model in models:
        if model.network is None and model.graph is not None:
            digest.update(model.graph.digest)
            continue
        assert model.network is not None
        for value in model.network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
