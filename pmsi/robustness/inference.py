"""Inference of the models of a sweep, batch after batch, while the next batch is being made.

On a CPU several threads compute, each a few images on its own: so no layer waits for the other threads, and none of
them idles while pixels are made.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

from pmsi.data.preprocessing import normalize
from pmsi.model import Recognizer
from pmsi.robustness.loader import ImageBatch, columns
from pmsi.robustness.models import SweptModel

Item = TypeVar("Item")
Labels = dict[str, list[int]]
"""By head, the label answered for each image."""

AT_ONCE, IN_FLIGHT = 2 * 448**2, 2
"""Pixels that a thread of a CPU takes at once, so that what one layer hands to the next is still in its cache (eight
images of 448 px took a sixth longer each than two); batches of a run that may wait for their answers."""


@contextmanager
def inference_threads(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Give the threads of inference: on a CPU as many as torch has, of one thread of torch each; else one.

    Torch has its own number of threads again afterwards.
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
    """Yield the same items, each made in a thread while the one before it is used."""
    with ThreadPoolExecutor(1, "making") as maker:
        coming: Future[Item | None] = maker.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = maker.submit(next, items, None)
            yield item


class Predictions:
    """What one run answers in one cell, batch after batch."""

    def __init__(self, model: SweptModel, pool: ThreadPoolExecutor) -> None:
        self.model, self.device, self.pool = model.folded, model.device, pool
        self.predicted: Labels = {head: [] for head in self.model.heads}
        self.pixels: list[str] = []
        self.factors: list[dict[str, Any]] = []
        self._coming: deque[Sequence[Future[Labels]]] = deque()

    def add(self, shown: ImageBatch) -> None:
        """Have a batch answered; waits where too many are on the way."""
        images = shown.images
        share = max(1, AT_ONCE // images[0, 0].numel()) if self.device.type == "cpu" else len(images)
        self._coming.append([self.pool.submit(_labels, self.model, part) for part in images.split(share)])
        self.pixels += shown.hashes
        self.factors += shown.factors
        self._collect(IN_FLIGHT)

    def stored(self) -> dict[str, Any]:
        """Return all answers as a file of predictions has them, once they are there."""
        self._collect(0)
        return {"pixels": self.pixels, "factors": columns(self.factors), "predicted": self.predicted}

    def _collect(self, left: int) -> None:
        while len(self._coming) > left:
            for coming in self._coming.popleft():
                for head, labels in coming.result().items():
                    self.predicted[head] += labels


@torch.inference_mode()
def _labels(model: Recognizer, images: Tensor) -> Labels:
    return {head: logits.argmax(dim=1).tolist() for head, logits in model(normalize(images)).items()}
