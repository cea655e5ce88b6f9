"""A stage's map beside maps that know nothing, all on the image's own grid: noise, the image's edges, its middle.

Noise is drawn at the stage's own resolution and enlarged as its map is, for a coarse map is smooth whatever it knows.
This module does not know what is measured.
"""

from collections.abc import Mapping

import numpy as np
import torch

from pmsi.base.seeding import numpy_generator
from pmsi.explain.cam import resize
from pmsi.explain.metrics import centre_map, edge_map, random_map

EDGES, CENTRE = "edges", "centre"


def random_of(stage: str) -> str:
    """Return what the noise of a stage's resolution is called."""
    return f"random {stage}"


def beside_floors(raw: Mapping[str, np.ndarray], pixels: np.ndarray, *seed: object) -> dict[str, np.ndarray]:
    """Return maps (side, side) by source: each stage's (h_n, w_n) enlarged, and the floors.

    ``pixels`` (side, side, 3) uint8 is the image; ``seed`` names the draw of the noise, such as the base seed and the
    image's key.
    """
    side = len(pixels)
    maps = {stage: enlarged(values, side) for stage, values in raw.items()}
    maps |= {random_of(stage): enlarged(noise(stage, values.shape, *seed), side) for stage, values in raw.items()}
    return maps | {EDGES: edge_map(pixels), CENTRE: centre_map((side, side))}


def noise(stage: str, shape: tuple[int, ...], *seed: object) -> np.ndarray:
    """Return the random map (h_n, w_n) of a stage of an image."""
    return random_map((shape[0], shape[1]), numpy_generator("random map", *seed, stage))


def enlarged(stage_map: np.ndarray, side: int) -> np.ndarray:
    """Return a map (h_n, w_n) as (side, side) float32, bilinear: the grid on which maps are measured."""
    values = torch.from_numpy(np.asarray(stage_map, dtype=np.float32))
    found: np.ndarray = resize(values[None], side)[0].numpy()
    return found
