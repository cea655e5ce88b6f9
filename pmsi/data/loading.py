"""Batches of uint8 images: shuffled and cropped at random for training, in order and centre-cropped for testing.

Every draw is seeded by (seed, epoch, image), so batches depend neither on the number of workers nor on the batch from
which training is resumed. `pmsi.data.cache.pixels` provides the resized images.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pmsi.base.errors import ConfigError, Fix
from pmsi.config import TrainConfig
from pmsi.data.cache.pixels import Pixels
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.preprocessing import centre_crop, random_crop, to_tensor
from pmsi.data.sampling import sampler

Batch = tuple[Tensor, Tensor]
"""Images (b, 3, h, w) uint8 and labels (b,) int64."""

ItemBatches = list[list[tuple[int, int]]]
"""Batches of items for a torch Dataset, such as (epoch, index)."""

CPU = torch.device("cpu")


class _Crops(TorchDataset):
    """Cropped images and their labels, indexed by (epoch, index); ``crop`` is (pixels, epoch, key) → pixels."""

    def __init__(self, pixels: Pixels, crop: Callable[[np.ndarray, int, str], np.ndarray]) -> None:
        self.pixels, self.crop = pixels, crop

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = item
        sample = self.pixels.samples[index]
        return to_tensor(self.crop(self.pixels[index], epoch, sample.key)), sample.label


def check_batch(dataset: Dataset, config: TrainConfig) -> None:
    """Raise ConfigError if a data set has fewer training images than a batch."""
    if (count := len(dataset.train)) < config.batch_size:
        least = max(2, count // config.devices * config.devices)
        raise ConfigError(
            f"batch_size = {config.batch_size}, but there are only {count} training images. Lower it to {least}.",
            fixes=[Fix(f"Take {least}", {"batch_size": least})],
        )


class TrainLoader:
    """The training batches of any epoch, from any batch on.

    The last, incomplete batch of an epoch is left out (Algorithm 1 runs over D / batchSize batches); each epoch is
    shuffled anew. With ``images_per_class``, a batch holds that many images of each of its classes
    (`pmsi.data.sampling`). ``share`` is the slice of each batch that this process reads, in distributed training.
    ``device`` is where the batches will go (`batch_loader`). Raises ConfigError if there are fewer images than a batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: TrainConfig,
        images_per_class: int | None = None,
        share: slice = slice(None),
        device: torch.device = CPU,
    ) -> None:
        self.config, self.share = config, share
        self.count = len(dataset.train)
        self.batches = self.count // config.batch_size
        check_batch(dataset, config)
        labels = [sample.label for sample in dataset.train]
        self._sampler = sampler(labels, dataset.classes, config.batch_size, images_per_class)
        self._items: ItemBatches = []
        pixels = Pixels(dataset, dataset.train, config.resize_to)
        self._loader = batch_loader(_Crops(pixels, self._crop), self._items, config.workers, device)

    def _crop(self, pixels: np.ndarray, epoch: int, key: str) -> np.ndarray:
        return random_crop(pixels, self.config.image_size, self.config.flip, self.config.seed, epoch, key)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches ``first``, ``first`` + 1, … of an epoch (both count from 0)."""
        batches = self._sampler(self.config.seed, epoch)
        self._items[:] = [[(epoch, index) for index in batch[self.share]] for batch in batches[first:]]
        yield from self._loader


class EvaluationLoader:
    """The images of a list of samples in order, resized and centre-cropped; the batches will go to ``device``."""

    def __init__(
        self,
        dataset: Dataset,
        samples: Sequence[Sample],
        config: TrainConfig,
        batch_size: int,
        workers: int = 0,
        device: torch.device = CPU,
    ) -> None:
        self.samples = samples
        self.batches = -(-len(samples) // batch_size)
        pixels = Pixels(dataset, samples, config.resize_to)
        indices = [(0, index) for index in range(len(samples))]
        items = [indices[start : start + batch_size] for start in range(0, len(indices), batch_size)]
        crops = _Crops(pixels, lambda image, _epoch, _key: centre_crop(image, config.image_size))
        self._loader = batch_loader(crops, items, workers, device)

    def __iter__(self) -> Iterator[Batch]:
        yield from self._loader


def batch_loader(dataset: TorchDataset, items: ItemBatches, workers: int, device: torch.device = CPU) -> DataLoader:
    """Return torch's loader of batches of items; ``items`` may change between passes.

    Batches for a GPU are in pinned memory, so that they are copied while it computes. ``device`` decides, not the
    presence of a GPU: for a run on the CPU, pinning would take time and use a GPU of others.
    """
    options: dict[str, Any] = {"multiprocessing_context": "fork", "persistent_workers": True} if workers else {}
    return DataLoader(
        dataset,
        batch_sampler=items,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),  # else the loader would draw from the global one
        pin_memory=device.type == "cuda",
        worker_init_fn=_ignore_interrupts,
        **options,
    )


def _ignore_interrupts(worker: int) -> None:
    """Ignore Ctrl-C, which reaches every process of a terminal: only the parent handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
