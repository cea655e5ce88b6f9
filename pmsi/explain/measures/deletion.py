"""What becomes of a class's probability as pixels are taken away in the order in which a map ranks them.

Deletion and insertion (Petsiuk et al., RISE, 2018) and ROAD (Rong et al., ICML 2022). A map that names what the network
used makes the probability fall early in deletion and rise early in insertion.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pmsi.base.errors import PMSIError
from pmsi.base.seeding import derive, numpy_generator
from pmsi.data.preprocessing import normalize, to_tensor
from pmsi.explain.measures.baselines import enlarged, random_map
from pmsi.explain.measures.pointing import MAP, RANDOM
from pmsi.explain.measures.road import imputed

Probability = Callable[[Tensor], Tensor]
"""Normalised images (n, 3, h, w) → the probability of the class in question, (n,) in [0, 1]."""

STEPS = tuple(k / 20 for k in range(21))
"""Shares of the pixels that are taken away, or shown, one after another."""

ROAD_SHARES = tuple(k / 10 for k in range(1, 10))
"""Shares of the pixels that ROAD takes away."""

BLUR = 5 / 224
"""Standard deviation of the blur from which insertion starts, in sides of the image: 5 pixels of 224."""

AT_ONCE = 32
"""Images that the network is shown in one batch."""


@dataclass(frozen=True)
class Curve:
    """The class's ``probability`` (k,) after each of ``shares`` (k,) of the pixels; all are from 0 to 1."""

    shares: tuple[float, ...]
    probability: tuple[float, ...]

    @property
    def area(self) -> float:
        """Return the mean probability over the range of shares: the area under the curve, by trapezoids, in [0, 1]."""
        return float(np.trapezoid(self.probability, self.shares)) / (self.shares[-1] - self.shares[0])


@dataclass(frozen=True)
class Road:
    """Two curves: the ``most`` relevant pixels taken first, and the ``least`` relevant ones."""

    most: Curve
    least: Curve

    @property
    def score(self) -> float:
        """Return half of how much higher ``least`` lies than ``most`` on average, in [−1/2, 1/2]; chance is 0."""
        return float(np.mean(self.least.probability) - np.mean(self.most.probability)) / 2


def ranking(values: np.ndarray, *seed: object) -> np.ndarray:
    """Return the numbers (h · w,) of a map's pixels, the largest value first, equal values in an order that is drawn.

    Much of a map behind a ReLU is exactly 0, so a threshold at a percentile would take every pixel at once. ``seed``
    names the draw, such as the base seed and the image's key.
    """
    return np.lexsort((numpy_generator("ranking", *seed).random(values.size), -np.asarray(values).ravel()))


def deletion(probability: Probability, image: Tensor, order: np.ndarray, shares: Iterable[float] = STEPS) -> Curve:
    """Return the curve as pixels become the mean colour, 0 in a normalised image (3, h, w); less area is better."""
    return _curve(probability, image, torch.zeros_like(image), order, shares)


def insertion(probability: Probability, image: Tensor, order: np.ndarray, shares: Iterable[float] = STEPS) -> Curve:
    """Return the curve as pixels of a normalised image (3, h, w) appear in a blurred one; more area is better."""
    return _curve(probability, blurred(image), image, order, shares)


def road(
    probability: Probability, image: Tensor, order: np.ndarray, *seed: object, shares: Iterable[float] = ROAD_SHARES
) -> Road:
    """Return both curves as pixels of a normalised image (3, h, w) are filled in from their neighbours.

    ``seed`` names the noise of the imputation. A larger score is better.
    """
    curves, shares = [], tuple(shares)
    for ranked in (order, order[::-1]):
        chosen = _chosen(ranked, shares, image)
        generator = torch.Generator().manual_seed(derive("road", *seed))
        filled = imputed(image.expand(len(chosen), -1, -1, -1), chosen, generator)
        curves.append(Curve(shares, _asked(probability, filled)))
    return Road(*curves)


def blurred(image: Tensor) -> Tensor:
    """Return an image (3, h, w) under a Gaussian of BLUR, its border pixels repeated outwards."""
    sigma = BLUR * max(image.shape[1:])
    reach = max(1, round(3 * sigma))
    weights = torch.exp(-(torch.arange(-reach, reach + 1, device=image.device) ** 2) / (2 * sigma**2))
    weights = (weights / weights.sum()).to(image.dtype)
    framed = F.pad(image[:, None], (reach, reach, reach, reach), mode="replicate")
    return F.conv2d(F.conv2d(framed, weights[None, None, None]), weights[None, None, :, None])[:, 0]


def _curve(probability: Probability, start: Tensor, end: Tensor, order: np.ndarray, shares: Iterable[float]) -> Curve:
    """Return the curve as the pixels of ``start`` become those of ``end``."""
    shares = tuple(shares)
    chosen = _chosen(order, shares, start)
    return Curve(shares, _asked(probability, torch.where(chosen[:, None], end, start)))


def _chosen(order: np.ndarray, shares: tuple[float, ...], image: Tensor) -> Tensor:
    """Return for each share a mask (h, w) of the first pixels in the order: (k, h, w) bool."""
    height, width = image.shape[1:]
    if not np.array_equal(np.sort(order), np.arange(height * width)):
        raise PMSIError(f"The order of {len(order)} pixels does not fit an image of {height} × {width}: see `ranking`.")
    place = torch.empty(len(order), dtype=torch.int64)
    place[torch.from_numpy(order.copy())] = torch.arange(len(order))
    counts = torch.tensor([round(share * len(order)) for share in shares])
    return (place < counts[:, None]).view(-1, height, width).to(image.device)


def _asked(probability: Probability, images: Tensor) -> tuple[float, ...]:
    return tuple(float(p) for batch in images.split(AT_ONCE) for p in probability(batch))


# One map of one image


def probability_of(model: nn.Module, head: str, label: int) -> Probability:
    """Return what gives the probability of class ``label`` at an output, for images on the model's device."""

    def probability(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(images)[head].float().softmax(dim=1)[:, label].cpu()

    return probability


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
