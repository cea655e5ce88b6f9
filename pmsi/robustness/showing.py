"""The loader of a sweep: each image decoded, resized and cropped once, and perturbed once for each cell.

On a CPU each image is perturbed as it is loaded. On a GPU the loader leaves to it what it can do to a whole batch, the
same to the last bit, and the pixels come back to be hashed while it goes on.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from pmsi.config import RobustnessConfig
from pmsi.data.loading import Plan, planned_loader
from pmsi.data.pixels import Pixels
from pmsi.data.preprocessing import centre_crop, to_tensor
from pmsi.files import to_json
from pmsi.perturbations import Factors, draw, pixel_hash
from pmsi.perturbations.batched import BATCHED, BatchForm
from pmsi.robustness.cells import Cell
from pmsi.robustness.entrants import SweptModel

HASHERS = 4
"""Threads that hash pixels which come back from a GPU: hashing lets go of Python's lock."""

Item = tuple[Tensor, str, str, Tensor]
"""What is loaded of an image: its pixels (3, h, w) uint8, their hash, its factors as JSON, its noise. Pixels that are
still to be perturbed have no hash, those that already are have no noise."""


@dataclass(frozen=True)
class ImageBatch:
    """A batch: images (b, 3, h, w) uint8 where the models are, the factors of each, and what waits for their hashes."""

    images: Tensor
    factors: Sequence[dict[str, Any]]
    hashes: Callable[[], Sequence[str]]


def batch_forms(device: torch.device) -> Mapping[str, BatchForm]:
    """Return the perturbations that are done to whole batches on a device: none on a CPU, where that takes longer."""
    return BATCHED if device.type == "cuda" else {}


class View:
    """The runs that see images of one size, and the loader that makes these images for all of them."""

    def __init__(self, models: Sequence[SweptModel], pixels: Pixels, cells: Sequence[Cell], config: RobustnessConfig):
        self.models, self.count, self.batch_size = models, len(pixels), config.batch_size
        self.batches = -(-self.count // self.batch_size)
        self.device, self.cells = models[0].device, cells
        self._forms = batch_forms(self.device)
        self._plan: Plan = []
        items = _Loaded(pixels, models[0].config.image_size, cells, config.seed, self._forms)
        self._loader = planned_loader(items, self._plan, config.workers, self.device)

    def batches_of(self, number: int, hashing: ThreadPoolExecutor) -> Iterator[ImageBatch]:
        """Yield what is shown in a cell, in the order of the test images; where it is made here, others hash it."""
        items = [(number, index) for index in range(self.count)]
        self._plan[:] = [items[start : start + self.batch_size] for start in range(0, self.count, self.batch_size)]
        cell = self.cells[number]
        form = _form(cell, self._forms)
        for loaded, hashes, written, noise in self._loader:
            images, factors = loaded.to(self.device, non_blocking=True), [json.loads(text) for text in written]
            if form is None:
                yield ImageBatch(images, factors, partial(list, hashes))
            else:
                images = form.apply(images, cell.severity, factors, noise.to(self.device, non_blocking=True))
                yield ImageBatch(images, factors, hashed(images, hashing))


class _Loaded(TorchDataset[Item]):
    """Items are asked for as (cell, index): one image, perturbed unless one of the ``forms`` will do it."""

    def __init__(
        self, pixels: Pixels, side: int, cells: Sequence[Cell], seed: int, forms: Mapping[str, BatchForm]
    ) -> None:
        self.source, self.side, self.cells, self.seed, self.forms = pixels, side, cells, seed, forms

    def __getitem__(self, item: tuple[int, int]) -> Item:
        number, index = item
        cell, key = self.cells[number], self.source.samples[index].key
        crop = centre_crop(self.source[index], self.side)
        form = _form(cell, self.forms)
        if form is None:
            pixels, factors = cell.apply(crop, self.seed, key)
            return to_tensor(pixels), pixel_hash(pixels), to_json(factors), torch.empty(0)
        factors = draw(form.name, cell.severity, crop.shape[1::-1], seed=self.seed, key=key)
        return to_tensor(crop), "", to_json(factors), torch.from_numpy(form.noise(factors, crop.shape[:2]))


def _form(cell: Cell, forms: Mapping[str, BatchForm]) -> BatchForm | None:
    return None if cell.perturbation is None else forms.get(cell.perturbation)


def hashed(images: Tensor, pool: ThreadPoolExecutor) -> Callable[[], list[str]]:
    """Have the pixels of (b, 3, h, w) hashed by the threads of ``pool``; what is returned waits for the hashes.

    From a GPU the copy is only asked for, into pinned memory: the threads wait for it, not who calls this.
    """
    pixels = images.permute(0, 2, 3, 1).contiguous().to("cpu", non_blocking=True)
    wait = _end_of_copy(images.device)
    coming = [pool.submit(_hash, each, wait) for each in pixels]
    return lambda: [future.result() for future in coming]


def _end_of_copy(device: torch.device) -> Callable[[], None]:
    """Return what waits for all that was asked of a device until now."""
    if device.type == "cpu":
        return lambda: None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event.synchronize


def _hash(pixels: Tensor, wait: Callable[[], None]) -> str:
    wait()
    return pixel_hash(pixels.numpy())


def columns(factors: Sequence[Factors]) -> dict[str, list[Any]]:
    """Return the factors of several images by name: what one perturbation draws has the same names for each image."""
    return {name: [drawn[name] for drawn in factors] for name in (factors[0] if factors else ())}
