"""The trained models of a sweep, and their common test images."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pmsi.base.errors import ExportError
from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset
from pmsi.data.preprocessing import normalize
from pmsi.data.record import ImageRecord
from pmsi.engine.checkpoint import load_model
from pmsi.engine.device import prepare_device
from pmsi.engine.folding import folded
from pmsi.evaluation import check_same_data, checking_progress
from pmsi.model import Recognizer
from pmsi.runs import Run

if TYPE_CHECKING:
    from pmsi.graph.onnx_model import OnnxModel

Labels = dict[str, list[int]]
"""The predicted label of each image, by head."""

FORMAT = "predictions-5"
"""Format of predictions files. Resuming a sweep repeats cells in another format; finished sweeps of any format are
read. 2 added the drawn factors; 3 to 5 changed how models are computed, which can change a prediction near a tie."""


@dataclass(frozen=True)
class SweptModel:
    """A model of a sweep: its run, its network in eval mode, its config, and the names of its classes."""

    run: Run
    network: Recognizer
    config: TrainConfig
    classes: tuple[str, ...]
    graph: "OnnxModel | None" = None

    @property
    def id(self) -> str:
        """The id of its run."""
        return self.run.id

    @property
    def sides(self) -> tuple[int, int]:
        """The sides in pixels of the resized image and of its crop; models with equal sides share their images."""
        return self.config.resize_to, self.config.image_size

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    @cached_property
    def labels(self) -> Callable[[Tensor], Labels]:
        """What predicts labels of images (b, 3, side, side) uint8: the network's graph, or else its folded copy."""
        return partial(_by_graph, self.graph) if self.graph else partial(_by_network, folded(self.network))


def _by_graph(graph: "OnnxModel", images: Tensor) -> Labels:
    found = graph.answer(images.numpy()).argmax(axis=2).T
    return dict(zip(graph.heads, found.tolist(), strict=True))


@torch.inference_mode()
def _by_network(network: Recognizer, images: Tensor) -> Labels:
    images = images.to(next(network.parameters()).device, non_blocking=True)
    return {head: logits.argmax(dim=1).tolist() for head, logits in network(normalize(images)).items()}


LONG = 500_000_000
"""Pixels that a model has to look at on a CPU for a graph to be worth the ten seconds that it takes to make."""


def accelerated(models: Sequence[SweptModel], images: int) -> tuple[SweptModel, ...]:
    """Return the models of a sweep, each with a graph for ONNX Runtime if that will save time and can be made.

    ``images`` is the number of images that each of them will see. A graph is used only if its answers have been
    compared with the network's (`pmsi.graph.onnx_file.check`).
    """
    return tuple(replace(model, graph=_graph(model)) if _is_long(model, images) else model for model in models)


def _is_long(model: SweptModel, images: int) -> bool:
    return model.device.type == "cpu" and images * model.config.image_size**2 >= LONG


def _graph(model: SweptModel) -> "OnnxModel | None":
    try:
        from pmsi.graph.onnx_file import onnx_bytes  # optional packages
        from pmsi.graph.onnx_model import OnnxModel
    except ImportError:
        return None
    network, config = model.network, model.config
    about = {"classes": model.classes, "heads": network.heads, "primary": network.primary}
    sizes = {"resize": config.resize_to, "image_size": config.image_size}
    try:
        return OnnxModel(onnx_bytes(network, about | sizes), model.id, threads=1)
    except ExportError:
        return None


def load_models(config: RobustnessConfig, runs: Iterable[Run]) -> tuple[SweptModel, ...]:
    """Return the models of these runs, each once, on the sweep's device."""
    device = prepare_device(config)
    return tuple(SweptModel(of, *load_model(of, device)) for of in dict.fromkeys(runs))


def open_shared(
    config: RobustnessConfig, models: Sequence[SweptModel], run: Run
) -> tuple[Dataset, dict[str, list[str]]]:
    """Return the data set of the first model, with the sweep's limit on test images, and by run how it differs from
    what that run was trained on, in words.

    Raises DataError if its labels mean other classes for one of the models, or, unless ``config.insist``, if a model
    was trained on some of its test images.
    """
    first = models[0].config
    dataset = open_dataset(
        replace(first, test_per_class=config.test_per_class or first.test_per_class), checking_progress(run)
    )
    limited = config.test_per_class is not None
    return dataset, {
        model.id: check_same_data(model.run, dataset, model.classes, config.insist, limited) for model in models
    }


def identity(models: Sequence[SweptModel], images: Sequence[ImageRecord]) -> str:
    """Return a digest of what every cell depends on: the format, the images' pixels, all parameters of all models."""
    about = repr(
        (FORMAT, [*map(tuple, images)], [(model.id, model.sides, model.graph is not None) for model in models])
    )
    digest = hashlib.blake2b(about.encode(), digest_size=8)
    for model in models:
        for value in model.network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
