"""The trained models of a sweep, and the test images that they have in common."""

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
from pmsi.evaluation import check_same_data, checking_progress
from pmsi.model import Recognizer
from pmsi.runs import Run

FORMAT = "predictions-4"
"""Of the files of predictions: a sweep that is resumed makes those of another format again, a finished one is read as
it is. 2 has the drawn factors; 3 and 4 fold models otherwise, which can turn an answer that is nearly a tie."""


@dataclass(frozen=True)
class SweptModel:
    """A model of a sweep: its run, its network in eval mode, its config, and the names of its classes."""

    run: Run
    network: Recognizer
    config: TrainConfig
    classes: tuple[str, ...]

    @property
    def id(self) -> str:
        """The run's id, by which a sweep's files name the model."""
        return self.run.id

    @property
    def view(self) -> tuple[int, int]:
        """The sides, in pixels, of the resized image and of its crop: runs that share them share pixels."""
        return self.config.resize_to, self.config.image_size

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.network.parameters()).device

    @cached_property
    def faster(self) -> Recognizer:
        """A copy of the model that answers alike, up to rounding, in less time."""
        return folded(self.network)


def models_of(config: RobustnessConfig, run: Run) -> tuple[SweptModel, ...]:
    """Return the runs that a sweep names, each once, with their models on the sweep's device."""
    return load_models(config, [run.sibling(id) for id in config.of])


def load_models(config: RobustnessConfig, runs: Iterable[Run]) -> tuple[SweptModel, ...]:
    """Return these runs, each once, with their models on the sweep's device."""
    device = prepare_device(config)
    return tuple(SweptModel(of, *load_model(of, device)) for of in dict.fromkeys(runs))


def open_shared(config: RobustnessConfig, models: Sequence[SweptModel], run: Run) -> Dataset:
    """Return the data set of the first model, with the sweep's limit on test images.

    Raises DataError where its labels mean other classes to a model, and, unless the config insists, where a model was
    trained on some of its test images.
    """
    first = models[0].config
    dataset = open_dataset(
        replace(first, test_per_class=config.test_per_class or first.test_per_class), checking_progress(run)
    )
    for model in models:
        check_same_data(model.run, dataset, model.classes, config.insist)
    return dataset


def identity(models: Sequence[SweptModel], keys: Sequence[str]) -> str:
    """Return what a cell depends on beside itself: which images, and every number of every model."""
    digest = hashlib.blake2b(repr((FORMAT, keys, [(e.id, e.view) for e in models])).encode(), digest_size=8)
    for model in models:
        for value in model.network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
