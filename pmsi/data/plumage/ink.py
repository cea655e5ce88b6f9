"""Antialiased shapes: functions that return the coverage, in [0, 1], of outlines, and paint it onto the sheet.

A shape is drawn several times too large on a canvas of its own size, then averaged down. Points are float arrays (n,
2): x to the right, y down. Colour is the first axis of a picture, which makes mixing several times faster.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SUPER = 4
"""Canvas pixels per image pixel along each side while a shape is drawn."""


@dataclass(frozen=True)
class Axes:
    """A turned coordinate system: where its origin lies in the parent's, and its angle in radians, clockwise."""

    x: float
    y: float
    angle: float

    def out(self, points: np.ndarray) -> np.ndarray:
        """Return points (n, 2) given on these axes in the parent's coordinates."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return points @ np.array([[c, s], [-s, c]]) + (self.x, self.y)

    def into(self, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the parent's coordinates ``u``, ``v`` on these axes."""
        c, s = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        du, dv = u - np.float32(self.x), v - np.float32(self.y)
        return c * du + s * dv, c * dv - s * du


@dataclass(frozen=True)
class Frame:
    """Where local units lie on the image: ``scale`` pixels per unit, the origin's pixel, and 1 or -1 for facing."""

    scale: float
    x: float
    y: float
    facing: int

    def pixels(self, points: np.ndarray) -> np.ndarray:
        """Return local points (n, 2) in pixels."""
        return points * (self.scale * self.facing, self.scale) + (self.x, self.y)

    def local(self, patch: "Patch") -> tuple[np.ndarray, np.ndarray]:
        """Return the local coordinates of a patch's pixel centres, each (h, w)."""
        h, w = patch.alpha.shape
        u = (np.arange(w, dtype=np.float32) + np.float32(patch.left + 0.5 - self.x)) / np.float32(self.scale)
        v = (np.arange(h, dtype=np.float32) + np.float32(patch.top + 0.5 - self.y)) / np.float32(self.scale)
        return np.broadcast_to(u * np.float32(self.facing), (h, w)), np.broadcast_to(v[:, None], (h, w))


@dataclass(frozen=True)
class Patch:
    """Coverage (h, w) in [0, 1] of a window whose top left pixel is given; the window lies within the image."""

    left: int
    top: int
    alpha: np.ndarray

    @property
    def window(self) -> tuple[slice, slice]:
        """Return the rows and columns of the image that the patch covers."""
        h, w = self.alpha.shape
        return slice(self.top, self.top + h), slice(self.left, self.left + w)

    def times(self, factor: np.ndarray | float) -> "Patch":
        """Return the patch with its coverage multiplied by ``factor``, a number or (h, w)."""
        return Patch(self.left, self.top, self.alpha * np.asarray(factor, dtype=np.float32))

    def within(self, outer: "Patch") -> "Patch":
        """Return this patch where ``outer`` covers, on the common window."""
        top, left = max(self.top, outer.top), max(self.left, outer.left)
        bottom = max(top, min(self.top + self.alpha.shape[0], outer.top + outer.alpha.shape[0]))
        right = max(left, min(self.left + self.alpha.shape[1], outer.left + outer.alpha.shape[1]))
        mine = self.alpha[top - self.top : bottom - self.top, left - self.left : right - self.left]
        theirs = outer.alpha[top - outer.top : bottom - outer.top, left - outer.left : right - outer.left]
        return Patch(left, top, mine * theirs)

    def shifted(self, dx: int, dy: int, side: int) -> "Patch":
        """Return the patch moved by whole pixels and cut to the image."""
        left, top = self.left + dx, self.top + dy
        h, w = self.alpha.shape
        rows = slice(max(0, -top), max(0, min(h, side - top)))
        columns = slice(max(0, -left), max(0, min(w, side - left)))
        return Patch(max(0, left), max(0, top), self.alpha[rows, columns])

    def blurred(self, radius: float, side: int) -> "Patch":
        """Return the patch spread by a Gaussian of ``radius`` pixels on a window grown to hold it."""
        pad = int(np.ceil(2 * radius))
        grown = Image.fromarray((np.pad(self.alpha, pad) * 255).astype(np.uint8))
        soft = np.asarray(grown.filter(ImageFilter.GaussianBlur(float(radius))), dtype=np.float32) / 255
        return Patch(self.left - pad, self.top - pad, soft).shifted(0, 0, side)


def _window(points: np.ndarray, margin: float, side: int) -> tuple[int, int, int, int]:
    """Return left, top, width and height, in pixels, of the image's part that holds the points; at least one pixel."""
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    left, top = (min(max(math.floor(low - margin), 0), side - 1) for low in (x0, y0))
    right, bottom = min(math.ceil(x1 + margin), side), min(math.ceil(y1 + margin), side)
    return left, top, max(right - left, 1), max(bottom - top, 1)


def fill(outlines: Sequence[np.ndarray], side: int) -> Patch:
    """Return the coverage of the union of closed outlines, given in pixels of a square image of ``side`` pixels."""
    left, top, w, h = _window(np.concatenate(outlines), 1, side)
    canvas = Image.new("L", (w * SUPER, h * SUPER))
    draw = ImageDraw.Draw(canvas)
    for outline in outlines:
        draw.polygon(((outline - (left, top)) * SUPER - 0.5).ravel().tolist(), fill=255)
    return Patch(left, top, _reduced(canvas))


def lines(paths: Sequence[np.ndarray], width: float, side: int) -> Patch:
    """Return the coverage of open paths drawn ``width`` pixels wide; widths below a canvas pixel fade."""
    left, top, w, h = _window(np.concatenate(paths), 1 + width, side)
    canvas = Image.new("L", (w * SUPER, h * SUPER))
    draw = ImageDraw.Draw(canvas)
    thick = max(1, round(width * SUPER))
    for path in paths:
        draw.line(((path - (left, top)) * SUPER - 0.5).ravel().tolist(), fill=255, width=thick)
    return Patch(left, top, _reduced(canvas) * np.float32(min(1.0, width * SUPER / thick)))


def _reduced(canvas: Image.Image) -> np.ndarray:
    """Return a canvas averaged down to image pixels, (h, w) float32 in [0, 1]."""
    return np.asarray(canvas.reduce(SUPER), dtype=np.float32) / np.float32(255)


def paint(sheet: np.ndarray, patch: Patch, colour: np.ndarray, strength: float = 1.0) -> None:
    """Lay ``colour``, (3,) or (3, h, w), over the sheet (3, side, side) where the patch covers; in place."""
    region = sheet[(slice(None), *patch.window)]
    difference = spread(colour) - region
    difference *= patch.alpha * np.float32(strength)
    region += difference


def curve(
    points: Sequence[tuple[float, float] | np.ndarray] | np.ndarray, steps: int = 8, closed: bool = True
) -> np.ndarray:
    """Return a Catmull-Rom curve through the points, ``steps`` samples to a segment."""
    p = np.asarray(points, dtype=float)
    n = len(p)
    wrapped = (
        np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    )
    segments = n if closed else n - 1
    t = np.arange(steps)[:, None] / steps
    basis = 0.5 * np.hstack([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])
    quads = np.stack([wrapped[i : i + segments] for i in range(4)], axis=1)
    samples = (basis @ quads).reshape(-1, 2)
    return samples if closed else np.concatenate([samples, p[-1:]])


def ribbon(path: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Return the outline of a stroke along a path (n, 2) that is ``widths`` (n,) wide."""
    tangent = np.empty_like(path)
    tangent[1:-1] = path[2:] - path[:-2]
    tangent[[0, -1]] = path[1] - path[0], path[-1] - path[-2]
    tangent /= np.maximum(np.hypot(tangent[:, 0], tangent[:, 1]), 1e-9)[:, None]
    half = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) * (np.asarray(widths) / 2)[:, None]
    return np.concatenate([path + half, (path - half)[::-1]])


def ellipse(x: float, y: float, rx: float, ry: float, steps: int = 32) -> np.ndarray:
    """Return the outline of an upright ellipse."""
    a = np.arange(steps) * (2 * np.pi / steps)
    return np.stack([x + rx * np.cos(a), y + ry * np.sin(a)], axis=1)


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """Return 0 below ``low``, 1 above ``high`` (or the reverse where low > high) and a smooth ramp between."""
    t = np.clip((x - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(a: np.ndarray, b: np.ndarray, t: np.ndarray | float) -> np.ndarray:
    """Return colours between ``a`` and ``b``, each (3,) or (3, h, w); a field ``t`` (h, w) gives (3, h, w)."""
    if isinstance(t, np.ndarray):
        a, b = spread(a), spread(b)
        return a + (b - a) * t
    return a + (b - a) * np.float32(t)


def spread(colour: np.ndarray) -> np.ndarray:
    """Return a colour (3,) shaped to meet a field (3, h, w), or such a field as it is; float32."""
    return (colour if colour.ndim > 1 else colour[:, None, None]).astype(np.float32, copy=False)


def rgb(code: str) -> np.ndarray:
    """Return ``"#rrggbb"`` as float32 (3,) in [0, 1]."""
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.float32) / np.float32(255)


def picture(sheet: np.ndarray) -> Image.Image:
    """Return a sheet (3, side, side), clipped to [0, 1], as an 8-bit RGB image."""
    levels = (np.clip(sheet, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(band) for band in levels])
