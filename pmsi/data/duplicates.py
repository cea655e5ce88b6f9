"""Duplicates: pairs of images that are the same picture, in different splits or classes of a data set.

Exact duplicates have the same pixels. Near ones, such as a picture saved again or made smaller, look alike by
a perceptual hash of 128 bits, the signs of the image's lowest frequencies (Zauner, "Implementation and benchmarking of
perceptual image hash functions", 2010), and by their colours on a grid of 4 × 4.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import NamedTuple

import numpy as np
from PIL import Image

from pmsi.data.dataset import Dataset, Sample

SIDE, FREQUENCIES, GRID = 32, 16, 4
BANDS, BITS = 8, 16
"""The hash is compared in bands: of two hashes with at most `MOST_BITS` different bits, a band differs in one bit or
none, so only images that share such a band are compared."""

MOST_BITS = 2 * BANDS - 1
"""Of 128. Photos of birds that were saved again or made four times smaller differ in at most 10, cropped by 2 % in at
most 16, and different photos in 24 or more."""

LEAST_COLOUR, MOST_COLOUR, OF_CONTRAST = 4, 24, 0.35
"""Largest mean difference of the colours, of 255: for an image of one colour, for any, and as a share of the standard
deviation of its colours besides the first. A tenth brighter is 15; most of the sky is like any other sky."""

FLATTEST = 2.0
"""Smallest standard deviation of the grey values: an image of one colour is like any other one."""

MOST_PAIRS = 100_000
"""The search ends with as many pairs, as in frames of one film."""

CHUNK = 2_000_000
"""Pairs that are compared at once, to limit memory."""

_COSINES = np.cos(np.pi / SIDE * (np.arange(SIDE) + 0.5) * np.arange(FREQUENCIES)[:, None])
_LOWEST = sorted((i + j, i, j) for i in range(FREQUENCIES) for j in range(FREQUENCIES) if i + j)[: BANDS * BITS]
_ROWS, _COLUMNS = [i for _, i, _ in _LOWEST], [j for _, _, j in _LOWEST]


def look_of(image: Image.Image) -> str:
    """Return 64 bytes as hexadecimal digits, by which similar RGB images are found; "" for an image of one colour."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    grey = np.asarray(small.convert("L"), dtype=np.float64)
    if grey.std() < FLATTEST:
        return ""
    waves = (_COSINES @ grey @ _COSINES.T)[_ROWS, _COLUMNS]  # the two-dimensional cosine transform
    colours = small.resize((GRID, GRID), Image.Resampling.BOX)
    return np.packbits(waves > np.median(waves)).tobytes().hex() + colours.tobytes().hex()


class Member(NamedTuple):
    """One image of a pair: its key, its split, "train" or "test", and its class."""

    key: str
    split: str
    class_name: str

    @property
    def words(self) -> str:
        """The key, with the split and the class in brackets."""
        return f"{self.key} ({self.split}, {self.class_name})"


class Pair(NamedTuple):
    """Two images that are the same picture; ``exact`` if they have the same pixels."""

    a: Member
    b: Member
    exact: bool


@dataclass(frozen=True)
class Duplicates:
    """The pairs across splits or classes, training images first; not ``complete`` if there are more.

    ``leaked`` is the number of test images that are training images too. Of several images with the same pixels in one
    class and split, the first stands for all in ``pairs``.
    """

    pairs: tuple[Pair, ...]
    leaked: int = 0
    complete: bool = True

    @property
    def contradicted(self) -> int:
        """The number of pairs in two classes."""
        return sum(pair.a.class_name != pair.b.class_name for pair in self.pairs)

    @property
    def words(self) -> str:
        """The numbers in a sentence, or "" if there is no pair."""
        if not self.pairs:
            return ""
        exact = sum(pair.exact for pair in self.pairs)
        more = "" if self.complete else "more than "
        return (
            f"Pairs of images that are the same picture: {more}{len(self.pairs):,} ({exact:,} with the same pixels). "
            f"Test images that are training images too: {self.leaked:,}. Pairs in two classes: {self.contradicted:,}."
        )


def find_duplicates(dataset: Dataset) -> Duplicates:
    """Return the pairs of the same picture across the splits and classes of a data set.

    Near duplicates are found among images that have been checked; of drawn ones, only exact ones.
    """
    groups: dict[tuple[str, str, int], list[Sample]] = defaultdict(list)
    for split in ("train", "test"):
        for sample in dataset.split(split):
            groups[sample.digest or sample.key, split, sample.label].append(sample)
    members, found = list(groups), list(islice(_pairs(list(groups), list(groups.values())), MOST_PAIRS + 1))
    pairs, complete = sorted(found[:MOST_PAIRS]), len(found) <= MOST_PAIRS
    leaked = {j for i, j in pairs if members[i][1] != members[j][1]}
    named = [Member(same[0].key, split, dataset.classes[label]) for (_, split, label), same in groups.items()]
    return Duplicates(
        tuple(Pair(named[i], named[j], members[i][0] == members[j][0]) for i, j in pairs),
        sum(len(groups[members[j]]) for j in leaked),
        complete,
    )


def _pairs(places: Sequence[tuple[str, str, int]], groups: Sequence[list[Sample]]) -> Iterator[tuple[int, int]]:
    """Yield each pair of groups, of images with the same pixels, that are the same picture; smaller numbers first."""
    by_digest = defaultdict(list)
    for i, (digest, _, _) in enumerate(places):
        by_digest[digest].append(i)
    seen = {pair for same in by_digest.values() for pair in islice(combinations(same, 2), MOST_PAIRS + 1)}
    yield from seen
    looking = [i for i, same in enumerate(groups) if same[0].look]
    looks = np.array([list(bytes.fromhex(groups[i][0].look)) for i in looking], dtype=np.uint8)
    sides = {side: number for number, side in enumerate({place[1:] for place in places})}
    for pair in similar(looks.reshape(-1, 64), np.array([sides[places[i][1:]] for i in looking])):
        i, j = looking[pair[0]], looking[pair[1]]
        if (i, j) not in seen:
            seen.add((i, j))
            yield i, j


def similar(looks: np.ndarray, sides: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows of ``looks`` (n, 64) uint8 that are alike and of different ``sides`` (n,), some twice."""
    hashes = np.ascontiguousarray(looks[:, : BANDS * BITS // 8])
    colours = looks[:, BANDS * BITS // 8 :].astype(np.int16)
    contrast = colours.reshape(-1, GRID * GRID, 3).std(axis=1).mean(axis=1)
    most = np.minimum(LEAST_COLOUR + OF_CONTRAST * contrast, MOST_COLOUR)
    for band in hashes.view(np.uint16).T:
        for left, right in _candidates(band):
            near = sides[left] != sides[right]
            left, right = left[near], right[near]
            near = np.bitwise_count(hashes[left] ^ hashes[right]).sum(axis=1) <= MOST_BITS
            left, right = left[near], right[near]
            near = np.abs(colours[left] - colours[right]).mean(axis=1) <= np.minimum(most[left], most[right])
            yield from zip(left[near].tolist(), right[near].tolist(), strict=True)


def _candidates(band: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of places in ``band`` whose values differ in one bit or none, by looking each value up in order."""
    order = np.argsort(band, kind="stable")
    ordered = band[order]
    for change in (0, *(1 << bit for bit in range(BITS))):
        wanted = band ^ np.uint16(change)
        first, last = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
        counts = last - first
        step = 0
        while step < len(band):
            stop = max(step + 1, int(np.searchsorted(np.cumsum(counts[step:]), CHUNK)) + step)
            many = counts[step:stop]
            left = np.repeat(np.arange(step, step + len(many)), many)
            offset = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
            right = order[np.repeat(first[step:stop], many) + offset]
            once = left < right
            yield left[once], right[once]
            step += len(many)
