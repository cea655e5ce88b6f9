"""Means over images of what was measured on each, with bootstrap intervals, and what maps have over their floors."""

from collections.abc import Sequence

import numpy as np

from pmsi.base.statistics import RESAMPLES
from pmsi.explain.floors import EDGES, random_of
from pmsi.explain.question import Numbers

BLOCK = 250
"""Bootstrap samples that are drawn at once, to spare memory."""


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
