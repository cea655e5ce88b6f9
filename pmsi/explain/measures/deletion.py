"""Deletion, insertion and ROAD: a class's probability as pixels are removed in the order of a map's values.

Deletion and insertion: Petsiuk et al., RISE, 2018. ROAD: Rong et al., ICML 2022. If a map marks what the network uses,
the probability falls early in deletion and rises early in insertion.
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
"""Normalised images (n, 3, h, w) → the probability of one class, (n,) in [0, 1]."""

STEPS = tuple(k / 20 for k in range(21))
"""Shares of the pixels that are removed, or inserted."""

ROAD_SHARES = tuple(k / 10 for k in range(1, 10))
"""Shares of the pixels that ROAD removes."""

BLUR = 5 / 224
"""Standard deviation of the blur from which insertion starts, as a share of the image's side: 5 pixels of 224."""

BATCH_SIZE = 32


@dataclass(frozen=True)
class Curve:
    """The class's ``probability`` (k,) when each of ``shares`` (k,) of the pixels is changed; all from 0 to 1."""

    shares: tuple[float, ...]
    probability: tuple[float, ...]

    @property
    def area(self) -> float:
        """Return the area under the curve by trapezoids, divided by the range of shares: in [0, 1]."""
        return float(np.trapezoid(self.probability, self.shares)) / (self.shares[-1] - self.shares[0])


@dataclass(frozen=True)
class Road:
    """Two curves: the ``most`` relevant pixels removed first, and the ``least`` relevant ones removed first."""

    most: Curve
    least: Curve

    @property
    def score(self) -> float:
        """Return half the mean difference ``least`` − ``most``, in [−1/2, 1/2]; chance is 0."""
        return float(np.mean(self.least.probability) - np.mean(self.most.probability)) / 2


def ranking(values: np.ndarray, *seed: object) -> np.ndarray:
    """Return the indices (h · w,) of a map's pixels, the largest value first, equal values in random order.

    After a ReLU much of a map is exactly 0, so ties are common. ``seed``, such as the base seed and the image's key,
    seeds their order.
    """
    return np.lexsort((numpy_generator("ranking", *seed).random(values.size), -np.asarray(values).ravel()))


def deletion(probability: Probability, image: Tensor, order: np.ndarray, shares: Iterable[float] = STEPS) -> Curve:
    """Return the curve as pixels of a normalised image (3, h, w) become 0, the mean colour; less area is better."""
    return _curve(probability, image, torch.zeros_like(image), order, shares)


def insertion(probability: Probability, image: Tensor, order: np.ndarray, shares: Iterable[float] = STEPS) -> Curve:
    """Return the curve as pixels of a normalised image (3, h, w) appear in a blurred one; more area is better."""
    return _curve(probability, blurred(image), image, order, shares)


def road(
    probability: Probability, image: Tensor, order: np.ndarray, *seed: object, shares: Iterable[float] = ROAD_SHARES
) -> Road:
    """Return both curves as pixels of a normalised image (3, h, w) are imputed from their neighbours.

    ``seed`` seeds the noise of the imputation. A larger score is better.
    """
    shares = tuple(shares)

    def curve(ranked: np.ndarray) -> Curve:
        chosen = _chosen(ranked, shares, image)
        generator = torch.Generator().manual_seed(derive("road", *seed))
        filled = imputed(image.expand(len(chosen), -1, -1, -1), chosen, generator)
        return Curve(shares, _probabilities(probability, filled))

    return Road(most=curve(order), least=curve(order[::-1]))


def blurred(image: Tensor) -> Tensor:
    """Return an image (3, h, w) blurred by a Gaussian of BLUR; border pixels are repeated outwards."""
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
    return Curve(shares, _probabilities(probability, torch.where(chosen[:, None], end, start)))


def _chosen(order: np.ndarray, shares: tuple[float, ...], image: Tensor) -> Tensor:
    """Return for each share a mask (h, w) of the first pixels in the order: (k, h, w) bool."""
    height, width = image.shape[1:]
    if not np.array_equal(np.sort(order), np.arange(height * width)):
        raise PMSIError(f"The order of {len(order)} pixels does not fit an image of {height} × {width}: see `ranking`.")
    place = torch.empty(len(order), dtype=torch.int64)
    place[torch.from_numpy(order.copy())] = torch.arange(len(order))
    counts = torch.tensor([round(share * len(order)) for share in shares])
    return (place < counts[:, None]).view(-1, height, width).to(image.device)


def _probabilities(probability: Probability, images: Tensor) -> tuple[float, ...]:
    return tuple(float(p) for batch in images.split(BATCH_SIZE) for p in probability(batch))


# One map of one image


def probability_of(model: nn.Module, head: str, label: int) -> Probability:
    """Return the function images → probability of class ``label`` at an output; images are on the model's device."""

    def probability(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(images)[head].float().softmax(dim=1)[:, label].cpu()

    return probability


def removal_curves(
    model: nn.Module, pixels: np.ndarray, stage_map: np.ndarray, *, head: str, label: int, key: str, seed: int = 0
) -> dict[str, dict[str, Curve]]:
    """Return the "deletion" and "insertion" curves of a map (h_n, w_n), and of one random map of its shape, by source.

    ``pixels`` (side, side, 3) uint8 is the image, ``label`` is the class whose probability at ``head`` is measured.
    Takes about 80 forward passes.
    """
    image = normalize(to_tensor(np.ascontiguousarray(pixels)).unsqueeze(0).to(next(model.parameters()).device))[0]
    probability = probability_of(model, head, label)
    noise = random_map(stage_map.shape, numpy_generator("random map", seed, key))
    maps = {MAP: stage_map, RANDOM: noise}
    orders = {name: ranking(enlarged(values, len(pixels)), seed, key) for name, values in maps.items()}
    return {
        "deletion": {name: deletion(probability, image, order) for name, order in orders.items()},
        "insertion": {name: insertion(probability, image, order) for name, order in orders.items()},
    }
