"""Baselines of every number about a map: noise, the image's edges and its middle, on the image's own grid.

Noise is drawn at the stage's own resolution and enlarged as its map is, for a coarse map is smooth in any case.
"""

from collections.abc import Mapping

import numpy as np
import torch

from pmsi.base.seeding import numpy_generator
from pmsi.explain.cam import resize

EDGES, CENTRE = "edges", "centre"

GREY = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in an image's brightness (ITU-R BT.601)."""


def random_of(stage: str) -> str:
    """Return what the noise of a stage's resolution is called."""
    return f"random {stage}"


def with_baselines(raw: Mapping[str, np.ndarray], pixels: np.ndarray, *seed: object) -> dict[str, np.ndarray]:
    """Return maps (side, side) by source: each stage's (h_n, w_n) enlarged, and the baselines.

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


def random_map(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return even noise in [0, 1): of a stage's own shape, to be resized as its map is."""
    return generator.random(shape)


def centre_map(shape: tuple[int, int]) -> np.ndarray:
    """Return a map that points at the middle of the image, as most photographers do: 1 in its middle pixels, else 0."""
    (height, width), values = shape, np.zeros(shape)
    values[(height - 1) // 2 : height // 2 + 1, (width - 1) // 2 : width // 2 + 1] = 1
    return values


def edge_map(pixels: np.ndarray) -> np.ndarray:
    """Return how strong the edges of an image (h, w, 3) uint8 are: the length of the Sobel gradient of its brightness.

    In grey levels for each pixel of distance, times 8; border pixels are repeated outwards.
    """
    grey = np.pad(pixels @ GREY, 1, mode="edge")
    down = grey[2:] - grey[:-2]
    right = grey[:, 2:] - grey[:, :-2]
    vertical = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
    horizontal = right[:-2] + 2 * right[1:-1] + right[2:]
    return np.hypot(vertical, horizontal)
