"""Where a model looks on all test images: the pointing game and the energy in a region, by stage, with intervals.

Each image is explained for its true class. Beside each stage's numbers stand those of maps that know nothing: noise at
the stage's own resolution, the image's edges, its middle. This module does not know runs or files; what the numbers
mean stands in `pmsi.explain.metrics`, and which regions there are in `pmsi.explain.regions`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import EvaluationLoader
from pmsi.data.preprocessing import normalize
from pmsi.explain.cam import DEFAULT_STAGES, cam, resize
from pmsi.explain.folded import folded
from pmsi.explain.metrics import centre_map, edge_map, energy, pointing, random_map, widened
from pmsi.explain.regions import TELLERS, TELLING, Rival, most_confused, regions_of, rivals
from pmsi.model import Recognizer
from pmsi.seeding import derive, numpy_generator
from pmsi.statistics import RESAMPLES

TOLERANCE = 15.0
"""Pixels by which a peak may miss its region: the pointing game's own."""

PAIR = "pair"
"""The region of the telling parts, on images of the two most confused classes alone."""

BLOCK = 250
"""Bootstrap samples that are drawn at once, to spare memory."""

Numbers = dict[str, float]
"""By "SOURCE/MEASURE" a number in [0, 1]. Sources are a stage, the same with "random " before it, "edges" and "centre";
measures are "pointing" and "energy". "area" is the region's share of the image: chance."""


@dataclass(frozen=True)
class Question:
    """What is asked: by which row of CAM_METHODS, of which output (by default the primary one), of which stages.

    ``tolerance`` is in pixels of the network's input; ``seed`` is that of the random maps and of the bootstrap.
    """

    method: str = "gradcam"
    head: str | None = None
    stages: tuple[str, ...] = DEFAULT_STAGES
    tolerance: float = TOLERANCE
    seed: int = 0


@dataclass(frozen=True)
class Look:
    """What was measured on one image: by region its numbers, and the stages whose map is blank."""

    key: str
    label: int
    predicted: int
    blank: tuple[str, ...]
    regions: dict[str, Numbers]


class Examination:
    """A model's maps of the test images of a data set, one measure after another. ``looks`` does the work.

    ``config`` is the one that the model was trained with: its preprocessing is used. ``after_batch(done, total)`` is
    called as the work goes on: 0 are done while the model is asked what it confuses.
    """

    def __init__(
        self,
        model: Recognizer,
        dataset: Dataset,
        config: TrainConfig,
        question: Question,
        batch_size: int = 16,
        after_batch: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.model, self.dataset, self.config, self.question = folded(model), dataset, config, question
        self.head = self.model.check_head(question.head if question.head is not None else model.primary)
        self.device = next(model.parameters()).device
        self.loader = EvaluationLoader(dataset, dataset.test, config, batch_size, device=self.device)
        self.after_batch = after_batch
        self.rivals = self._rivals()

    def _rivals(self) -> dict[int, Rival]:
        if self.dataset.name not in TELLERS:  # nobody knows what tells its classes apart
            return {}
        given = []
        with torch.inference_mode():
            for _, images in self._batches():
                given.append(self.model(normalize(images.to(self.device)))[self.head].float().softmax(dim=1).cpu())
                self.after_batch(0, self.loader.batches)
        labels = np.array([sample.label for sample in self.dataset.test])
        return rivals(self.dataset, labels, torch.cat(given).numpy())

    def _batches(self) -> Iterator[tuple[Sequence[Sample], Tensor]]:
        """Yield samples and their images (b, 3, side, side) uint8, in the order of the test images."""
        first = 0
        for images, labels in self.loader:
            yield self.dataset.test[first : first + len(labels)], images
            first += len(labels)

    def looks(self) -> list[Look]:
        """Return what was measured on each test image."""
        found = []
        for done, (samples, images) in enumerate(self._batches(), 1):
            found += self._batch(samples, images)
            self.after_batch(done, self.loader.batches)
        return found

    def _batch(self, samples: Sequence[Sample], images: Tensor) -> list[Look]:
        about, labels = self.question, torch.tensor([sample.label for sample in samples], device=self.device)
        shown = normalize(images.to(self.device))
        maps = cam(self.model, shown, head=self.head, classes=labels, stages=about.stages, method=about.method)
        predicted = maps.logits[self.head].argmax(dim=1).tolist()
        raw = {stage: stack.float().cpu() for stage, stack in maps.raw.items()}
        return [
            self._look(
                sample, image.permute(1, 2, 0).numpy(), {stage: stack[i] for stage, stack in raw.items()}, answer
            )
            for i, (sample, image, answer) in enumerate(zip(samples, images, predicted, strict=True))
        ]

    def _look(self, sample: Sample, pixels: np.ndarray, raw: Mapping[str, Tensor], predicted: int) -> Look:
        """Measure one image's maps, (h_n, w_n) by stage, and those that know nothing."""
        side = self.config.image_size
        maps = {stage: _enlarged(values, side) for stage, values in raw.items()}
        for stage, values in raw.items():
            generator = numpy_generator("random map", self.question.seed, sample.key, stage)
            noise = random_map((values.shape[0], values.shape[1]), generator)
            maps[f"random {stage}"] = _enlarged(torch.from_numpy(noise), side)
        maps |= {"edges": edge_map(pixels), "centre": centre_map((side, side))}
        regions = regions_of(self.dataset, sample, self.config, self.rivals)
        numbers = {name: _numbers(maps, region, self.question.tolerance) for name, region in regions.items()}
        blank = tuple(stage for stage, values in raw.items() if not values.any())
        return Look(sample.key, sample.label, predicted, blank, numbers)


def _enlarged(values: Tensor, side: int) -> np.ndarray:
    enlarged: np.ndarray = resize(values[None], side)[0].numpy()
    return enlarged


def _numbers(maps: Mapping[str, np.ndarray], region: np.ndarray, tolerance: float) -> Numbers:
    wide = widened(region, tolerance)
    found = {"area": float(region.mean())}
    for source, values in maps.items():
        found |= {f"{source}/pointing": pointing(values, wide), f"{source}/energy": energy(values, region)}
    return found


def report(examination: Examination, looks: Sequence[Look]) -> dict[str, Any]:
    """Return what the looks of an examination say together, as JSON types.

    ``regions[region]`` has the number of ``images`` that show it and, by "SOURCE/MEASURE", ``mean``, ``low`` and
    ``high``: the mean over images and its 95 % interval. ``rivals`` are the classes' names with the parts that tell
    them apart; ``pair`` the two that are confused most of all; ``blank`` the share of empty maps by stage.
    """
    dataset, question = examination.dataset, examination.question
    names, pair = dataset.classes, most_confused(examination.rivals)
    groups = {name: [look.regions[name] for look in looks if name in look.regions] for name in _named(looks)}
    if pair is not None:
        groups[PAIR] = [look.regions[TELLING] for look in looks if look.label in pair and TELLING in look.regions]
    return {
        "method": question.method,
        "head": examination.head,
        "stages": list(question.stages),
        "tolerance": question.tolerance,
        "images": len(looks),
        "rivals": {
            names[label]: {"rival": names[rival.label], "parts": list(rival.parts), "confusion": rival.confusion}
            for label, rival in examination.rivals.items()
        },
        "pair": None if pair is None else [names[label] for label in pair],
        "blank": {stage: float(np.mean([stage in look.blank for look in looks])) for stage in question.stages},
        "regions": {
            name: {"images": len(numbers), "numbers": means(numbers, derive("bootstrap", question.seed, name))}
            for name, numbers in groups.items()
            if numbers
        },
    }


def _named(looks: Sequence[Look]) -> list[str]:
    return list(dict.fromkeys(name for look in looks for name in look.regions))


def means(numbers: Sequence[Numbers], seed: int, confidence: float = 0.95) -> dict[str, dict[str, float]]:
    """Return for each number its mean over images and the percentile bootstrap interval of that mean.

    All numbers share the same samples of images, so that they are compared on the same ground.
    """
    keys = list(numbers[0])
    values = np.array([[image[key] for key in keys] for image in numbers])
    generator, even = np.random.default_rng(seed), np.full(len(values), 1 / len(values))
    drawn = [generator.multinomial(len(values), even, size=BLOCK) @ values for _ in range(RESAMPLES // BLOCK)]
    outside = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(drawn) / len(values), [outside, 1 - outside], axis=0)
    ends = zip(keys, values.mean(axis=0), low, high, strict=True)
    return {key: {"mean": float(mean), "low": float(a), "high": float(b)} for key, mean, a, b in ends}
