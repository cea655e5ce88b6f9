"""The trained models of a sweep, and their common test images."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset
from pmsi.engine.checkpoint import load_model
from pmsi.engine.device import prepare_device
from pmsi.engine.folding import folded
from pmsi.evaluation import check_same_data, while_checking
from pmsi.model import Recognizer
from pmsi.runs import Run

FORMAT = "predictions-4"
"""Format of predictions files. Resuming a sweep repeats cells in another format; finished sweeps of any format are
read. 2 added the drawn factors; 3 and 4 changed how models are folded, which can change a prediction near a tie."""


@dataclass(frozen=True)
class SweptModel:
    """A model of a sweep: its run's id, its network in eval mode, its config, and the names of its classes."""

    id: str
    network: Recognizer
    config: TrainConfig
    classes: tuple[str, ...]

    @property
    def sides(self) -> tuple[int, int]:
        """The sides in pixels of the resized image and of its crop; models with equal sides share their images."""
        return self.config.resize_to, self.config.image_size

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    @cached_property
    def folded(self) -> Recognizer:
        """A faster copy of the network with the same outputs, up to rounding."""
        return folded(self.network)


def load_models(config: RobustnessConfig, runs: Iterable[Run]) -> tuple[SweptModel, ...]:
    """Return the models of these runs, each once, on the sweep's device."""
    device = prepare_device(config)
    return tuple(SweptModel(of.id, *load_model(of, device)) for of in dict.fromkeys(runs))


def open_shared(config: RobustnessConfig, models: Sequence[SweptModel], run: Run) -> Dataset:
    """Return the data set of the first model, with the sweep's limit on test images.

    Raises DataError if its labels mean other classes for one of the models, or, unless ``config.insist``, if a model
    was trained on some of its test images.
    """
    first = models[0].config
    dataset = open_dataset(
        replace(first, test_per_class=config.test_per_class or first.test_per_class), while_checking(run)
    )
    for model in models:
        check_same_data(run.sibling(model.id), dataset, model.classes, config.insist)
    return dataset


def identity(models: Sequence[SweptModel], keys: Sequence[str]) -> str:
    """Return a digest of what every cell depends on: the format, the images, and all parameters of all models."""
    about = repr((FORMAT, keys, [(model.id, model.sides) for model in models]))
    digest = hashlib.blake2b(about.encode(), digest_size=8)
    for model in models:
        for value in model.network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
