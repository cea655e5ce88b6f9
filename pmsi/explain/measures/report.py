"""Where a model looks on all test images: how well its maps point, what they are worth, and how far they drift.

Each image is explained for its true class. Beside each stage's numbers stand those of the baselines
(`pmsi.explain.measures.baselines`). Some images of each class are put to trial, which takes many predictions: deletion,
insertion and ROAD (`pmsi.explain.measures.deletion`), and how far maps of one class move when the image is perturbed
(`pmsi.explain.measures.drift`). The report gives means over images with bootstrap intervals.
"""

import time
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
from pmsi.explain.cam import DEFAULT_STAGES, cam
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
    regions_of,
    rivals,
)
from pmsi.model import Recognizer
from pmsi.perturbations import perturb
from pmsi.perturbations.entries import severities_of

TOLERANCE = 15.0
"""Pixels by which a peak may miss its region: the pointing game's own."""

PAIR = "pair"
"""The region of the distinctive parts, on images of the two most confused classes alone."""


FOCUS = "focus"
"""The region of the distinctive parts, for what of a map lies on the object: the part, or the bird alone?"""

SHARES = tuple(k / 10 for k in range(11))
"""Shares of the pixels that are taken away, or shown: every other one of a single map's curve."""

ROAD_SHARES = (0.2, 0.4, 0.6, 0.8)
"""Shares of the pixels that ROAD takes away: the usual ones of its averages."""

BLOCK = 250
"""Bootstrap samples that are drawn at once, to spare memory."""

Numbers = dict[str, float]
"""By "SOURCE/MEASURE" a number about one image; one that has no value is left out.

Sources are a stage, the same with "random " before it, "edges" and "centre". Of a region, measures are "pointing" and
"energy" in [0, 1], and "area" without a source is the region's share of the image: chance. Of pixels taken away they
are "deletion" (less is better) and "insertion" in [0, 1], and "road" in [−1/2, 1/2]. Of two maps of an image they are
the fields of `pmsi.explain.measures.drift.Drift`.
"""


@dataclass(frozen=True)
class MeasureSettings:
    """What is asked: by which row of CAM_METHODS, of which output (by default the primary one), of which stages.

    ``tolerance`` is in pixels of the network's input; ``seed`` is that of every draw. ``faithfulness_per_class`` test images
    of each class are put to trial (`Faithfulness`), with the perturbations that ``drift`` lists
    as in "rotation=10,20".
    """

    method: str = "gradcam"
    head: str | None = None
    stages: tuple[str, ...] = DEFAULT_STAGES
    tolerance: float = TOLERANCE
    seed: int = 0
    faithfulness_per_class: int = 0
    drift: tuple[str, ...] = ()


# Trials: what takes many predictions of one image


@dataclass(frozen=True)
class MappedImage:
    """An image as the network saw it, (side, side, 3) uint8, its true class, and its maps (h_n, w_n) by stage."""

    key: str
    label: int
    pixels: np.ndarray
    raw: Mapping[str, np.ndarray]


class Faithfulness:
    """A model's maps on trial; ``head`` is the output that is explained."""

    def __init__(self, model: Recognizer, head: str, settings: MeasureSettings) -> None:
        self.model, self.head, self.settings = model, head, settings
        self.cells = [cell for entry in settings.drift for cell in severities_of(entry)]

    def removal(self, shown: MappedImage) -> Numbers:
        """Return the areas of deletion and insertion and the score of ROAD, for each source but the middle."""
        probability = probability_of(self.model, self.head, shown.label)
        return removal_numbers(probability, self._images([shown.pixels])[0], shown, self.settings.seed)

    def drift(self, batch: Sequence[MappedImage]) -> list[dict[str, Numbers]]:
        """Return for each image, by "PERTURBATION=SEVERITY", how far its maps of its true class move."""
        found: list[dict[str, Numbers]] = [{} for _ in batch]
        for name, severity in self.cells:
            cell = f"{name}={severity:g}"
            changed = [perturb(one.pixels, name, severity, seed=self.settings.seed, key=one.key)[0] for one in batch]
            for numbers, one, pixels, after in zip(found, batch, changed, self._maps(batch, changed), strict=True):
                numbers[cell] = self._moved(one, pixels, after, cell)
        return found

    def _maps(self, batch: Sequence[MappedImage], changed: Sequence[np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Return the maps of images for the true class of those that they come from."""
        if not batch:
            return []
        images = self._images(changed)
        labels, about = torch.tensor([one.label for one in batch], device=images.device), self.settings
        maps = cam(self.model, images, head=self.head, classes=labels, stages=about.stages, method=about.method)
        stacks = {stage: stack.float().cpu().numpy() for stage, stack in maps.raw.items()}
        return [{stage: stack[i] for stage, stack in stacks.items()} for i in range(len(batch))]

    def _moved(self, one: MappedImage, pixels: np.ndarray, after: Mapping[str, np.ndarray], cell: str) -> Numbers:
        """Return how far an image's maps moved; of noise, how far two draws are apart that have nothing in common."""
        seed = (self.settings.seed, one.key)
        found = drift(edge_map(one.pixels), edge_map(pixels)).numbers(EDGES)
        for stage, before in one.raw.items():
            draws = (noise(stage, before.shape, *seed, *again) for again in ((), (cell,)))
            found |= drift(before, after[stage]).numbers(stage)
            found |= drift(*draws).numbers(random_of(stage))
        return found

    def _images(self, pictures: Sequence[np.ndarray]) -> Tensor:
        """Return pictures (side, side, 3) uint8 as one normalised batch on the model's device."""
        stack = torch.stack([to_tensor(pixels) for pixels in pictures])
        return normalize(stack.to(next(self.model.parameters()).device))


def removal_numbers(probability: Probability, image: Tensor, shown: MappedImage, seed: int) -> Numbers:
    """Return what is said of an image's maps by ``probability`` as pixels of ``image``, normalised, are taken away."""
    found: Numbers = {}
    for source, values in with_baselines(shown.raw, shown.pixels, seed, shown.key).items():
        if source == CENTRE:  # a handful of pixels: it ranks no others
            continue
        measures = _removal_of(probability, image, values, shown.key, seed)
        found |= {f"{source}/{measure}": value for measure, value in measures.items()}
    return found


def _removal_of(probability: Probability, image: Tensor, values: np.ndarray, key: str, seed: int) -> Numbers:
    """Return the numbers of one map (side, side), by measure."""
    order = ranking(values, seed, key)
    return {
        "deletion": deletion(probability, image, order, SHARES).area,
        "insertion": insertion(probability, image, order, SHARES).area,
        "road": road(probability, image, order, seed, key, shares=ROAD_SHARES).score,
    }


def removal_seconds(model: Recognizer, size: int, stages: Sequence[str]) -> float:
    """Return about how many seconds `Faithfulness.removal` takes for an image of size × size, by a trial of one source."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    image = normalize(to_tensor(pixels)[None].to(next(model.parameters()).device))[0]
    began = time.perf_counter()
    _removal_of(probability_of(model, model.primary, 0), image, edge_map(pixels), "", 0)
    return (time.perf_counter() - began) * (2 * len(stages) + 1)  # each stage and its noise, and the edges


# The data set


@dataclass(frozen=True)
class ImageMeasures:
    """What was measured on one image: by region its numbers, and the stages whose map is blank.

    ``removal`` and, by perturbation, ``drift`` are empty where the image was not put to trial.
    """

    key: str
    label: int
    predicted: int
    blank: tuple[str, ...]
    regions: dict[str, Numbers]
    removal: Numbers = field(default_factory=dict)
    drift: dict[str, Numbers] = field(default_factory=dict)


class MapEvaluator:
    """A model's maps of the test images of a data set, one measure after another. ``looks`` does the work.

    ``config`` is the one that the model was trained with: its preprocessing is used. ``after_batch(done, total)`` is
    called as the work goes on: 0 are done while the model is asked what it confuses. A batch counts 1, and so does an
    image that is put to trial.
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
        tried = limit(dataset.test, settings.faithfulness_per_class, (settings.seed, "trials"))
        self.trials, self.tried = Faithfulness(self.model, self.head, settings), {sample.key for sample in tried}
        self.after_batch, self._done = after_batch, 0
        self.rivals = self._rivals()

    def _rivals(self) -> dict[int, Rival]:
        if self.dataset.name not in DISTINCTIVE_PARTS:
            return {}
        given = []
        with torch.inference_mode():
            for _, images in self._batches():
                given.append(self.model(normalize(images.to(self.device)))[self.head].float().softmax(dim=1).cpu())
                self._tell(0)
        labels = np.array([sample.label for sample in self.dataset.test])
        return rivals(self.dataset, labels, torch.cat(given).numpy())

    def _batches(self) -> Iterator[tuple[Sequence[Sample], Tensor]]:
        """Yield samples and their images (b, 3, side, side) uint8, in the order of the test images."""
        first = 0
        for images, labels in self.loader:
            yield self.dataset.test[first : first + len(labels)], images
            first += len(labels)

    def _tell(self, more: int) -> None:
        self._done += more
        self.after_batch(self._done, self.loader.batches + len(self.tried))

    def measure(self) -> list[ImageMeasures]:
        """Return what was measured on each test image."""
        found, self._done = [], 0
        for samples, images in self._batches():
            found += self._batch(samples, images)
            self._tell(1)
        return found

    def _batch(self, samples: Sequence[Sample], images: Tensor) -> list[ImageMeasures]:
        about, labels = self.settings, torch.tensor([sample.label for sample in samples], device=self.device)
        seen = normalize(images.to(self.device))
        maps = cam(self.model, seen, head=self.head, classes=labels, stages=about.stages, method=about.method)
        predicted = maps.logits[self.head].argmax(dim=1).tolist()
        raw = {stage: stack.float().cpu().numpy() for stage, stack in maps.raw.items()}
        shown = [
            MappedImage(
                sample.key, sample.label, image.permute(1, 2, 0).numpy(), {stage: raw[stage][i] for stage in raw}
            )
            for i, (sample, image) in enumerate(zip(samples, images, strict=True))
        ]
        tried = [one for one in shown if one.key in self.tried]
        drifts = dict(zip([one.key for one in tried], self.trials.drift(tried), strict=True))
        return [
            self._look(sample, one, answer, drifts.get(one.key, {}))
            for sample, one, answer in zip(samples, shown, predicted, strict=True)
        ]

    def _look(self, sample: Sample, shown: MappedImage, predicted: int, drift: dict[str, Numbers]) -> ImageMeasures:
        """Measure one image's maps, and its baselines."""
        maps = with_baselines(shown.raw, shown.pixels, self.settings.seed, sample.key)
        regions = regions_of(self.dataset, sample, self.config, self.rivals)
        numbers = {name: _numbers(maps, region, self.settings.tolerance) for name, region in regions.items()}
        if DISTINCTIVE in regions:
            numbers[FOCUS] = _focus(maps, regions[DISTINCTIVE], regions[OBJECT], self.settings.tolerance)
        blank = tuple(stage for stage, values in shown.raw.items() if not values.any())
        return ImageMeasures(sample.key, sample.label, predicted, blank, numbers, self._removal(shown), drift)

    def _removal(self, shown: MappedImage) -> Numbers:
        if shown.key not in self.tried:
            return {}
        found = self.trials.removal(shown)
        self._tell(1)
        return found


def _numbers(maps: Mapping[str, np.ndarray], region: np.ndarray, tolerance: float) -> Numbers:
    wide = widened(region, tolerance)
    found = {"area": float(region.mean())}
    for source, values in maps.items():
        found |= {f"{source}/pointing": pointing(values, wide), f"{source}/energy": energy(values, region)}
    return found


def _focus(maps: Mapping[str, np.ndarray], part: np.ndarray, whole: np.ndarray, tolerance: float) -> Numbers:
    """Return the numbers of a part of an object for the maps on that object alone; chance is the part's share of it."""
    cut = {source: np.where(whole, values, 0) for source, values in maps.items()}
    cut = {source: values if values.any() else whole.astype(float) for source, values in cut.items()}
    return _numbers(cut, part, tolerance) | {"area": float(part.sum() / whole.sum())}


def report(evaluator: MapEvaluator, looks: Sequence[ImageMeasures]) -> dict[str, Any]:
    """Return what the looks of an evaluator say together, as JSON types.

    ``regions[region]`` has the number of ``images`` that show it and, by "SOURCE/MEASURE", ``mean``, ``low`` and
    ``high``: the mean over images and its 95 % interval; so have ``removal``, and ``drift`` by perturbation, about the
    images that were put to trial. A source such as "S3 - random S3" is a paired difference. ``rivals`` are the classes'
    names with the parts that tell them apart; ``pair`` the two that are confused most of all; ``blank`` the share of
    empty maps by stage.
    """
    dataset, settings = evaluator.dataset, evaluator.settings
    names, pair = dataset.classes, most_confused(evaluator.rivals)
    groups = {name: [look.regions[name] for look in looks if name in look.regions] for name in _named(looks)}
    if pair is not None:
        groups[PAIR] = [
            look.regions[DISTINCTIVE] for look in looks if look.label in pair and DISTINCTIVE in look.regions
        ]
    cells = dict.fromkeys(cell for look in looks for cell in look.drift)
    return {
        "method": settings.method,
        "head": evaluator.head,
        "stages": list(settings.stages),
        "tolerance": settings.tolerance,
        "images": len(looks),
        "rivals": {
            names[label]: {"rival": names[rival.label], "parts": list(rival.parts), "confusion": rival.confusion}
            for label, rival in evaluator.rivals.items()
        },
        "pair": None if pair is None else [names[label] for label in pair],
        "blank": {stage: float(np.mean([stage in look.blank for look in looks])) for stage in settings.stages},
        "regions": {name: _group(numbers, settings, name) for name, numbers in groups.items() if numbers},
        "removal": _group([look.removal for look in looks if look.removal], settings, "removal"),
        "drift": {
            cell: _group([look.drift[cell] for look in looks if cell in look.drift], settings, cell) for cell in cells
        },
    }


def _named(looks: Sequence[ImageMeasures]) -> list[str]:
    return list(dict.fromkeys(name for look in looks for name in look.regions))


def _group(numbers: Sequence[Numbers], settings: MeasureSettings, name: str) -> dict[str, Any] | None:
    """Return what some images say together; None where there are none."""
    if not numbers:
        return None
    compared = [with_differences(image, settings.stages) for image in numbers]
    return {"images": len(numbers), "numbers": means(compared, derive("bootstrap", settings.seed, name))}


# Means over images


def means(numbers: Sequence[Numbers], seed: int, confidence: float = 0.95) -> dict[str, dict[str, float]]:
    """Return for each number its mean over images and the percentile bootstrap interval of that mean.

    All numbers share the same samples of images, so that they are compared on the same ground. An image without a
    number does not count for it.
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
    """Return an image's numbers with what each stage has over its noise and the edges, and the first over the last.

    They are called "S3 - random S3/energy", "S3 - edges/energy" and "S3 - S5/energy". Their intervals are those of a
    paired comparison, which two intervals side by side are not.
    """
    pairs = [pair for stage in stages for pair in ((stage, random_of(stage)), (stage, EDGES))]
    pairs += [(stages[0], stages[-1])] * (len(stages) > 1)
    measures = dict.fromkeys(key.partition("/")[2] for key in numbers if "/" in key)
    return numbers | {
        f"{one} - {other}/{measure}": numbers[f"{one}/{measure}"] - numbers[f"{other}/{measure}"]
        for one, other in pairs
        for measure in measures
        if f"{one}/{measure}" in numbers and f"{other}/{measure}" in numbers
    }
