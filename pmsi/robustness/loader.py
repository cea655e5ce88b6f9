"""The loader of a sweep: each image is decoded, resized and cropped once, and perturbed once per cell, for all runs."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from pmsi.base.files import to_json
from pmsi.config import RobustnessConfig
from pmsi.data.cache.pixels import Pixels
from pmsi.data.loading import ItemBatches, batch_loader
from pmsi.data.preprocessing import centre_crop, to_tensor
from pmsi.perturbations import Factors, pixel_hash
from pmsi.robustness.cells import Cell
from pmsi.robustness.models import SweptModel

Item = tuple[Tensor, str, str]
"""One loaded image: its perturbed pixels (3, h, w) uint8, their hash, and its factors as JSON."""


@dataclass(frozen=True)
class ImageBatch:
    """A batch: images (b, 3, h, w) uint8 on the models' device, and the factors and pixel hash of each."""

    images: Tensor
    factors: Sequence[dict[str, Any]]
    hashes: Sequence[str]


class ModelGroup:
    """The models with the same input size, and the loader of their images."""

    def __init__(self, models: Sequence[SweptModel], pixels: Pixels, cells: Sequence[Cell], config: RobustnessConfig):
        self.models, self.count, self.batch_size = models, len(pixels), config.batch_size
        self.batches = -(-self.count // self.batch_size)
        self.device = models[0].device
        self._items: ItemBatches = []
        loaded = _Loaded(pixels, models[0].config.image_size, cells, config.seed)
        self._loader = batch_loader(loaded, self._items, config.workers, self.device)

    def batches_of(self, number: int) -> Iterator[ImageBatch]:
        """Yield the batches of cell ``number``, in the order of the test images."""
        items = [(number, index) for index in range(self.count)]
        self._items[:] = [items[start : start + self.batch_size] for start in range(0, self.count, self.batch_size)]
        for images, hashes, written in self._loader:
            yield ImageBatch(images.to(self.device, non_blocking=True), [json.loads(text) for text in written], hashes)


class _Loaded(TorchDataset[Item]):
    """The perturbed images, indexed by (cell, image)."""

    def __init__(self, pixels: Pixels, side: int, cells: Sequence[Cell], seed: int) -> None:
        self.source, self.side, self.cells, self.seed = pixels, side, cells, seed

    def __getitem__(self, item: tuple[int, int]) -> Item:
        number, index = item
        key = self.source.samples[index].key
        pixels, factors = self.cells[number].apply(centre_crop(self.source[index], self.side), self.seed, key)
        return to_tensor(pixels), pixel_hash(pixels), to_json(factors)


def columns(factors: Sequence[Factors]) -> dict[str, list[Any]]:
    """Return the factors of several images of one perturbation by name."""
    return {name: [drawn[name] for drawn in factors] for name in (factors[0] if factors else ())}
