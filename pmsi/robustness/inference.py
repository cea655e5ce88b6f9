"""Inference of the models of a sweep, batch after batch, while the next batch is prepared.

On a CPU each of several threads computes a few images by itself. So threads need not wait for each other at every
layer, and stay busy while pixels are prepared.
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch

from pmsi.robustness.loader import ImageBatch, columns
from pmsi.robustness.models import Logits, SweptModel
from pmsi.uncertainty.measures import Answers, joined, packed, stored
from pmsi.uncertainty.scores import OF_LOGITS
from pmsi.uncertainty.temperature import log_probabilities

Item = TypeVar("Item")
PIXELS_AT_ONCE = 2 * 448**2
"""Pixels in a CPU thread's batch. Small batches keep activations in the cache: with eight images of 448 px, an image
took a sixth longer than with two."""

IN_FLIGHT = 2
"""Batches of a model whose predictions may be pending."""


@contextmanager
def inference_threads(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Yield the threads of inference: on a CPU as many as torch has, each with one torch thread; else a single one.

    Afterwards torch has its former number of threads.
    """
    count = torch.get_num_threads()
    on_cpu = device.type == "cpu"
    pool = ThreadPoolExecutor(count, "inference", torch.set_num_threads, (1,)) if on_cpu else ThreadPoolExecutor(1)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(count)


def prefetched(items: Iterator[Item]) -> Iterator[Item]:
    """Yield the same items, each computed in a thread while the caller uses the one before."""
    with ThreadPoolExecutor(1, "prefetch") as maker:
        coming: Future[Item | None] = maker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, items, None)
            yield item


class Predictions:
    """The predictions of one model in one cell, collected batch after batch; ``labels`` (n,) are the true ones.

    Beside the predicted labels it keeps what the measures of calibration and the scores of unknown images need.
    """

    def __init__(self, model: SweptModel, pool: ThreadPoolExecutor, labels: np.ndarray) -> None:
        self.model, self.pool, self.labels = model, pool, labels
        self.predicted: dict[str, list[int]] = {head: [] for head in model.heads}
        self.kinds = {"raw": dict[str, float]()} | ({"calibrated": model.temperatures} if model.temperatures else {})
        self.answers: dict[str, dict[str, list[Answers]]] = {kind: defaultdict(list) for kind in self.kinds}
        self.scores: dict[str, dict[str, list[np.ndarray]]] = {name: defaultdict(list) for name in OF_LOGITS}
        self.pixels: list[str] = []
        self.factors: list[dict[str, Any]] = []
        self._coming: deque[Sequence[Future[Logits]]] = deque()

    def add(self, batch: ImageBatch) -> None:
        """Start the prediction of a batch; blocks while IN_FLIGHT batches are pending."""
        images = batch.images
        share = max(1, PIXELS_AT_ONCE // images[0, 0].numel()) if self.model.device.type == "cpu" else len(images)
        self._coming.append([self.pool.submit(self.model.logits, part) for part in images.split(share)])
        self.pixels += batch.hashes
        self.factors += batch.factors
        self._collect(IN_FLIGHT)

    def stored(self) -> dict[str, Any]:
        """Return all predictions in the form of a predictions file; waits for them."""
        self._collect(0)
        return {
            "pixels": self.pixels,
            "factors": columns(self.factors),
            "predicted": self.predicted,
            "answers": {
                kind: stored({head: joined(parts) for head, parts in heads.items()})
                for kind, heads in self.answers.items()
            },
            "scores": {
                name: {head: packed(np.concatenate(parts)) for head, parts in heads.items()}
                for name, heads in self.scores.items()
            },
        }

    def _collect(self, left: int) -> None:
        while len(self._coming) > left:
            for coming in self._coming.popleft():
                self._add(coming.result())

    def _add(self, found: Logits) -> None:
        done = len(self.predicted[self.model.heads[0]])
        for head, logits in found.items():
            labels = self.labels[done : done + len(logits)]
            self.predicted[head] += logits.argmax(axis=1).tolist()
            for kind, temperatures in self.kinds.items():
                log_p = log_probabilities(logits, temperatures.get(head, 1.0))
                self.answers[kind][head].append(Answers.of(log_p, labels))
            for name, of in OF_LOGITS.items():
                self.scores[name][head].append(of(logits))
