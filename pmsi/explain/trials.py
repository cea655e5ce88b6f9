"""What takes many predictions of one image: pixels taken away in the order of its maps, and perturbations of it.

Deletion, insertion and ROAD (`pmsi.explain.removal`), and how far maps of one and the same class move when the image is
perturbed (`pmsi.explain.drift`); the floors go through the same. This module does not know which images are tried.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pmsi.data.preprocessing import normalize, to_tensor
from pmsi.explain.cam import cam
from pmsi.explain.drift import Drift, drift
from pmsi.explain.floors import CENTRE, EDGES, beside_floors, noise, random_of
from pmsi.explain.metrics import edge_map
from pmsi.explain.question import Numbers, Question
from pmsi.explain.removal import Probability, deletion, insertion, ranking, road
from pmsi.model import Recognizer
from pmsi.perturbations import perturb
from pmsi.perturbations.entries import severities_of

SHARES = tuple(k / 10 for k in range(11))
"""Shares of the pixels that are taken away, or shown: every other one of a single map's curve."""

ROAD_SHARES = (0.2, 0.4, 0.6, 0.8)
"""Shares of the pixels that ROAD takes away: the usual ones of its averages."""


@dataclass(frozen=True)
class Shown:
    """An image as the network saw it, (side, side, 3) uint8, its true class, and its maps (h_n, w_n) by stage."""

    key: str
    label: int
    pixels: np.ndarray
    raw: Mapping[str, np.ndarray]


class Trials:
    """A model's maps on trial; ``head`` is the output that is explained."""

    def __init__(self, model: Recognizer, head: str, question: Question) -> None:
        self.model, self.head, self.question = model, head, question
        self.cells = [cell for entry in question.drift for cell in severities_of(entry)]

    def removal(self, shown: Shown) -> Numbers:
        """Return the areas of deletion and insertion and the score of ROAD, for each source but the middle."""
        probability = probability_of(self.model, self.head, shown.label)
        return removal_numbers(probability, self._images([shown.pixels])[0], shown, self.question.seed)

    def drift(self, batch: Sequence[Shown]) -> list[dict[str, Numbers]]:
        """Return for each image, by "PERTURBATION=SEVERITY", how far its maps of its true class move."""
        found: list[dict[str, Numbers]] = [{} for _ in batch]
        for name, severity in self.cells:
            cell = f"{name}={severity:g}"
            changed = [perturb(one.pixels, name, severity, seed=self.question.seed, key=one.key)[0] for one in batch]
            for numbers, one, pixels, after in zip(found, batch, changed, self._maps(batch, changed), strict=True):
                numbers[cell] = self._moved(one, pixels, after, cell)
        return found

    def _maps(self, batch: Sequence[Shown], changed: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Return the maps of images for the true class of those that they come from."""
        if not batch:
            return []
        images = self._images(changed)
        labels, about = torch.tensor([one.label for one in batch], device=images.device), self.question
        maps = cam(self.model, images, head=self.head, classes=labels, stages=about.stages, method=about.method)
        stacks = {stage: stack.float().cpu().numpy() for stage, stack in maps.raw.items()}
        return [{stage: stack[i] for stage, stack in stacks.items()} for i in range(len(batch))]

    def _moved(self, one: Shown, pixels: np.ndarray, after: Mapping[str, np.ndarray], cell: str) -> Numbers:
        """Return how far an image's maps moved; of noise, how far two draws are apart that have nothing in common."""
        seed = (self.question.seed, one.key)
        found = drift_numbers(EDGES, drift(edge_map(one.pixels), edge_map(pixels)))
        for stage, before in one.raw.items():
            draws = (noise(stage, before.shape, *seed, *again) for again in ((), (cell,)))
            found |= drift_numbers(stage, drift(before, after[stage]))
            found |= drift_numbers(random_of(stage), drift(*draws))
        return found

    def _images(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """Return pictures (side, side, 3) uint8 as one normalised batch on the model's device."""
        stack = torch.stack([to_tensor(pixels) for pixels in pictures])
        return normalize(stack.to(next(self.model.parameters()).device))


def probability_of(model: nn.Module, head: str, label: int) -> Probability:
    """Return what gives the probability of class ``label`` at an output, for images on the model's device."""

    def probability(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(images)[head].float().softmax(dim=1)[:, label].cpu()

    return probability


def removal_numbers(probability: Probability, image: Tensor, shown: Shown, seed: int) -> Numbers:
    """Return what is said of an image's maps by ``probability`` as pixels of ``image``, normalised, are taken away."""
    found: Numbers = {}
    for source, values in beside_floors(shown.raw, shown.pixels, seed, shown.key).items():
        if source == CENTRE:  # a handful of pixels: it ranks no others
            continue
        order = ranking(values, seed, shown.key)
        found |= {
            f"{source}/deletion": deletion(probability, image, order, SHARES).area,
            f"{source}/insertion": insertion(probability, image, order, SHARES).area,
            f"{source}/road": road(probability, image, order, seed, shown.key, shares=ROAD_SHARES).score,
        }
    return found


def drift_numbers(source: str, moved: Drift) -> Numbers:
    """Return the distances between two maps of a source as numbers, without a correlation that an even map lacks."""
    return {f"{source}/{name}": value for name, value in asdict(moved).items() if not math.isnan(value)}
