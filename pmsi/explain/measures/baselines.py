"""Baselines of every measure of a map: noise, the image's edges and its centre, at the image's resolution.

Noise is drawn at the stage's resolution and enlarged like its map, so that both are equally smooth.
"""

from collections.abc import Mapping

import numpy as np
import torch
from scipy import ndimage

from pmsi.base.seeding import numpy_generator
from pmsi.explain.cam import resize
from pmsi.perturbations.imagenet_c import GREY

EDGES, CENTRE = "edges", "centre"


def random_of(stage: str) -> str:
    """Return the name of the source "noise at a stage's resolution"."""
    return f"random {stage}"


def with_baselines(raw: Mapping[str, np.ndarray], pixels: np.ndarray, *seed: object) -> dict[str, np.ndarray]:
    """Return maps (side, side) by source: each stage's map (h_n, w_n) enlarged, and the baselines.

    ``pixels`` (side, side, 3) uint8 is the image. ``seed``, such as the base seed and the image's key, seeds the noise.
    """
    side = len(pixels)
    maps = {stage: enlarged(values, side) for stage, values in raw.items()}
    maps |= {random_of(stage): enlarged(noise(stage, values.shape, *seed), side) for stage, values in raw.items()}
    return maps | {EDGES: edge_map(pixels), CENTRE: centre_map((side, side))}


def noise(stage: str, shape: tuple[int, ...], *seed: object) -> np.ndarray:
    """Return the random map (h_n, w_n) of one stage of one image."""
    return random_map((shape[0], shape[1]), numpy_generator("random map", *seed, stage))


def enlarged(stage_map: np.ndarray, side: int) -> np.ndarray:
    """Return a map (h_n, w_n) enlarged bilinearly to (side, side) float32, the grid on which maps are measured."""
    values = torch.from_numpy(np.asarray(stage_map, dtype=np.float32))
    found: np.ndarray = resize(values[None], side)[0].numpy()
    return found


def random_map(shape: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """Return uniform noise in [0, 1), of this shape."""
    return generator.random(shape)


def centre_map(shape: tuple[int, int]) -> np.ndarray:
    """Return a map that is 1 in the central pixels and 0 elsewhere; most photographers centre their object."""
    height, width = shape
    values = np.zeros(shape)
    values[(height - 1) // 2 : height // 2 + 1, (width - 1) // 2 : width // 2 + 1] = 1
    return values


def edge_map(pixels: np.ndarray) -> np.ndarray:
    """Return the edge strength (h, w) of an image (h, w, 3) uint8: the length of the Sobel gradient of its luma.

    In grey levels per pixel, times 8. Border pixels are repeated outwards.
    """
    luma = pixels @ GREY
    return np.hypot(ndimage.sobel(luma, 0, mode="nearest"), ndimage.sobel(luma, 1, mode="nearest"))
