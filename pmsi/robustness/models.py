"""The trained models of a sweep, and their common test images."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from pmsi.config import RobustnessConfig, TrainConfig
from pmsi.data import open_dataset
from pmsi.data.dataset import Dataset
from pmsi.data.record import ImageRecord
from pmsi.engine.checkpoint import load_model
from pmsi.engine.device import prepare_device
from pmsi.engine.folding import folded
from pmsi.evaluation import check_same_data, checking_progress
from pmsi.model import Recognizer
from pmsi.runs import Run

FORMAT = "predictions-4"
"""Format of predictions files. Resuming a sweep repeats cells in another format; finished sweeps of any format are
read. 2 added the drawn factors; 3 and 4 changed how models are folded, which can change a prediction near a tie."""


@dataclass(frozen=True)
class SweptModel:
    """A model of a sweep: its run, its network in eval mode, its config, and the names of its classes."""

    run: Run
    network: Recognizer
    config: TrainConfig
    classes: tuple[str, ...]

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
    def folded(self) -> Recognizer:
        """A faster copy of the network with the same outputs, up to rounding."""
        return folded(self.network)


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
    about = repr((FORMAT, [*map(tuple, images)], [(model.id, model.sides) for model in models]))
    digest = hashlib.blake2b(about.encode(), digest_size=8)
    for model in models:
        for value in model.network.state_dict().values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
