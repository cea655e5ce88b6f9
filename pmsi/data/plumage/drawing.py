"""`draw`: the drawing of a species from a seed, with the masks of its parts.

All lengths are drawn as fractions of the image, so one seed gives the same picture at any size.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pmsi.base.errors import ConfigError
from pmsi.base.seeding import numpy_generator
from pmsi.data.dataset import Box
from pmsi.data.plumage.anatomy import build
from pmsi.data.plumage.body import paint_bird
from pmsi.data.plumage.easel import Easel
from pmsi.data.plumage.individual import Light, draw_individual
from pmsi.data.plumage.ink import Patch, picture, spread
from pmsi.data.plumage.occlusion import occlude
from pmsi.data.plumage.perches import PERCHES
from pmsi.data.plumage.scenery import backdrop
from pmsi.data.plumage.species import PARTS, SPECIES

SIZES = (32, 2048)
"""The smallest and the largest drawing, in pixels along each side."""


@dataclass(frozen=True)
class Drawing:
    """An image, the masks of its parts, and the bird's box."""

    image: Image.Image
    """RGB, size by size pixels."""
    parts: dict[str, np.ndarray]
    """The visible pixels of every part of `PARTS`: bool (size, size)."""
    box: Box
    """The smallest box around the visible bird."""


def draw(species: int, seed: int, size: int = 256) -> Drawing:
    """Return the drawing of a species, an index into `SPECIES`; raises ConfigError for an index or size out of range.

    Siblings drawn with one seed differ only in their distinctive parts.
    """
    easel, occluders = painted(species, seed, size)
    parts = visible_parts(easel, occluders)
    return Drawing(_developed(easel), parts, box_around(parts["bird"]))


def draw_image(species: int, seed: int, size: int = 256) -> Image.Image:
    """Return only the image of `draw`, in less time."""
    return _developed(painted(species, seed, size)[0])


def box_around(mask: np.ndarray) -> Box:
    """Return x, y, width and height, in pixels, of the smallest box around a mask that is not empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1 - columns[0]), float(rows[-1] + 1 - rows[0])


def painted(species: int, seed: int, size: int) -> tuple[Easel, list[Patch]]:
    """Paint from back to front; return the easel and the coverage of each shape in front of the bird."""
    check_size(size)
    if not 0 <= species < len(SPECIES):
        raise ConfigError(f"There is no species {species!r}: plumage has {len(SPECIES)}, numbered from 0.")
    row = SPECIES[species]
    individual = draw_individual(row.genus, seed)
    anatomy = build(row.genus, individual.pose, size)
    sheet = backdrop(individual.setting, size, numpy_generator(individual.seed, "backdrop"))
    easel = Easel(sheet, anatomy, individual.palette, individual.light, individual.seed)
    foot = anatomy.frame.pixels(anatomy.feet).mean(axis=0)
    slope = individual.pose.slope * individual.pose.facing
    PERCHES[individual.perch](
        sheet, individual.setting, foot, slope, anatomy.frame.scale, numpy_generator(individual.seed, "perch")
    )
    paint_bird(easel, row.marks)
    return easel, occlude(easel, individual.setting, individual.occluder)


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
