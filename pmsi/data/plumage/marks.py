"""FORMS: the forms that each part can have; each form is a painter.

A painter stays inside the region of its part, which is the same for every species of a genus. Therefore the masks are
the true places of the differences between species.
"""

from collections.abc import Callable

import numpy as np

from pmsi.base.seeding import numpy_generator
from pmsi.data.plumage.easel import Easel
from pmsi.data.plumage.ink import Axes, Patch, curve, ellipse, mix, ribbon, smoothstep

Painter = Callable[[Easel, Patch], None]
"""Paints one form on the easel, within the region of its part."""

BARS: dict[str, tuple[float, ...]] = {"lower": (0.46,), "both": (0.29, 0.46)}
"""Where wing bars cross the folded wing, in wing lengths from the shoulder."""
RING = (1.22, 1.80)
"""Inner and outer radius of an eye ring, in radii of the eye."""


def plain(easel: Easel, region: Patch) -> None:
    """Leave the part as the genus has it."""


def ring(easel: Easel, region: Patch) -> None:
    """A pale ring around the eye."""
    x, y, rx, ry = easel.anatomy.eye
    outer = easel.fill(ellipse(x, y, rx * RING[1], ry * RING[1])).within(region)
    easel.paint(outer, easel.palette.pale)


def cap(easel: Easel, region: Patch) -> None:
    """A dark cap over the whole crown."""
    easel.paint(region, easel.shade(region, easel.palette.dark, 0.06, 0.5), 0.93)


def frost(easel: Easel, region: Patch) -> None:
    """Pale ends to the feathers of a crest."""
    x, y = easel.on(easel.anatomy.head, region)
    r = easel.anatomy.radius
    tips = region.times(smoothstep(-0.55 * r, -0.95 * r, x + 0.35 * y))
    easel.paint(tips, easel.palette.pale, 0.95)


def streaks(easel: Easel, region: Patch) -> None:
    """Rows of dark drops down the breast and flank."""
    rng = numpy_generator(easel.seed, "streaks")
    body, depth = easel.anatomy.body, easel.anatomy.depth
    drops = []
    for row in range(6):
        for column in range(5):
            x = 0.44 - 0.085 * row + rng.normal(0, 0.008)
            y = (-0.05 + 0.085 * column + 0.04 * (row % 2) + rng.normal(0, 0.008)) * depth
            drops.append(body.out(_drop(x, y, 0.085, 0.036)))
    easel.paint(easel.fill(*drops).within(region), easel.palette.dark, 0.88)


def _drop(x: float, y: float, length: float, width: float) -> np.ndarray:
    """Return a drop with its point forward and its round end towards the tail."""
    t = np.linspace(0, 1, 9)
    path = np.stack([x - length * t, y + 0.12 * length * t], axis=1)
    return ribbon(path, width * np.sin(np.pi * t**1.6) ** 0.8)


def gorget(easel: Easel, region: Patch) -> None:
    """A dark crescent below the throat."""
    easel.paint(easel.fill(collar(easel)).within(region), easel.palette.dark, 0.92)


def collar(easel: Easel) -> np.ndarray:
    """Return the outline of the crescent between throat and breast."""
    r, head = easel.anatomy.radius, easel.anatomy.head
    path = head.out(curve([(-0.50, 0.50), (-0.22, 0.92), (0.25, 1.20), (0.80, 1.22), (1.2, 1.0)], closed=False) * r)
    t = np.linspace(0, 1, len(path))
    return ribbon(path, r * (0.14 + 0.50 * np.sin(np.pi * np.clip(t, 0, 0.75) / 1.5) ** 1.2))


def bars(rows: tuple[float, ...]) -> Painter:
    """Return a painter of pale bars across the wing at these places."""

    def painter(easel: Easel, region: Patch) -> None:
        length = easel.anatomy.wing_length
        tips = [tip for row in rows for tip in covert_tips(easel.anatomy.wing_axes, length, row, easel.anatomy.depth)]
        easel.paint(easel.fill(*tips).within(region), easel.palette.pale, 0.96)

    return painter


def covert_tips(axes: Axes, length: float, row: float, depth: float) -> list[np.ndarray]:
    """Return the outlines of the tips of one row of wing coverts, which together form a bar."""
    tall = 0.5 + 0.5 * depth
    return [
        axes.out(ellipse(-(row - 0.28 * abs(n - 0.03) - 0.02), n * tall, 0.036, 0.034, 14) * length)
        for n in np.linspace(-0.15, 0.22, 8)
    ]


def tail_stretch(start: float, stop: float) -> Painter:
    """Return a painter of the pale part of a tail between two fractions of its length."""

    def painter(easel: Easel, region: Patch) -> None:
        axes, length = easel.anatomy.tail_axes, easel.anatomy.tail_length
        x, y = easel.on(axes, region)
        t = -x / np.float32(length) - np.float32(0.5) * np.abs(y / np.float32(length))
        soft = max(0.012, 0.6 / (easel.anatomy.frame.scale * length))
        light = smoothstep(start - soft, start + soft, t) * smoothstep(stop + soft, stop - soft, t)
        easel.paint(region.times(light), mix(easel.palette.pale, easel.palette.back, 0.06), 0.95)

    return painter


def bill_colour(name: str) -> Painter:
    """Return a painter of a bill in a colour of the palette: paler along the ridge, dark along the gape."""

    def painter(easel: Easel, region: Patch) -> None:
        colour = getattr(easel.palette, name)
        upper, lower = easel.anatomy.bill
        easel.paint(region, easel.shade(region, colour, 0.035, 0.8))
        easel.paint(easel.fill(lower).within(region), colour * np.float32(0.80), 0.7)
        gape = [upper[[-1, -2, -3]]]
        easel.paint(easel.lines(gape, 0.014).within(region), colour * np.float32(0.45), 0.8)

    return painter


FORMS: dict[str, dict[str, Painter]] = {
    "eye": {"plain": plain, "ring": ring},
    "bill": {"pale": bill_colour("horn"), "dark": bill_colour("slate")},
    "crown": {"plain": plain, "cap": cap, "frost": frost},
    "breast": {"plain": plain, "streaks": streaks, "gorget": gorget},
    "wing": {"plain": plain, "bar": bars(BARS["lower"]), "bars": bars(BARS["both"])},
    "tail": {"plain": plain, "tip": tail_stretch(0.83, 1.5), "band": tail_stretch(0.52, 0.72)},
}
