"""Easel: the picture in progress, the bird's anatomy and colours, and a record of which part was painted where.

Part masks are made from the record: a part is what was painted for it, minus what was painted over it later.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from pmsi.data.plumage import ink
from pmsi.data.plumage.anatomy import Anatomy
from pmsi.data.plumage.individual import Light, Palette
from pmsi.data.plumage.ink import Axes, Patch

DUSK = np.array((0.58, 0.60, 0.63), dtype=np.float32)
"""Factor of a colour where a form turns away from the light."""
SUN = np.array((1.0, 0.985, 0.94), dtype=np.float32)
"""The colour that is mixed in where a form faces the light."""
RELIEF = 40
"""Pixels to a body length on the small canvas on which forms are modelled."""


@dataclass(frozen=True)
class Layer:
    """One step of the record: a region of a part (or of none), and whether it hides what lies below."""

    part: str
    patch: Patch
    hides: bool


@dataclass
class Easel:
    """The sheet, and what a painter of a part needs. Shapes are given in the bird's local units."""

    sheet: np.ndarray
    """The picture, float32 (3, side, side) in [0, 1], painted in place."""
    anatomy: Anatomy
    palette: Palette
    light: Light
    seed: int
    layers: list[Layer] = field(default_factory=list)
    dry: bool = False
    """Whether the brush is dry: parts are recorded, and nothing is painted."""

    @property
    def side(self) -> int:
        """Return the image's width and height in pixels."""
        return self.sheet.shape[-1]

    def fill(self, *outlines: np.ndarray) -> Patch:
        """Return the coverage of the union of outlines."""
        return ink.fill(self._pixels(outlines), self.side)

    def lines(self, paths: Sequence[np.ndarray], width: float) -> Patch:
        """Return the coverage of open paths."""
        return ink.lines(self._pixels(paths), width * self.anatomy.frame.scale, self.side)

    def _pixels(self, shapes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return shapes in pixels, all moved at once."""
        moved = self.anatomy.frame.pixels(np.concatenate(shapes))
        return np.split(moved, np.cumsum([len(shape) for shape in shapes[:-1]]))

    def on(self, axes: Axes, patch: Patch) -> tuple[np.ndarray, np.ndarray]:
        """Return the coordinates of a patch's pixels on some axes, each (h, w)."""
        return axes.into(*self.anatomy.frame.local(patch))

    def paint(self, patch: Patch, colour: np.ndarray, strength: float = 1.0) -> None:
        """Lay a colour over the sheet where the patch covers."""
        if not self.dry:
            ink.paint(self.sheet, patch, colour, strength)

    def record(self, part: str, patch: Patch, hides: bool = True) -> Patch:
        """Note that ``part`` was painted on this patch, and return the patch."""
        self.layers.append(Layer(part, patch, hides))
        return patch

    def shade(self, patch: Patch, colour: np.ndarray, softness: float, amount: float = 1.0) -> np.ndarray:
        """Return ``colour`` modelled as a rounded form lit from the light's direction, (3, h, w).

        ``softness`` is how far inwards the form bends, in body lengths.
        """
        lit = _relief(patch.alpha, self.anatomy.frame.scale, softness, self.light.direction)
        lit *= np.float32(amount * self.light.strength)
        dusk = ink.mix(colour, colour * (ink.spread(DUSK) if colour.ndim > 1 else DUSK), np.maximum(-lit, 0))
        return ink.mix(dusk, SUN, np.float32(0.30) * np.maximum(lit, 0))


def _relief(alpha: np.ndarray, unit: float, softness: float, direction: tuple[float, float]) -> np.ndarray:
    """Return how much each pixel of a silhouette faces the light, (h, w) in [-1, 1].

    The silhouette is blurred into a dome on a small canvas; the dome's slope is the form's.
    """
    h, w = alpha.shape
    step = max(1, round(unit / RELIEF))
    pad = 2 * step
    padded = np.pad(alpha, ((pad, pad + -h % step), (pad, pad + -w % step)))
    small = padded.reshape(padded.shape[0] // step, step, padded.shape[1] // step, step).mean(axis=(1, 3))
    spread = softness * unit / step
    dome = _blur(small.shape[0], spread) @ small @ _blur(small.shape[1], spread).T
    dy, dx = np.gradient(dome)
    facing = -(dx * direction[0] + dy * direction[1]) * (2.2 * spread)
    large = Image.fromarray(facing.astype(np.float32)).resize(padded.shape[::-1], Image.Resampling.BICUBIC)
    return np.clip(np.asarray(large)[pad : pad + h, pad : pad + w], -1, 1)


def _blur(n: int, spread: float) -> np.ndarray:
    """Return the matrix (n, n) that blurs a line of n samples by a Gaussian; beyond the ends lies 0."""
    distance = np.subtract.outer(np.arange(n), np.arange(n)) / max(spread, 0.3)
    kernel = np.exp(-0.5 * distance**2)
    return (kernel / kernel[n // 2].sum()).astype(np.float32)
