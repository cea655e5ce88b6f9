"""The numbers of one map of one image, beside those of maps that know nothing: what a page shows with an enlarged map.

The measures are those of `pmsi.explain.metrics` and `pmsi.explain.removal`; `pmsi.explain.report` takes their means
over many images. The regions are those of `pmsi.explain.regions`, and single parts. This module does not know runs.
"""

from dataclasses import dataclass

import numpy as np
from torch import nn

from pmsi.base.seeding import numpy_generator
from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.preprocessing import normalize, to_tensor
from pmsi.explain.floors import CENTRE, EDGES, enlarged
from pmsi.explain.metrics import centre_map, edge_map, energy, pointing, random_map, widened
from pmsi.explain.regions import cropped_mask, regions_of, rivals
from pmsi.explain.removal import Curve, deletion, insertion, ranking
from pmsi.explain.trials import probability_of

DRAWS = 32
"""Random maps over which the floor of one image is averaged: a single one hits a small region by luck alone."""

MAP, RANDOM = "map", "random"
"""What is measured beside the image's edges and its middle: the map itself, and noise at its own resolution."""

BODY = "bird"
"""The drawn species' mask of all of them, which is the object once more."""


@dataclass(frozen=True)
class Summary:
    """A map in short: rows and columns, its least, mean and largest values, and where it is largest.

    ``at`` is (x, y) from the upper left, the middle of a cell in fractions of the sides; None where the map is blank.
    """

    shape: tuple[int, int]
    least: float
    mean: float
    peak: float
    at: tuple[float, float] | None


def summary(stage_map: np.ndarray) -> Summary:
    """Return what is told of a map (h_n, w_n), at least 0; of equal peaks the first in reading order counts."""
    height, width = stage_map.shape
    y, x = divmod(int(stage_map.argmax()), width)
    at = ((x + 0.5) / width, (y + 0.5) / height) if stage_map.any() else None
    return Summary((height, width), float(stage_map.min()), float(stage_map.mean()), float(stage_map.max()), at)


def known_regions(
    dataset: Dataset, sample: Sample, config: TrainConfig, chances: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Return the regions that a data set knows of an image, (side, side) bool on a run's pixels, by name.

    First the object and its telling parts, in which the image's species differs from the sibling that the run finds
    likeliest here: ``chances`` (classes,) says how likely. Then single parts, where there are masks of them.
    """
    given = np.zeros(len(dataset.classes)) if chances is None else chances
    found = regions_of(dataset, sample, config, rivals(dataset, np.array([sample.label]), given[None]))
    parts = {
        name: cropped_mask(mask, config.resize_to, config.image_size)
        for name, mask in dataset.open_parts(sample).items()
    }
    return found | {name: mask for name, mask in parts.items() if mask.any() and name not in found and name != BODY}


@dataclass(frozen=True)
class Measured:
    """``pointing`` and ``energy`` of one source, both in [0, 1]."""

    pointing: float
    energy: float


def measured(
    stage_map: np.ndarray, pixels: np.ndarray, region: np.ndarray, *, tolerance: float, key: str, seed: int = 0
) -> dict[str, Measured]:
    """Return the numbers of a map (h_n, w_n) and of its floors, for a region (side, side) bool.

    ``pixels`` (side, side, 3) uint8 is the image; ``tolerance`` is in its pixels; ``key`` and ``seed`` name the draw of
    the random maps. The centre's energy is that of the few pixels in the middle.
    """
    side, wide = len(pixels), widened(region, tolerance)
    generator = numpy_generator("random maps of one image", seed, key)
    shape = (stage_map.shape[0], stage_map.shape[1])
    noise = [_measure(enlarged(random_map(shape, generator), side), region, wide) for _ in range(DRAWS)]
    return {
        MAP: _measure(enlarged(stage_map, side), region, wide),
        RANDOM: Measured(*(float(np.mean([getattr(one, name) for one in noise])) for name in ("pointing", "energy"))),
        EDGES: _measure(edge_map(pixels), region, wide),
        CENTRE: _measure(centre_map((side, side)), region, wide),
    }


def _measure(values: np.ndarray, region: np.ndarray, wide: np.ndarray) -> Measured:
    return Measured(pointing(values, wide), energy(values, region))


def removal_curves(
    model: nn.Module, pixels: np.ndarray, stage_map: np.ndarray, *, head: str, label: int, key: str, seed: int = 0
) -> dict[str, dict[str, Curve]]:
    """Return the "deletion" and "insertion" curves of a map (h_n, w_n), and of one random map of its shape, by source.

    ``pixels`` (side, side, 3) uint8 is the image, ``label`` the class whose probability at ``head`` is followed. Some
    eighty forward passes.
    """
    image = normalize(to_tensor(np.ascontiguousarray(pixels)).unsqueeze(0).to(next(model.parameters()).device))[0]

    probability = probability_of(model, head, label)
    noise = random_map(stage_map.shape, numpy_generator("random map", seed, key))
    orders = {
        name: ranking(enlarged(values, len(pixels)), seed, key) for name, values in ((MAP, stage_map), (RANDOM, noise))
    }
    return {
        "deletion": {name: deletion(probability, image, order) for name, order in orders.items()},
        "insertion": {name: insertion(probability, image, order) for name, order in orders.items()},
    }
