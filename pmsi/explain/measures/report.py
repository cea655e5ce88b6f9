"""Measures of a model's maps on all test images: pointing and energy, faithfulness, and drift.

Each image is explained for its true class, and the baselines (`pmsi.explain.measures.baselines`) are measured beside
each stage. Faithfulness takes many predictions of an image, so it is measured on some images of each class only:
deletion, insertion and ROAD (`pmsi.explain.measures.deletion`), and the drift of maps when the image is perturbed
(`pmsi.explain.measures.drift`). The report has means over images with bootstrap intervals.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmsi.base.seeding import derive
from pmsi.base.statistics import RESAMPLES
from pmsi.config import TrainConfig
from pmsi.data import limit
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import EvaluationLoader
from pmsi.data.preprocessing import normalize, to_tensor
from pmsi.engine.folding import folded
from pmsi.explain.cam import DEFAULT_STAGES, Maps, cam
from pmsi.explain.measures.baselines import CENTRE, EDGES, edge_map, noise, random_of, with_baselines
from pmsi.explain.measures.deletion import Probability, deletion, insertion, probability_of, ranking, road
from pmsi.explain.measures.drift import drift
from pmsi.explain.measures.pointing import energy, pointing, widened
from pmsi.explain.measures.regions import (
    DISTINCTIVE,
    DISTINCTIVE_PARTS,
    OBJECT,
    Rival,
    most_confused,
    most_confused_with,
    regions_of,
    rivals,
)
from pmsi.model import Recognizer
from pmsi.perturbations import perturb, severities_of

TOLERANCE = 15.0
"""Pixels by which a peak may miss its region, as in the pointing game's paper."""

PAIR = "pair"
"""Name of the distinctive parts' numbers on images of the two most confused classes."""

CONFUSED = "confused"
"""The rival that is the class's sibling, or else the class, that the model confuses it with most on all test images."""

FOCUS = "focus"
"""Name of the distinctive parts' numbers for maps that are cut to the object."""

SHARES = tuple(k / 10 for k in range(11))
"""Shares of the pixels that deletion removes and insertion inserts: every other one of a single map's curve."""

ROAD_SHARES = (0.2, 0.4, 0.6, 0.8)
"""Shares of the pixels that ROAD removes."""

BLOCK = 250
"""Bootstrap samples that are drawn at once, to limit memory."""

Numbers = dict[str, float]
"""Numbers of one image by "SOURCE/MEASURE"; undefined ones are left out.

A source is a stage, "random STAGE", "edges" or "centre". The measures of a region are "pointing" and "energy" in
[0, 1]; "area", without a source, is the region's share of the image: chance. Those of removal are "deletion" (less is
better) and "insertion" in [0, 1], and "road" in [−1/2, 1/2]. Those of drift are the fields of
`pmsi.explain.measures.drift.Drift`.
"""


@dataclass(frozen=True)
class MeasureSettings:
    """The settings of the measures: ``method`` is a key of CAM_METHODS, ``head`` an output (default: the primary one).

    ``tolerance`` is in pixels of the network's input; ``seed`` seeds every draw. `Faithfulness` is measured on
    ``faithfulness_per_class`` test images of each class; ``drift`` lists its perturbations, such as "rotation=10,20".
    ``rival`` is a row of RIVALS or CONFUSED: the true class is explained against it, by default alone.
    """

    method: str = "gradcam"
    head: str | None = None
    stages: tuple[str, ...] = DEFAULT_STAGES
    tolerance: float = TOLERANCE
    seed: int = 0
    faithfulness_per_class: int = 0
    drift: tuple[str, ...] = ()
    rival: str | None = None


# Faithfulness


@dataclass(frozen=True)
class MappedImage:
    """An image as the network's input, (side, side, 3) uint8, its true class, and its maps (h_n, w_n) by stage."""

    key: str
    label: int
    pixels: np.ndarray
    raw: Mapping[str, np.ndarray]


class Faithfulness:
    """The measures that take many predictions of an image; ``head`` is the output explained."""

    def __init__(self, model: Recognizer, head: str, settings: MeasureSettings) -> None:
        self.model, self.head, self.settings = model, head, settings
        self.cells = [cell for entry in settings.drift for cell in severities_of(entry)]

    def removal(self, image: MappedImage) -> Numbers:
        """Return the areas of deletion and insertion and the score of ROAD, for each source except the centre."""
        probability = probability_of(self.model, self.head, image.label)
        return removal_numbers(probability, self._images([image.pixels])[0], image, self.settings.seed)

    def drift(self, batch: Sequence[MappedImage]) -> list[dict[str, Numbers]]:
        """Return the distances between clean and perturbed maps of each image, by "PERTURBATION=SEVERITY"."""
        found: list[dict[str, Numbers]] = [{} for _ in batch]
        for name, severity in self.cells:
            cell = f"{name}={severity:g}"
            changed = [perturb(one.pixels, name, severity, seed=self.settings.seed, key=one.key)[0] for one in batch]
            for numbers, one, pixels, after in zip(found, batch, changed, self._maps(batch, changed), strict=True):
                numbers[cell] = self._distances(one, pixels, after, cell)
        return found

    rivals: Tensor | None = None
    """By class, the rival that it is explained against where that is CONFUSED."""

    def explain(self, images: Tensor, labels: Sequence[int]) -> Maps:
        """Return the maps of normalised images for their true classes, against their rivals if the settings say so."""
        settings, classes = self.settings, torch.tensor(labels, device=images.device)
        rival = settings.rival if self.rivals is None else self.rivals[labels].to(images.device)
        stages, method = settings.stages, settings.method
        return cam(self.model, images, head=self.head, classes=classes, stages=stages, method=method, rival=rival)

    def _maps(self, batch: Sequence[MappedImage], changed: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Return the maps of perturbed images by stage, for the true classes of the clean ones."""
        if not batch:
            return []
        return _by_image(self.explain(self._images(changed), [one.label for one in batch]))

    def _distances(self, one: MappedImage, pixels: np.ndarray, after: Mapping[str, np.ndarray], cell: str) -> Numbers:
        """Return the distances between clean and perturbed maps of an image; for noise, between two unrelated draws."""
        seed = (self.settings.seed, one.key)
        found = drift(edge_map(one.pixels), edge_map(pixels)).numbers(EDGES)
        for stage, before in one.raw.items():
            found |= drift(before, after[stage]).numbers(stage)
            first, second = noise(stage, before.shape, *seed), noise(stage, before.shape, *seed, cell)
            found |= drift(first, second).numbers(random_of(stage))
        return found

    def _images(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """Return pictures (side, side, 3) uint8 as one normalised batch on the model's device."""
        stack = torch.stack([to_tensor(pixels) for pixels in pictures])
        return normalize(stack.to(next(self.model.parameters()).device))


def _by_image(maps: Maps) -> list[dict[str, np.ndarray]]:
    """Return the maps (h_n, w_n) of each image by stage."""
    stacks = {stage: stack.float().cpu().numpy() for stage, stack in maps.raw.items()}
    return [{stage: stack[i] for stage, stack in stacks.items()} for i in range(len(maps.classes))]


def removal_numbers(probability: Probability, normalised: Tensor, image: MappedImage, seed: int) -> Numbers:
    """Return deletion, insertion and ROAD of an image's maps; ``normalised`` (3, side, side) are its pixels."""
    found: Numbers = {}
    for source, values in with_baselines(image.raw, image.pixels, seed, image.key).items():
        if source != CENTRE:  # it ranks only a few pixels
            measures = _removal_of(probability, normalised, values, image.key, seed)
            found |= {f"{source}/{measure}": value for measure, value in measures.items()}
    return found


def _removal_of(probability: Probability, image: Tensor, values: np.ndarray, key: str, seed: int) -> Numbers:
    """Return deletion, insertion and ROAD of one map (side, side) by measure."""
    order = ranking(values, seed, key)
    return {
        "deletion": deletion(probability, image, order, SHARES).area,
        "insertion": insertion(probability, image, order, SHARES).area,
        "road": road(probability, image, order, seed, key, shares=ROAD_SHARES).score,
    }


def removal_seconds(model: Recognizer, size: int, stages: Sequence[str]) -> float:
    """Return about how many seconds `Faithfulness.removal` takes for an image of size × size, by a time trial."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    image = normalize(to_tensor(pixels)[None].to(next(model.parameters()).device))[0]
    began = time.perf_counter()
    _removal_of(probability_of(model, model.primary, 0), image, edge_map(pixels), "", 0)
    return (time.perf_counter() - began) * (2 * len(stages) + 1)  # each stage and its noise, and the edges


# The data set


@dataclass(frozen=True)
class ImageMeasures:
    """The measures of one image: numbers by region, and ``blank``, the stages whose map is zero.

    ``removal`` and ``drift``, by perturbation, are empty if faithfulness was not measured on this image.
    """

    key: str
    label: int
    predicted: int
    blank: tuple[str, ...]
    regions: dict[str, Numbers]
    removal: Numbers = field(default_factory=dict)
    drift: dict[str, Numbers] = field(default_factory=dict)


class MapEvaluator:
    """Measures a model's maps of the test images of a data set; `measure` returns the numbers of each image.

    ``config`` is the model's training config, for the preprocessing. ``after_batch(done, total)`` reports progress:
    ``done`` is 0 while the confusions are computed; then each batch counts 1, and so does each image on which
    faithfulness is measured.
    """

    def __init__(
        self,
        model: Recognizer,
        dataset: Dataset,
        config: TrainConfig,
        settings: MeasureSettings,
        batch_size: int = 16,
        after_batch: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.model, self.dataset, self.config, self.settings = folded(model), dataset, config, settings
        self.head = self.model.check_head(settings.head if settings.head is not None else model.primary)
        self.device = next(model.parameters()).device
        self.loader = EvaluationLoader(dataset, dataset.test, config, batch_size, device=self.device)
        chosen = limit(dataset.test, settings.faithfulness_per_class, (settings.seed, "trials"))
        self.faithfulness, self.chosen = Faithfulness(self.model, self.head, settings), {one.key for one in chosen}
        self.after_batch, self._done = after_batch, 0
        self.rivals = self._rivals()

    def _rivals(self) -> dict[int, Rival]:
        against = self.settings.rival == CONFUSED
        if self.dataset.name not in DISTINCTIVE_PARTS and not against:
            return {}
        given = []
        with torch.inference_mode():
            for _, images in self._batches():
                given.append(self.model(normalize(images.to(self.device)))[self.head].float().softmax(dim=1).cpu())
                self._advance(0)
        labels = np.array([sample.label for sample in self.dataset.test])
        probabilities = torch.cat(given).numpy()
        found = rivals(self.dataset, labels, probabilities)
        if against:
            likely = most_confused_with(labels, probabilities)
            self.faithfulness.rivals = torch.tensor([found[n].label if n in found else b for n, b in enumerate(likely)])
        return found

    def _batches(self) -> Iterator[tuple[Sequence[Sample], Tensor]]:
        """Yield samples and their images (b, 3, side, side) uint8, in the order of the test images."""
        first = 0
        for images, labels in self.loader:
            yield self.dataset.test[first : first + len(labels)], images
            first += len(labels)

    def _advance(self, more: int) -> None:
        self._done += more
        self.after_batch(self._done, self.loader.batches + len(self.chosen))

    def measure(self) -> list[ImageMeasures]:
        """Return the measures of each test image, in order."""
        found, self._done = [], 0
        for samples, images in self._batches():
            found += self._batch(samples, images)
            self._advance(1)
        return found

    def _batch(self, samples: Sequence[Sample], images: Tensor) -> list[ImageMeasures]:
        maps = self.faithfulness.explain(normalize(images.to(self.device)), [sample.label for sample in samples])
        predicted = maps.logits[self.head].argmax(dim=1).tolist()
        mapped = [
            MappedImage(sample.key, sample.label, image.permute(1, 2, 0).numpy(), raw)
            for sample, image, raw in zip(samples, images, _by_image(maps), strict=True)
        ]
        chosen = [one for one in mapped if one.key in self.chosen]
        drifts = dict(zip([one.key for one in chosen], self.faithfulness.drift(chosen), strict=True))
        return [
            self._measures(sample, one, label, drifts.get(one.key, {}))
            for sample, one, label in zip(samples, mapped, predicted, strict=True)
        ]

    def _measures(self, sample: Sample, image: MappedImage, predicted: int, drift: dict[str, Numbers]) -> ImageMeasures:
        maps = with_baselines(image.raw, image.pixels, self.settings.seed, sample.key)
        regions = regions_of(self.dataset, sample, self.config, self.rivals)
        numbers = {name: _numbers(maps, region, self.settings.tolerance) for name, region in regions.items()}
        if DISTINCTIVE in regions:
            numbers[FOCUS] = _focus(maps, regions[DISTINCTIVE], regions[OBJECT], self.settings.tolerance)
        blank = tuple(stage for stage, values in image.raw.items() if not values.any())
        removal: Numbers = {}
        if image.key in self.chosen:
            removal = self.faithfulness.removal(image)
            self._advance(1)
        return ImageMeasures(sample.key, sample.label, predicted, blank, numbers, removal, drift)


def _numbers(maps: Mapping[str, np.ndarray], region: np.ndarray, tolerance: float) -> Numbers:
    wide = widened(region, tolerance)
    found = {"area": float(region.mean())}
    for source, values in maps.items():
        found |= {f"{source}/pointing": pointing(values, wide), f"{source}/energy": energy(values, region)}
    return found


def _focus(maps: Mapping[str, np.ndarray], part: np.ndarray, whole: np.ndarray, tolerance: float) -> Numbers:
    """Return the numbers of a part of an object, of maps cut to that object; chance is the part's share of it."""
    cut = {source: np.where(whole, values, 0) for source, values in maps.items()}
    cut = {source: values if values.any() else whole.astype(float) for source, values in cut.items()}
    return _numbers(cut, part, tolerance) | {"area": float(part.sum() / whole.sum())}


def report(evaluator: MapEvaluator, measured: Sequence[ImageMeasures]) -> dict[str, Any]:
    """Return the summary of all images' measures, as JSON types.

    ``regions[region]`` has the number of ``images`` with that region and, by "SOURCE/MEASURE", ``mean``, ``low`` and
    ``high``: the mean over images and its 95 % interval. ``removal``, and ``drift`` by perturbation, have the same for
    the images on which faithfulness was measured. A source such as "S3 - random S3" is a paired difference. ``rivals``
    are the rivals of the classes with the parts in which they differ, ``pair`` the two most confused classes, ``blank``
    the share of zero maps by stage.
    """
    settings, names = evaluator.settings, evaluator.dataset.classes
    pair = most_confused(evaluator.rivals)
    groups: dict[str, list[Numbers]] = defaultdict(list)
    drifts: dict[str, list[Numbers]] = defaultdict(list)
    for one in measured:
        for name, numbers in one.regions.items():
            groups[name].append(numbers)
        if pair is not None and one.label in pair and DISTINCTIVE in one.regions:
            groups[PAIR].append(one.regions[DISTINCTIVE])
        for cell, numbers in one.drift.items():
            drifts[cell].append(numbers)
    return {
        "method": settings.method,
        "head": evaluator.head,
        "rival": settings.rival,
        "stages": list(settings.stages),
        "tolerance": settings.tolerance,
        "images": len(measured),
        "rivals": {
            names[label]: {"rival": names[rival.label], "parts": list(rival.parts), "confusion": rival.confusion}
            for label, rival in evaluator.rivals.items()
        },
        "pair": None if pair is None else [names[label] for label in pair],
        "blank": {stage: float(np.mean([stage in one.blank for one in measured])) for stage in settings.stages},
        "regions": {name: _group(numbers, settings, name) for name, numbers in groups.items()},
        "removal": _group([one.removal for one in measured if one.removal], settings, "removal"),
        "drift": {cell: _group(numbers, settings, cell) for cell, numbers in drifts.items()},
    }


def _group(numbers: Sequence[Numbers], settings: MeasureSettings, name: str) -> dict[str, Any] | None:
    """Return the number of images and the means of their numbers; None if there are no images."""
    if not numbers:
        return None
    compared = [with_differences(image, settings.stages) for image in numbers]
    return {"images": len(numbers), "numbers": means(compared, derive("bootstrap", settings.seed, name))}


# Means over images


def means(numbers: Sequence[Numbers], seed: int, confidence: float = 0.95) -> dict[str, dict[str, float]]:
    """Return the mean of each number over the images that have it, and its percentile bootstrap interval.

    All numbers share the same bootstrap samples, so that they can be compared.
    """
    keys = list(dict.fromkeys(key for image in numbers for key in image))
    values = np.array([[image.get(key, np.nan) for key in keys] for image in numbers])
    known = np.isfinite(values)
    values = np.where(known, values, 0)
    mean = values.sum(axis=0) / known.sum(axis=0)
    generator, even = np.random.default_rng(seed), np.full(len(values), 1 / len(values))
    drawn = []
    for _ in range(RESAMPLES // BLOCK):
        counts = generator.multinomial(len(values), even, size=BLOCK)
        weight = counts @ known
        drawn.append(np.where(weight > 0, counts @ values / np.maximum(weight, 1), mean))
    outside = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(drawn), [outside, 1 - outside], axis=0)
    ends = zip(keys, mean, low, high, strict=True)
    return {key: {"mean": float(middle), "low": float(a), "high": float(b)} for key, middle, a, b in ends}


def with_differences(numbers: Numbers, stages: Sequence[str]) -> Numbers:
    """Return an image's numbers plus differences: each stage − its noise, each stage − edges, first − last stage.

    They are named "S3 - random S3/energy", "S3 - edges/energy" and "S3 - S5/energy". Their means have the intervals of
    a paired comparison.
    """
    pairs = [(stage, baseline) for stage in stages for baseline in (random_of(stage), EDGES)]
    if len(stages) > 1:
        pairs.append((stages[0], stages[-1]))
    measures = dict.fromkeys(key.partition("/")[2] for key in numbers if "/" in key)
    return numbers | {
        f"{one} - {other}/{measure}": numbers[f"{one}/{measure}"] - numbers[f"{other}/{measure}"]
        for one, other in pairs
        for measure in measures
        if f"{one}/{measure}" in numbers and f"{other}/{measure}" in numbers
    }
