"""The trained models of a sweep, and the test images that they have in common."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from pmsi.base.errors import ConfigError
from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset
from pmsi.engine.checkpoint import load_model
from pmsi.engine.device import prepare_device
from pmsi.evaluation import while_checking
from pmsi.folding import folded
from pmsi.model import Recognizer
from pmsi.runs import Run

SAME = ("dataset", "data", "test_fraction", "split", "test_on", "split_seed", "test_per_class")
"""Settings that decide which test images a run is judged by; those of the runs of a sweep agree."""

FORMAT = "predictions-3"
"""Of the files of predictions: a sweep that is resumed makes those of another format again, a finished one is read as
it is. 2 has the drawn factors; since 3, models are folded otherwise, which can turn an answer that is nearly a tie."""


@dataclass(frozen=True)
class SweptModel:
    """A model of a sweep: its run's id, its network in eval mode, its config, and the names of its classes."""

    id: str
    network: Recognizer
    config: TrainConfig
    classes: tuple[str, ...]

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
    return tuple(SweptModel(of.id, *load_model(of, device)) for of in dict.fromkeys(runs))


def open_shared(config: RobustnessConfig, models: Sequence[SweptModel], run: Run) -> Dataset:
    """Return the data set that all models were trained on, or raise ConfigError that says where they differ."""
    first, *others = [_judged(model.config, config) for model in models]
    for model, other in zip(models[1:], others, strict=True):
        for name in SAME:
            if getattr(first, name) != getattr(other, name):
                raise ConfigError(
                    f"Runs {models[0].id} and {model.id} have other test images: {name} = {getattr(first, name)!r} "
                    f"in the one, {getattr(other, name)!r} in the other. Name runs that agree in it."
                )
    dataset = open_dataset(first, while_checking(run))
    for model in models:
        if model.classes != dataset.classes:
            raise ConfigError(
                f"The {len(model.classes)} classes of run {model.id} are not the {len(dataset.classes)} of "
                f"{dataset.name} now. Name runs with the same classes, or bring the data back as it was."
            )
    return dataset


def _judged(trained: TrainConfig, config: RobustnessConfig) -> TrainConfig:
    """Return a run's config with the sweep's limit on test images, and its folder as one that can be compared."""
    folder = trained.data and str(Path(trained.data).expanduser().absolute())
    return replace(trained, data=folder, test_per_class=config.test_per_class or trained.test_per_class)


def identity(models: Sequence[SweptModel], keys: Sequence[str]) -> str:
    """Return what a cell depends on beside itself: which images, and every number of every model."""
    digest = hashlib.blake2b(repr((FORMAT, keys, [(e.id, e.view) for e in models])).encode(), digest_size=8)
    for model in models:
        for value in model.network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
