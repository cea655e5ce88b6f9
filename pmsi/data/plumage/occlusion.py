"""OCCLUDERS: leaves, blades of grass and sprigs in front of the bird, which hide a limited share of it.

An occluder is placed at random, and kept if enough of the bird and of each part stays visible. The check uses the
regions of parts, which siblings share, so it does not depend on the species.
"""

from collections.abc import Callable

import numpy as np

from pmsi.base.seeding import numpy_generator
from pmsi.data.plumage.easel import Easel
from pmsi.data.plumage.ink import Patch, curve, fill, rgb, ribbon
from pmsi.data.plumage.perches import leaf, paint_leaf
from pmsi.data.plumage.scenery import Setting

Shape = tuple[np.ndarray, np.ndarray]
"""Outline and midrib, in pixels."""

MOST_OF_BIRD = 0.26
"""No more than this share of the bird is hidden; part of the margin to 0.3 is for pixels that count half."""
MOST_OF_PART = 0.5
"""No more than this share of any part is hidden."""
TRIES = 5


def one_leaf(target: np.ndarray, side: int, rng: np.random.Generator) -> list[Shape]:
    """A large leaf that points at the target from outside."""
    angle = rng.uniform(-np.pi, np.pi)
    length = side * rng.uniform(0.26, 0.42)
    tip = np.array((np.cos(angle), np.sin(angle)))
    base = target - tip * length * rng.uniform(0.6, 1.0)
    stalk = curve(
        [base - tip * side * 1.2 + (0, side * rng.normal(0, 0.2)), base - tip * length * 0.4, base + tip * 2],
        closed=False,
    )
    return [
        (ribbon(stalk, np.full(len(stalk), 0.010 * side)), stalk),
        leaf(base, angle, length, length * rng.uniform(0.26, 0.36)),
    ]


def blade(target: np.ndarray, side: int, rng: np.random.Generator) -> list[Shape]:
    """Two or three blades of grass that rise from the lower edge through the target."""
    shapes = []
    for _ in range(int(rng.integers(1, 4))):
        through = target + rng.normal(0, 0.05, 2) * side
        root = np.array((through[0] + rng.normal(0, 0.12) * side, max(1.08 * side, through[1] + 0.4 * side)))
        end = through + (through - root) * rng.uniform(0.2, 0.7) + (rng.normal(0, 0.1) * side, 0)
        spine = curve([root, through, end], closed=False)
        t = np.linspace(0, 1, len(spine))
        shapes.append((ribbon(spine, side * rng.uniform(0.022, 0.036) * (1 - t**2.2) + 0.2), spine))
    return shapes


def sprig(target: np.ndarray, side: int, rng: np.random.Generator) -> list[Shape]:
    """A thin twig across the target with small leaves on both sides."""
    angle = rng.uniform(-np.pi, np.pi)
    along = np.array((np.cos(angle), np.sin(angle)))
    spine = curve(
        [
            target - along * side * 1.3,
            target - along * side * 0.3 + rng.normal(0, 0.03, 2) * side,
            target,
            target + along * side * 0.12,
        ],
        closed=False,
    )
    shapes = [(ribbon(spine, np.linspace(0.016, 0.007, len(spine)) * side), spine)]
    for i, back in enumerate((0.0, 0.07, 0.15, 0.24)):
        turn = angle + (1 if i % 2 else -1) * rng.uniform(0.5, 0.9)
        start = target + along * side * (0.10 - back)
        shapes.append(leaf(start, turn, side * rng.uniform(0.09, 0.13), side * rng.uniform(0.035, 0.05)))
    return shapes


def nothing(target: np.ndarray, side: int, rng: np.random.Generator) -> list[Shape]:
    """Leave the bird free."""
    return []


OCCLUDERS: dict[str, Callable[[np.ndarray, int, np.random.Generator], list[Shape]]] = {
    "none": nothing,
    "leaf": one_leaf,
    "blade": blade,
    "sprig": sprig,
}
"""Each returns shapes near a target (x, y), in pixels, on a square image of the given side."""


def occlude(easel: Easel, setting: Setting, kind: str) -> list[Patch]:
    """Paint an occluder of this kind and return what its shapes cover; nothing if every try hid too much."""
    rng = numpy_generator(easel.seed, "occluder")
    frame = easel.anatomy.frame
    for _ in range(TRIES):
        spot = easel.anatomy.body.out(rng.normal((-0.1, 0.1), (0.42, 0.2))[None])
        shapes = OCCLUDERS[kind](frame.pixels(spot)[0], easel.side, rng)
        if not shapes or _modest(easel, fill([outline for outline, _ in shapes], easel.side)):
            colour = rgb(setting.leaf) * np.float32(rng.uniform(0.8, 1.05))
            return [paint_leaf(easel.sheet, shape, colour) for shape in shapes]
    return []


def _modest(easel: Easel, patch: Patch) -> bool:
    """Return whether enough of the bird and of each of its parts is left."""
    limits = [(layer.patch, MOST_OF_PART) for layer in easel.layers if layer.part != "bird"]
    largest = max((layer.patch for layer in easel.layers), key=lambda region: float(region.alpha.sum()))
    return all(
        float(patch.within(region).alpha.sum()) <= limit * float(region.alpha.sum())
        for region, limit in [*limits, (largest, MOST_OF_BIRD)]
    )
