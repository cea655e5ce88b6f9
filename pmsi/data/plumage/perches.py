"""PERCHES: what the bird sits on, and the leaves and stems that perches are made of. Lengths are in pixels."""

from collections.abc import Callable

import numpy as np

from pmsi.data.plumage.ink import Patch, curve, ellipse, fill, lines, mix, paint, rgb, ribbon
from pmsi.data.plumage.scenery import Setting

Sheet = np.ndarray
"""The picture being painted: float32 (3, side, side) in [0, 1]."""
Perch = Callable[[Sheet, Setting, np.ndarray, float, float, np.random.Generator], None]
"""Paints a perch, given the middle of the feet (x, y), the slope in radians, a body length and a generator."""


def leaf(base: np.ndarray, angle: float, length: float, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the outline and the midrib of a leaf that grows from ``base`` at ``angle``; any unit of length."""
    t = np.linspace(0, 1, 14)
    along = np.array((np.cos(angle), np.sin(angle)))
    across = np.array((-along[1], along[0]))
    spine = base + length * (t[:, None] * along + 0.10 * np.sin(np.pi * t)[:, None] * across)
    breadth = width * np.sin(np.pi * np.clip(t, 0, 1) ** 0.8) ** 0.9
    return ribbon(spine, breadth), spine


def paint_leaf(sheet: Sheet, shape: tuple[np.ndarray, np.ndarray], colour: np.ndarray) -> Patch:
    """Paint a leaf with a lighter half and a midrib; return what it covers."""
    side = sheet.shape[-1]
    outline, spine = shape
    patch = fill([outline], side)
    paint(sheet, patch, colour)
    half = np.concatenate([outline[: len(spine)], spine[::-1]])
    paint(sheet, fill([half], side).within(patch), mix(colour, rgb("#fffbe0"), 0.22), 0.8)
    paint(sheet, lines([spine], side * 0.004, side).within(patch), mix(colour, rgb("#fffbe0"), 0.45), 0.8)
    return patch


def _branch(sheet: Sheet, path: np.ndarray, widths: np.ndarray, colour: np.ndarray) -> Patch:
    """Paint a round stem along a path: dark below, light above; return what it covers."""
    side = sheet.shape[-1]
    patch = fill([ribbon(path, widths)], side)
    paint(sheet, patch, colour * np.float32(0.72))
    for rise, breadth, light in ((0.12, 0.66, 0.0), (0.24, 0.30, 0.24)):
        lifted = path - np.stack([np.zeros_like(widths), widths * rise], axis=1)
        inner = fill([ribbon(lifted, widths * breadth)], side)
        paint(sheet, inner.within(patch), mix(colour, rgb("#fff6e6"), light), 0.75)
    return patch


def twig(sheet: Sheet, setting: Setting, foot: np.ndarray, slope: float, unit: float, rng: np.random.Generator) -> None:
    """Paint a bough through ``foot`` (pixels) from edge to edge, with a side shoot and a few leaves."""
    side, wood = sheet.shape[-1], rgb(setting.wood)
    reach = 1.3 * side
    thick = unit * rng.uniform(0.09, 0.14)
    along = np.array((np.cos(slope), np.sin(slope)))
    bends = foot + np.array([-1.0, -0.45, 0.0, 0.45, 1.0])[:, None] * reach * along
    bends[:, 1] += np.array((1, 1, 0, 1, 1)) * rng.normal(0, 0.025, 5) * side + thick * 0.38
    path = curve(bends, steps=10, closed=False)
    taper = np.linspace(1.25, 0.8, len(path))
    for sign in rng.choice((-1, 1), size=int(rng.integers(1, 4))):
        at = path[int(rng.integers(8, len(path) - 8))]
        _shoot(sheet, setting, at, slope + sign * rng.uniform(0.5, 1.1), unit, rng)
    _branch(sheet, path, thick * (taper if rng.random() < 0.5 else taper[::-1]), wood)
    if setting.snow:
        lifted = path - (0, thick * 0.36)
        paint(sheet, fill([ribbon(lifted, thick * 0.42 * taper)], side), rgb(setting.snow), 0.95)


def _shoot(sheet: Sheet, setting: Setting, at: np.ndarray, angle: float, unit: float, rng: np.random.Generator) -> None:
    """Paint a thin side shoot with two or three leaves, or with buds alone where leaves have fallen."""
    length = unit * rng.uniform(0.4, 0.8)
    t = np.linspace(0, 1, 12)[:, None]
    path = at + length * (t * (np.cos(angle), np.sin(angle)) + 0.12 * t**2 * (0, -1))
    _branch(sheet, path, unit * np.linspace(0.045, 0.02, 12), rgb(setting.wood))
    for place in (0.45, 0.75, 1.0):
        turn = angle + rng.choice((-1, 1)) * rng.uniform(0.3, 0.9)
        shape = leaf(path[round(place * 11)], turn, unit * rng.uniform(0.2, 0.32), unit * rng.uniform(0.08, 0.12))
        paint_leaf(sheet, shape, rgb(setting.leaf) * np.float32(rng.uniform(0.85, 1.1)))


def ground(
    sheet: Sheet, setting: Setting, foot: np.ndarray, slope: float, unit: float, rng: np.random.Generator
) -> None:
    """Paint a soft mound whose top passes through ``foot``, with tufts of grass and the bird's shadow."""
    side = sheet.shape[-1]
    x = np.linspace(-0.1, 1.1, 8) * side
    top = foot[1] + unit * (0.02 + 0.22 * ((x - foot[0]) / side) ** 2) + np.tan(slope) * (x - foot[0])
    rim = curve(np.stack([x, top + rng.normal(0, 0.006, 8) * side], axis=1), closed=False)
    patch = fill([np.concatenate([rim, [(1.2 * side, 1.2 * side), (-0.2 * side, 1.2 * side)]])], side)
    near = rgb(setting.snow) if setting.snow else mix(rgb(setting.sky[2]), rgb(setting.leaf), 0.35)
    rows = np.linspace(0, 1, patch.alpha.shape[0], dtype=np.float32)[:, None]
    paint(sheet, patch, mix(mix(near, rgb("#fffdf2"), 0.25), near * np.float32(0.86), rows))
    grass = mix(near, rgb(setting.leaf), 0.4)
    for _ in range(int(rng.integers(10, 22))):
        root = np.array((rng.uniform(0, side), foot[1] + unit * rng.uniform(0.05, 0.5)))
        _blade(
            sheet, root, unit * rng.uniform(0.12, 0.3), unit * 0.028, grass * np.float32(rng.uniform(0.85, 1.1)), rng
        )
    shadow = fill([ellipse(foot[0], foot[1] + 0.03 * unit, 0.5 * unit, 0.07 * unit)], side).blurred(0.05 * unit, side)
    paint(sheet, shadow.within(patch), near * np.float32(0.45), 0.45)


def _blade(
    sheet: Sheet, root: np.ndarray, length: float, width: float, colour: np.ndarray, rng: np.random.Generator
) -> Patch:
    """Paint a blade of grass that bends with its height; return what it covers."""
    t = np.linspace(0, 1, 12)[:, None]
    lean, bend = rng.normal(0, 0.25), rng.normal(0, 0.35)
    path = root + length * (t * (lean, -1) + t**2 * (bend, 0.12 * abs(bend)))
    patch = fill([ribbon(path, width * (1 - t[:, 0] ** 2) + 0.3)], sheet.shape[-1])
    paint(sheet, patch, colour)
    return patch


def reed(sheet: Sheet, setting: Setting, foot: np.ndarray, slope: float, unit: float, rng: np.random.Generator) -> None:
    """Paint a leaning stem through ``foot`` with nodes and long leaves."""
    side, stalk = sheet.shape[-1], rgb(setting.wood)
    along = np.array((np.cos(slope), np.sin(slope)))
    t = np.linspace(-1.5, 1.5, 31)
    path = foot + t[:, None] * side * along + (t**2)[:, None] * side * 0.03 * np.array((rng.normal(), 0))
    height = foot[1] - path[:, 1]
    free = np.flatnonzero(
        (height < -0.15 * unit) | (height > 1.3 * unit)
    )  # no leaf sprouts from behind the bird's head
    for _ in range(int(rng.integers(2, 5))):
        at = path[int(rng.choice(free))]
        out = rng.choice((-1, 1)) * rng.uniform(0.10, 0.2) * unit * 2.2
        spine = curve(
            at + np.array([(0, 0), (0.5 * out, -0.42 * unit), (1.7 * out, -0.5 * unit), (2.8 * out, -0.2 * unit)]),
            closed=False,
        )
        width = unit * 0.07 * np.sin(np.pi * np.linspace(0.05, 1, len(spine)) ** 0.6)
        paint(sheet, fill([ribbon(spine, width)], side), rgb(setting.leaf) * np.float32(rng.uniform(0.85, 1.15)), 0.92)
    _branch(sheet, path, np.full(31, unit * 0.085), stalk)


PERCHES: dict[str, Perch] = {"twig": twig, "ground": ground, "reed": reed}
