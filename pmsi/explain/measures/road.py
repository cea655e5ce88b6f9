"""Noisy linear imputation of ROAD (Rong et al., ICML 2022): missing pixels become the mean of their neighbours + noise.

The mean of the eight neighbours is weighted. Neighbours may be missing too, so all missing pixels of an image come from
one sparse system of linear equations. Imputed holes do not show the network their outline, as holes of one colour do.
"""

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from pmsi.base.errors import PMSIError

BESIDE, ACROSS = 1 / 6, 1 / 12
"""Weights of the direct and of the diagonal neighbours; neighbours beyond the edge do not count."""

NOISE = 0.01
"""Standard deviation of the noise, in the images' unit (for normalised images: ImageNet's standard deviations)."""


def imputed(images: Tensor, missing: Tensor, generator: torch.Generator, noise: float = NOISE) -> Tensor:
    """Return images (b, c, h, w) with their ``missing`` pixels (b, h, w) bool imputed; the others do not change.

    Solved on the CPU in float64; ``generator`` is one of the CPU's. Raises PMSIError if all pixels of an image are
    missing.
    """
    if bool(missing.flatten(1).all(dim=1).any()):
        raise PMSIError("An image has no pixel left to fill in the others from: remove less than all of it.")
    pixels, holes, laplacian = images.double().cpu().numpy(), missing.cpu().numpy(), _laplacian(*images.shape[2:])
    filled = np.stack([_filled(image, hole, laplacian) for image, hole in zip(pixels, holes, strict=True)])
    drawn = torch.randn(images.shape, generator=generator, dtype=torch.float64)
    return torch.where(missing[:, None], (torch.from_numpy(filled) + noise * drawn).to(images), images)


def _filled(image: np.ndarray, hole: np.ndarray, laplacian: sparse.csr_array) -> np.ndarray:
    """Return an image (c, h, w) whose pixels in a hole (h, w) bool are the means of their neighbours (Laplacian 0)."""
    inside, values = hole.ravel(), image.reshape(len(image), -1).T.copy()
    if inside.any():
        rows = laplacian[inside]
        factors = splu(rows[:, inside].tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        values[inside] = factors.solve(-(rows[:, ~inside] @ values[~inside]))
    found: np.ndarray = values.T.reshape(image.shape)
    return found


def _laplacian(height: int, width: int) -> sparse.csr_array:
    """Return the graph Laplacian (h · w, h · w) of the pixels: the sum of a pixel's weights minus the weights."""
    number = np.arange(height * width).reshape(height, width)
    pairs = [
        (number[:, :-1], number[:, 1:], BESIDE),
        (number[:-1], number[1:], BESIDE),
        (number[:-1, :-1], number[1:, 1:], ACROSS),
        (number[:-1, 1:], number[1:, :-1], ACROSS),
    ]
    one = np.concatenate([pixels.ravel() for pixels, _, _ in pairs])
    other = np.concatenate([pixels.ravel() for _, pixels, _ in pairs])
    weights = np.concatenate([np.full(pixels.size, weight) for pixels, _, weight in pairs])
    half = sparse.coo_array((weights, (one, other)), shape=(number.size, number.size))
    neighbours = half + half.T
    return (sparse.diags_array(neighbours.sum(axis=1)) - neighbours).tocsr()
