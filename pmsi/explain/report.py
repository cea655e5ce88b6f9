"""Where a model looks on all test images: the pointing game and the energy in a region, by stage, with intervals.

Each image is explained for its true class. Beside each stage's numbers stand those of maps that know nothing
(`pmsi.explain.floors`). Some images of each class are put to trial too (`pmsi.explain.trials`). This module does not
know runs or files; what the numbers mean stands in `pmsi.explain.metrics`, and which regions there are in
`pmsi.explain.regions`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pmsi.base.seeding import derive
from pmsi.config import TrainConfig
from pmsi.data import limit
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.loading import EvaluationLoader
from pmsi.data.preprocessing import normalize
from pmsi.explain.averages import means, with_differences
from pmsi.explain.cam import cam
from pmsi.explain.floors import beside_floors
from pmsi.explain.metrics import energy, pointing, widened
from pmsi.explain.question import Numbers, Question
from pmsi.explain.regions import OBJECT, TELLERS, TELLING, Rival, most_confused, regions_of, rivals
from pmsi.explain.trials import Shown, Trials
from pmsi.folding import folded
from pmsi.model import Recognizer

PAIR = "pair"
"""The region of the telling parts, on images of the two most confused classes alone."""


FOCUS = "focus"
"""The region of the telling parts, for what of a map lies on the object: does it know the part, or the bird alone?"""


@dataclass(frozen=True)
class Look:
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


class Examination:
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
        question: Question,
        batch_size: int = 16,
        after_batch: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self.model, self.dataset, self.config, self.question = folded(model), dataset, config, question
        self.head = self.model.check_head(question.head if question.head is not None else model.primary)
        self.device = next(model.parameters()).device
        self.loader = EvaluationLoader(dataset, dataset.test, config, batch_size, device=self.device)
        tried = limit(dataset.test, question.trials_per_class, (question.seed, "trials"))
        self.trials, self.tried = Trials(self.model, self.head, question), {sample.key for sample in tried}
        self.after_batch, self._done = after_batch, 0
        self.rivals = self._rivals()

    def _rivals(self) -> dict[int, Rival]:
        if self.dataset.name not in TELLERS:  # nobody knows what tells its classes apart
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

    def looks(self) -> list[Look]:
        """Return what was measured on each test image."""
        found, self._done = [], 0
        for samples, images in self._batches():
            found += self._batch(samples, images)
            self._tell(1)
        return found

    def _batch(self, samples: Sequence[Sample], images: Tensor) -> list[Look]:
        about, labels = self.question, torch.tensor([sample.label for sample in samples], device=self.device)
        seen = normalize(images.to(self.device))
        maps = cam(self.model, seen, head=self.head, classes=labels, stages=about.stages, method=about.method)
        predicted = maps.logits[self.head].argmax(dim=1).tolist()
        raw = {stage: stack.float().cpu().numpy() for stage, stack in maps.raw.items()}
        shown = [
            Shown(sample.key, sample.label, image.permute(1, 2, 0).numpy(), {stage: raw[stage][i] for stage in raw})
            for i, (sample, image) in enumerate(zip(samples, images, strict=True))
        ]
        tried = [one for one in shown if one.key in self.tried]
        drifts = dict(zip([one.key for one in tried], self.trials.drift(tried), strict=True))
        return [
            self._look(sample, one, answer, drifts.get(one.key, {}))
            for sample, one, answer in zip(samples, shown, predicted, strict=True)
        ]

    def _look(self, sample: Sample, shown: Shown, predicted: int, drift: dict[str, Numbers]) -> Look:
        """Measure one image's maps, and those that know nothing."""
        maps = beside_floors(shown.raw, shown.pixels, self.question.seed, sample.key)
        regions = regions_of(self.dataset, sample, self.config, self.rivals)
        numbers = {name: _numbers(maps, region, self.question.tolerance) for name, region in regions.items()}
        if TELLING in regions:
            numbers[FOCUS] = _focus(maps, regions[TELLING], regions[OBJECT], self.question.tolerance)
        blank = tuple(stage for stage, values in shown.raw.items() if not values.any())
        return Look(sample.key, sample.label, predicted, blank, numbers, self._removal(shown), drift)

    def _removal(self, shown: Shown) -> Numbers:
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


def report(examination: Examination, looks: Sequence[Look]) -> dict[str, Any]:
    """Return what the looks of an examination say together, as JSON types.

    ``regions[region]`` has the number of ``images`` that show it and, by "SOURCE/MEASURE", ``mean``, ``low`` and
    ``high``: the mean over images and its 95 % interval; so have ``removal``, and ``drift`` by perturbation, about the
    images that were put to trial. A source such as "S3 - random S3" is a paired difference. ``rivals`` are the classes'
    names with the parts that tell them apart; ``pair`` the two that are confused most of all; ``blank`` the share of
    empty maps by stage.
    """
    dataset, question = examination.dataset, examination.question
    names, pair = dataset.classes, most_confused(examination.rivals)
    groups = {name: [look.regions[name] for look in looks if name in look.regions] for name in _named(looks)}
    if pair is not None:
        groups[PAIR] = [look.regions[TELLING] for look in looks if look.label in pair and TELLING in look.regions]
    cells = dict.fromkeys(cell for look in looks for cell in look.drift)
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
        "regions": {name: _group(numbers, question, name) for name, numbers in groups.items() if numbers},
        "removal": _group([look.removal for look in looks if look.removal], question, "removal"),
        "drift": {
            cell: _group([look.drift[cell] for look in looks if cell in look.drift], question, cell) for cell in cells
        },
    }


def _named(looks: Sequence[Look]) -> list[str]:
    return list(dict.fromkeys(name for look in looks for name in look.regions))


def _group(numbers: Sequence[Numbers], question: Question, name: str) -> dict[str, Any] | None:
    """Return what some images say together; None where there are none."""
    if not numbers:
        return None
    compared = [with_differences(image, question.stages) for image in numbers]
    return {"images": len(numbers), "numbers": means(compared, derive("bootstrap", question.seed, name))}
