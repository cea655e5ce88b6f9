"""`draw`: the drawing of a species from a seed, with the masks of its parts.

All lengths are drawn as fractions of the image, so one seed gives the same picture at any size.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from pmsi.base.errors import ConfigError, lookup
from pmsi.base.seeding import numpy_generator
from pmsi.data.plumage.anatomy import build
from pmsi.data.plumage.body import paint_bird
from pmsi.data.plumage.easel import Easel
from pmsi.data.plumage.individual import Light, draw_individual
from pmsi.data.plumage.ink import Patch, curve, fill, picture, rgb, ribbon, spread
from pmsi.data.plumage.marks import FORMS
from pmsi.data.plumage.perches import PERCHES, leaf, paint_leaf
from pmsi.data.plumage.scenery import SETTINGS, Setting, backdrop
from pmsi.data.plumage.species import PARTS, SPECIES, Marks

SIZES = (32, 2048)
"""The smallest and the largest drawing, in pixels along each side."""


@dataclass(frozen=True)
class Change:
    """What is drawn otherwise than a seed gives it; all else stays the same pixels.

    ``forms`` are (part, form) of `FORMS`, ``without`` the parts left out. ``background`` is a place of `SETTINGS` whose
    backdrop is behind bird and perch, ``occluder`` a key of `OCCLUDERS`; ``pose`` and ``light`` number others.
    """

    forms: tuple[tuple[str, str], ...] = ()
    without: tuple[str, ...] = ()
    background: str | None = None
    occluder: str | None = None
    pose: int | None = None
    light: int | None = None

    def __post_init__(self) -> None:
        for part, form in self.forms:
            lookup("form", lookup("part", FORMS, part), form)
        for part in self.without:
            lookup("part", FORMS, part)
        if self.background is not None:
            lookup("background", {one.name: one for one in SETTINGS}, self.background)
        if self.occluder is not None:
            lookup("occluder", OCCLUDERS, self.occluder)

    def marks(self, own: Marks) -> Marks:
        """Return a species' marks in the changed forms."""
        return replace(own, **dict(self.forms))


AS_IT_IS = Change()


@dataclass(frozen=True)
class Drawing:
    """An image and the masks of its parts."""

    image: Image.Image
    """RGB, size by size pixels."""
    parts: dict[str, np.ndarray]
    """The visible pixels of every part of `PARTS`: bool (size, size)."""


def draw(species: int, seed: int, size: int = 256) -> Drawing:
    """Return the drawing of a species, an index into `SPECIES`; raises ConfigError for an index or size out of range.

    Siblings drawn with one seed differ only in their distinctive parts.
    """
    easel, occluders = painted(species, seed, size)
    return Drawing(_developed(easel), visible_parts(easel, occluders))


def draw_image(species: int, seed: int, size: int = 256, change: Change = AS_IT_IS) -> Image.Image:
    """Return only the image of `draw`, in less time."""
    return _developed(painted(species, seed, size, change)[0])


def painted(species: int, seed: int, size: int, change: Change = AS_IT_IS) -> tuple[Easel, list[Patch]]:
    """Paint from back to front; return the easel and the coverage of each shape in front of the bird."""
    check_size(size)
    if not 0 <= species < len(SPECIES):
        raise ConfigError(f"There is no species {species!r}: plumage has {len(SPECIES)}, numbered from 0.")
    row = SPECIES[species]
    individual = draw_individual(row.genus, seed, change.pose, change.light)
    anatomy = build(row.genus, individual.pose, size)
    behind = next((one for one in SETTINGS if one.name == change.background), individual.setting)
    sheet = backdrop(behind, size, numpy_generator(individual.seed, "backdrop"))
    easel = Easel(sheet, anatomy, individual.palette, individual.light, individual.seed)
    foot = anatomy.frame.pixels(anatomy.feet).mean(axis=0)
    slope = individual.pose.slope * individual.pose.facing
    PERCHES[individual.perch](
        sheet, individual.setting, foot, slope, anatomy.frame.scale, numpy_generator(individual.seed, "perch")
    )
    paint_bird(easel, change.marks(row.marks), change.without)
    return easel, occlude(easel, individual.setting, change.occluder or individual.occluder)


def check_size(size: int) -> None:
    """Raise ConfigError unless a drawing can have this size, in pixels."""
    if not SIZES[0] <= size <= SIZES[1]:
        raise ConfigError(f"A drawing cannot be {size!r} pixels wide: choose {SIZES[0]} to {SIZES[1]}.")


def _developed(easel: Easel) -> Image.Image:
    """Return the sheet under its light as an 8-bit image; each pixel depends only on itself."""
    light: Light = easel.light
    gain = light.balance * np.float32(light.exposure * light.contrast)
    return picture(easel.sheet * spread(gain) + np.float32(0.5 * (1 - light.contrast)))


def visible_parts(easel: Easel, occluders: list[Patch], least: float = 0.5) -> dict[str, np.ndarray]:
    """Return the visible pixels of every part: laid down for it, not laid over later, and not behind an occluder.

    A pixel counts where the part makes up more than ``least`` of it; 0 gives every pixel that the part can touch.
    """
    covered = {part: np.zeros((easel.side, easel.side), dtype=np.float32) for part in PARTS}
    for layer in easel.layers:
        if layer.hides:
            for part in PARTS[:-1]:
                covered[part][layer.patch.window] *= 1 - layer.patch.alpha
        for part in {layer.part, "bird"}:
            region = covered[part][layer.patch.window]
            np.maximum(region, layer.patch.alpha, out=region)
    for patch in occluders:
        for cover in covered.values():
            cover[patch.window] *= 1 - patch.alpha
    bird = covered["bird"] > least
    return {part: (cover > least) & bird for part, cover in covered.items()}


# Occluders: leaves, blades of grass and sprigs in front of the bird, each kept if enough of the bird stays visible

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
