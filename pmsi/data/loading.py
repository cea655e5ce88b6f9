"""Batches of uint8 images: shuffled and cropped at random for training, in order and centre-cropped for testing.

Every draw is seeded by (seed, epoch, image), so that the same batches come whatever the number of workers and from
whatever batch training is resumed. Where the pixels come from is the affair of `pmsi.data.cache.pixels`.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pmsi.base.errors import ConfigError
from pmsi.config import TrainConfig
from pmsi.data.cache.pixels import Pixels
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.preprocessing import centre_crop, random_crop, to_tensor
from pmsi.data.sampling import sampler

Batch = tuple[Tensor, Tensor]
"""Images (b, 3, h, w) uint8 and labels (b,) int64."""


ItemBatches = list[list[tuple[int, int]]]
"""Batches as lists of items; what an item means is the dataset's affair."""

CPU = torch.device("cpu")


class _Crops(TorchDataset):
    """Items are asked for as (epoch, index); ``crop`` cuts the pixels of one."""

    def __init__(self, pixels: Pixels, crop: Callable[[np.ndarray, int, str], np.ndarray]) -> None:
        self.pixels, self.crop = pixels, crop

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, int]:
        epoch, index = item
        sample = self.pixels.samples[index]
        return to_tensor(self.crop(self.pixels[index], epoch, sample.key)), sample.label


class TrainLoader:
    """The training batches of any epoch, from any batch on.

    The last, incomplete batch of an epoch is left out (Algorithm 1 runs over D / batchSize batches); images are
    shuffled anew in each epoch, so none is left out always. With ``images_per_class``, a batch holds that many images
    of each of its classes (`pmsi.data.sampling`). ``share`` says which places of each batch are read here, where
    several processes train together. ``device`` is where the batches will go: see `batch_loader`.
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
        if self.batches == 0:
            raise ConfigError(
                f"batch_size = {config.batch_size}, but there are only {self.count} training images. "
                f"Lower it to {self.count} or less."
            )
        labels = [sample.label for sample in dataset.train]
        self._sampler = sampler(labels, dataset.classes, config.batch_size, images_per_class)
        self._plan: ItemBatches = []
        pixels = Pixels(dataset, dataset.train, config.resize_to)
        self._loader = batch_loader(_Crops(pixels, self._crop), self._plan, config.workers, device)

    def _crop(self, pixels: np.ndarray, epoch: int, key: str) -> np.ndarray:
        return random_crop(pixels, self.config.image_size, self.config.flip, self.config.seed, epoch, key)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches ``first``, ``first`` + 1, … of an epoch (both count from 0)."""
        batches = self._sampler(self.config.seed, epoch)
        self._plan[:] = [[(epoch, index) for index in batch[self.share]] for batch in batches[first:]]
        yield from self._loader


class EvaluationLoader:
    """The images of a list of samples in order, resized and centre-cropped; they will go to ``device``."""

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
        items = [(0, index) for index in range(len(samples))]
        plan = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
        self._loader = batch_loader(
            _Crops(pixels, lambda image, epoch, key: centre_crop(image, config.image_size)), plan, workers, device
        )

    def __iter__(self) -> Iterator[Batch]:
        yield from self._loader


def batch_loader(items: TorchDataset, plan: ItemBatches, workers: int, device: torch.device = CPU) -> DataLoader:
    """Return torch's loader over a plan of batches, read anew at each pass; its own generator spares the global one.

    Batches for a GPU lie in pinned memory, from where they are copied while it computes. A config's ``device`` decides,
    not the presence of a GPU: for a run on the CPU, pinning would cost time and touch the GPU that others use.
    """
    options: dict[str, Any] = {"multiprocessing_context": "fork", "persistent_workers": True} if workers else {}
    return DataLoader(
        items,
        batch_sampler=plan,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
        pin_memory=device.type == "cuda",
        worker_init_fn=_leave_interrupts_to_the_parent,
        **options,
    )


def _leave_interrupts_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal: only the one that computes shall answer it, and come to a stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
