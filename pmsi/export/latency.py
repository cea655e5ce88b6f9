"""How long models take for one image on this machine, measured side by side."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from pmsi.base.seeding import numpy_generator

WARM_UP = 3
"""Calls before the first one that counts: a network's first ones are slower."""


@dataclass(frozen=True)
class Timed:
    """A model to time. ``answer(image)`` takes (3, side, side) uint8 and returns when the answer is there.

    ``accuracy`` (0–1, with its number of test images) and ``macs`` (multiply-adds of an image) are None where unknown.
    """

    name: str
    side: int
    engine: str
    answer: Callable[..., object]
    bytes: int
    macs: int | None = None
    accuracy: float | None = None
    test_images: int | None = None


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one image: the median, and the quartiles of all rounds."""

    model: Timed
    median_ms: float
    low_ms: float
    high_ms: float


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch compute with some threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(models: Sequence[Timed], threads: int, rounds: int) -> list[Latency]:
    """Return the latency of each model, one image at a time.

    Rounds are interleaved: each asks every model once, so that what slows the machine slows all of them.
    """
    generator = numpy_generator("latency")
    images = [generator.integers(0, 256, (3, model.side, model.side), dtype="uint8") for model in models]
    taken: list[list[float]] = [[] for _ in models]
    with torch_threads(threads):
        for turn in range(-WARM_UP, rounds):
            for model, image, times in zip(models, images, taken, strict=True):
                began = time.perf_counter()
                model.answer(image)
                if turn >= 0:
                    times.append(1000 * (time.perf_counter() - began))
    return [_latency(model, times) for model, times in zip(models, taken, strict=True)]


def _latency(model: Timed, times: list[float]) -> Latency:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive") if len(times) > 1 else times * 3
    return Latency(model, median, low, high)
