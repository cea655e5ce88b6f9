"""Inference of the models of a sweep, batch after batch, while the next batch is prepared.

On a CPU each of several threads computes a few images by itself. So threads need not wait for each other at every
layer, and stay busy while pixels are prepared.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from pmsi.robustness.loader import ImageBatch, columns
from pmsi.robustness.models import Labels, SweptModel

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
    """The predictions of one model in one cell, collected batch after batch."""

    def __init__(self, model: SweptModel, pool: ThreadPoolExecutor) -> None:
        self.model, self.pool = model, pool
        self.predicted: Labels = {head: [] for head in model.heads}
        self.pixels: list[str] = []
        self.factors: list[dict[str, Any]] = []
        self._coming: deque[Sequence[Future[Labels]]] = deque()

    def add(self, batch: ImageBatch) -> None:
        """Start the prediction of a batch; blocks while IN_FLIGHT batches are pending."""
        images = batch.images
        share = max(1, PIXELS_AT_ONCE // images[0, 0].numel()) if self.model.device.type == "cpu" else len(images)
        self._coming.append([self.pool.submit(self.model.labels, part) for part in images.split(share)])
        self.pixels += batch.hashes
        self.factors += batch.factors
        self._collect(IN_FLIGHT)

    def stored(self) -> dict[str, Any]:
        """Return all predictions in the form of a predictions file; waits for them."""
        self._collect(0)
        return {"pixels": self.pixels, "factors": columns(self.factors), "predicted": self.predicted}

    def _collect(self, left: int) -> None:
        while len(self._coming) > left:
            for coming in self._coming.popleft():
                for head, labels in coming.result().items():
                    self.predicted[head] += labels
