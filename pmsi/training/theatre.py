"""Recording the theatre of a training run (`pmsi.runs.theatre`): one pass over six test images at each moment."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from pmsi.base.errors import RunError
from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset
from pmsi.data.loading import EvaluationLoader
from pmsi.data.preprocessing import normalize
from pmsi.data.record import DataRecord, ImageRecord
from pmsi.explain.cam import cam
from pmsi.model import Recognizer
from pmsi.pictures.encoding import jpeg
from pmsi.runs import Run
from pmsi.runs.theatre import CELLS, GUESSES, IMAGES, MOMENTS, PICTURE, Moment, Theatre, theatre_of

QUALITY = 75
"""Of the pictures' JPEG."""


def chosen(images: Sequence[ImageRecord], count: int = IMAGES) -> list[int]:
    """Return the indices of ``count`` images, one of each class as far as it goes, chosen by their pixels alone."""
    seen: Counter[int] = Counter()
    ranks = {}
    for index in sorted(range(len(images)), key=lambda index: (images[index].digest, images[index].key)):
        label = images[index].label
        ranks[index] = (seen[label], images[index].digest)
        seen[label] += 1
    return sorted(ranks, key=ranks.__getitem__)[:count]


def moments_of(config: TrainConfig) -> set[int]:
    """Return the numbers of epochs after which a moment is kept: all that are evaluated, or `MOMENTS` of them."""
    tested = [0, *(n for n in range(1, config.epochs) if n % config.evaluate_every == 0), config.epochs]
    last = len(tested) - 1
    return set(tested) if last < MOMENTS else {tested[round(n * last / (MOMENTS - 1))] for n in range(MOMENTS)}


class Recording:
    """Records the theatre of a run, or goes on with what it has of the first ``reached`` epochs."""

    def __init__(
        self, run: Run, config: TrainConfig, dataset: Dataset, record: DataRecord, model: Recognizer, reached: int
    ) -> None:
        self.run, self.kept, self.device = run, moments_of(config), next(model.parameters()).device
        samples = [dataset.test[index] for index in chosen(record.test)]
        (self.pixels, labels), *_ = EvaluationLoader(dataset, samples, config, IMAGES)
        pictures = tuple(jpeg(_picture(pixels), QUALITY) for pixels in self.pixels)
        keys = tuple(sample.key for sample in samples)
        self.theatre = Theatre(dataset.classes, keys, tuple(labels.tolist()), pictures, model.primary)
        if (before := self._before()) is not None and before.keys == keys:
            moments = tuple(moment for moment in before.moments if moment.epoch <= reached)
            self.theatre = replace(self.theatre, moments=moments)

    def add(self, model: Recognizer, epoch: int) -> None:
        """Keep what the model says after ``epoch`` epochs, if that is a moment to keep; the model stays as it is."""
        if epoch not in self.kept:
            return
        images, truth = normalize(self.pixels.to(self.device)), torch.tensor(self.theatre.labels)
        was_training = model.training
        model.eval()
        try:
            found = cam(model, images, classes=truth.to(self.device))
        finally:
            model.train(was_training)
        best = {head: _best(logits) for head, logits in found.logits.items()}
        maps = {stage: _small(values) for stage, values in found.raw.items()}
        moment = Moment(
            epoch,
            {head: each.indices.tolist() for head, each in best.items()},
            {head: [[round(p, 4) for p in row] for row in each.values.tolist()] for head, each in best.items()},
            {stage: _scaled(values).cpu().numpy() for stage, values in maps.items()},
            {stage: values.amax((1, 2)).tolist() for stage, values in maps.items()},
        )
        earlier = [one for one in self.theatre.moments if one.epoch < epoch]
        self.theatre = replace(self.theatre, moments=(*earlier[: MOMENTS - 1], moment))
        self.theatre.write(self.run.folder)

    def _before(self) -> Theatre | None:
        try:
            return theatre_of(self.run)
        except RunError as error:
            self.run.append_log(f"{error} It begins anew.")
            return None


def _picture(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((PICTURE, PICTURE), Image.Resampling.LANCZOS)


def _best(logits: Tensor) -> torch.return_types.topk:
    """Return the best guesses of each image, with their probabilities, of logits (b, classes)."""
    return logits.float().softmax(1).topk(min(GUESSES, logits.shape[1]))


def _small(maps: Tensor) -> Tensor:
    """Return maps (b, h, w) of at most `CELLS` cells a side, each the mean of those it stands for."""
    sides = min(CELLS, maps.shape[1]), min(CELLS, maps.shape[2])
    return F.adaptive_avg_pool2d(maps.float().nan_to_num(0.0, 0.0, 0.0), sides)


def _scaled(maps: Tensor) -> Tensor:
    """Return maps (b, h, w) as uint8, 255 at the peak of each."""
    return (maps / maps.amax((1, 2), keepdim=True).clamp(min=1e-30) * 255).round().to(torch.uint8)
