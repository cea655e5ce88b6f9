"""What the runs of a sweep are shown: each image decoded, resized and cropped once, and perturbed once for each cell.

This module does not know how a perturbation draws, nor what the runs answer.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from pmsi.config import RobustnessConfig
from pmsi.data.loading import Plan, planned_loader
from pmsi.data.pixels import Pixels
from pmsi.data.preprocessing import centre_crop, to_tensor
from pmsi.files import to_json
from pmsi.perturbations import pixel_hash
from pmsi.robustness.cells import Cell
from pmsi.robustness.entrants import Entrant

Shown = tuple[Tensor, Sequence[str], Sequence[str]]
"""A batch: images (b, 3, h, w) uint8, and for each a hash of its pixels, and its factors as JSON."""


class _Perturbed(TorchDataset):
    """Items are asked for as (cell, index): the perturbed crop (3, h, w) uint8 of one image, its hash, its factors."""

    def __init__(self, pixels: Pixels, side: int, cells: Sequence[Cell], seed: int) -> None:
        self.source, self.side, self.cells, self.seed = pixels, side, cells, seed

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, str, str]:
        cell, index = item
        crop = centre_crop(self.source[index], self.side)
        pixels, factors = self.cells[cell].shown(crop, self.seed, self.source.samples[index].key)
        return to_tensor(pixels), pixel_hash(pixels), to_json(factors)


class View:
    """The runs that see images of one size, and the loader that makes these images for all of them."""

    def __init__(self, entrants: Sequence[Entrant], pixels: Pixels, cells: Sequence[Cell], config: RobustnessConfig):
        self.entrants, self.count, self.batch_size = entrants, len(pixels), config.batch_size
        self.batches = -(-self.count // self.batch_size)
        self._plan: Plan = []
        items = _Perturbed(pixels, entrants[0].config.image_size, cells, config.seed)
        self._loader = planned_loader(items, self._plan, config.workers, entrants[0].device)

    def batches_of(self, cell: int) -> Iterator[Shown]:
        """Yield what is shown in a cell, in the order of the test images."""
        items = [(cell, index) for index in range(self.count)]
        self._plan[:] = [items[start : start + self.batch_size] for start in range(0, self.count, self.batch_size)]
        yield from self._loader


def columns(factors: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the factors of several images by name: what one perturbation draws has the same names for each image."""
    return {name: [drawn[name] for drawn in factors] for name in (factors[0] if factors else ())}
