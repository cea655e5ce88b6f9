"""Batches of uint8 images: shuffled and cropped at random for training, in order and centre-cropped for testing.

Every draw is seeded by (seed, epoch, image), so that the same batches come whatever the number of workers and from
whatever batch training is resumed. Images are decoded and resized once and kept, as far as memory allows.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.preprocessing import centre_crop, random_crop, resize, to_tensor
from pmsi.errors import ConfigError
from pmsi.seeding import numpy_generator

KEPT_BYTES = 2**30
"""Resized images kept in memory for each list of samples, training and test, by each process that reads: 1 GiB holds
1,365 of the paper's 512 × 512, or 5,461 of 256 × 256."""

Batch = tuple[Tensor, Tensor]
"""Images (b, 3, h, w) uint8 and labels (b,) int64."""


Plan = list[list[tuple[int, int]]]
"""Batches as lists of items; what an item means is the dataset's affair."""


class Pixels:
    """The resized images (side, side, 3) uint8 of a list of samples, each decoded once as long as memory allows."""

    def __init__(self, dataset: Dataset, samples: Sequence[Sample], side: int) -> None:
        self.dataset, self.samples, self.side = dataset, samples, side
        self._kept: dict[int, np.ndarray] = {}
        self._room = KEPT_BYTES // (side * side * 3)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> np.ndarray:
        if index in self._kept:
            return self._kept[index]
        pixels = resize(self.dataset.open_image(self.samples[index]), self.side)
        if len(self._kept) < self._room:
            self._kept[index] = pixels
        return pixels


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
    of each of its classes (`pmsi.data.sampling`).
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, images_per_class: int | None = None) -> None:
        self.config = config
        self.count = len(dataset.train)
        self.batches = self.count // config.batch_size
        if self.batches == 0:
            raise ConfigError(
                f"batch_size = {config.batch_size}, but there are only {self.count} training images. "
                f"Lower it to {self.count} or less."
            )
        self._plan: Plan = []
        pixels = Pixels(dataset, dataset.train, config.resize_to)
        self._loader = planned_loader(_Crops(pixels, self._crop), self._plan, config.workers)

    def _crop(self, pixels: np.ndarray, epoch: int, key: str) -> np.ndarray:
        return random_crop(pixels, self.config.image_size, self.config.flip, self.config.seed, epoch, key)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches ``first``, ``first`` + 1, … of an epoch (both count from 0)."""
        order = numpy_generator("shuffle", self.config.seed, epoch).permutation(self.count).tolist()
        b = self.config.batch_size
        self._plan[:] = [
            [(epoch, index) for index in order[start * b : (start + 1) * b]] for start in range(first, self.batches)
        ]
        yield from self._loader


class EvaluationLoader:
    """The images of a list of samples in order, resized and centre-cropped."""

    def __init__(
        self, dataset: Dataset, samples: Sequence[Sample], config: TrainConfig, batch_size: int, workers: int = 0
    ) -> None:
        self.samples = samples
        self.batches = -(-len(samples) // batch_size)
        pixels = Pixels(dataset, samples, config.resize_to)
        items = [(0, index) for index in range(len(samples))]
        plan = [items[start : start + batch_size] for start in range(0, len(items), batch_size)]
        self._loader = planned_loader(
            _Crops(pixels, lambda image, epoch, key: centre_crop(image, config.image_size)), plan, workers
        )

    def __iter__(self) -> Iterator[Batch]:
        yield from self._loader


def planned_loader(items: TorchDataset, plan: Plan, workers: int) -> DataLoader:
    """Return torch's loader over a plan of batches, read anew at each pass; its own generator spares the global one."""
    options: dict[str, Any] = {"multiprocessing_context": "fork", "persistent_workers": True} if workers else {}
    return DataLoader(
        items,
        batch_sampler=plan,
        num_workers=workers,
        generator=torch.Generator().manual_seed(0),
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_interrupts_to_the_parent,
        **options,
    )


def _leave_interrupts_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal: only the one that computes shall answer it, and come to a stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
