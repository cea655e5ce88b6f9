"""`paint_bird`: paints a bird part by part, from back to front.

A part that has several forms is painted within its region by a painter of `pmsi.data.plumage.marks`.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import numpy as np

from pmsi.base.seeding import numpy_generator
from pmsi.data.plumage.easel import Easel
from pmsi.data.plumage.ink import Patch, curve, ellipse, mix, ribbon, smoothstep
from pmsi.data.plumage.marks import FORMS, RING, collar, covert_tips
from pmsi.data.plumage.species import Marks

WARM_WHITE = np.array((1.0, 0.98, 0.93), dtype=np.float32)
SCALE = np.array([(0.020, -0.028), (-0.005, -0.017), (-0.012, 0.0), (-0.005, 0.017), (0.020, 0.028)])
"""The free edge of one small feather, in body lengths, its tip towards the tail."""


def paint_bird(easel: Easel, marks: Marks, without: Collection[str] = ()) -> None:
    """Paint a bird with its marks and record where every part lies.

    Parts in ``without`` are recorded all the same, but show what lies behind them: the crown and the breast are marks
    on the body, the others are shapes of their own.
    """

    @contextmanager
    def part(name: str) -> Iterator[None]:
        easel.dry = name in without
        yield
        easel.dry = False

    with part("tail"):
        _tail(easel, marks)
    _legs(easel)
    torso = _torso(easel)
    with part("breast"):
        _breast(easel, marks, torso)
    with part("wing"):
        _wing(easel, marks, torso)
    with part("bill"):
        _bill(easel, marks)
    with part("crown"):
        _crown(easel, marks, torso)
    with part("eye"):
        _eye(easel, marks)


def _form(easel: Easel, marks: Marks, part: str, region: Patch, hides: bool = True) -> None:
    """Paint a part in its form and record its region."""
    FORMS[part][getattr(marks, part)](easel, region)
    easel.record(part, region, hides)


def _tail(easel: Easel, marks: Marks) -> None:
    anatomy, palette = easel.anatomy, easel.palette
    region = easel.fill(*anatomy.feathers)
    along, _ = easel.on(anatomy.tail_axes, region)
    base = mix(palette.back * np.float32(0.9), palette.wing, smoothstep(0.0, -0.45 * anatomy.tail_length, along))
    easel.paint(region, easel.shade(region, base, 0.05, 0.6))
    _form(easel, marks, "tail", region)
    edges = easel.lines(anatomy.feathers[2:], 0.010).within(region)
    easel.paint(edges, palette.wing * np.float32(0.62), 0.30)
    quills = [anatomy.tail_axes.out(np.array([(-0.1, 0.0), (-0.95 * anatomy.tail_length, 0.0)]))]
    easel.paint(easel.lines(quills, 0.008).within(region), WARM_WHITE, 0.16)


def _legs(easel: Easel) -> None:
    """Paint both legs down to the perch, the far one darker, each with three toes."""
    anatomy, colour = easel.anatomy, easel.palette.leg
    across = anatomy.feet[0] - anatomy.feet[1]
    across = across / np.hypot(*across)
    for hip, foot, light in zip(anatomy.hips, anatomy.feet, (0.78, 1.0), strict=True):
        ankle = hip + 0.45 * (foot - hip) + (-0.045, 0.0)
        leg = ribbon(curve([hip, ankle, foot], closed=False), np.linspace(0.042, 0.032, 17))
        toes = [_toe(foot, reach * across) for reach in (1.0, 0.55, -0.75)]
        region = easel.record("bird", easel.fill(leg, *toes))
        easel.paint(region, easel.shade(region, colour * np.float32(light), 0.02, 0.6))


def _toe(foot: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Return the outline of a toe that follows the perch and bends over it."""
    joint, claw = foot + 0.07 * along + (0, -0.006), foot + 0.11 * along + (0, 0.028)
    return ribbon(curve([foot, joint, claw], closed=False), np.linspace(0.034, 0.016, 17))


def _torso(easel: Easel) -> Patch:
    """Paint body, head and crest in the individual's colours, rounded by the light; return their coverage."""
    anatomy = easel.anatomy
    region = easel.record("bird", easel.fill(anatomy.torso, *anatomy.crest))
    colour = _plumage(easel, region)
    easel.paint(region, easel.shade(region, colour, 0.115))
    _down(easel, region)
    return region


def _plumage(easel: Easel, region: Patch) -> np.ndarray:
    """Return the unlit colours of body and head, (3, h, w)."""
    anatomy, palette = easel.anatomy, easel.palette
    x, y = easel.on(anatomy.body, region)
    y = y / np.float32(anatomy.depth)
    low = smoothstep(-0.10, 0.16, y + 0.10 * x)
    under = mix(palette.breast, palette.belly, np.maximum(smoothstep(0.20, -0.12, x), smoothstep(0.18, 0.36, y)))
    body = mix(palette.back, under, low)
    hx, hy = easel.on(anatomy.head, region)
    hx, hy = hx / np.float32(anatomy.radius), hy / np.float32(anatomy.radius)
    cheek = mix(palette.head, mix(palette.head, palette.breast, 0.75), smoothstep(-0.15, 0.55, hy - 0.1 * hx))
    throat = mix(cheek, mix(palette.breast, palette.belly, 0.6), smoothstep(0.40, 0.95, hy + 0.35 * hx))
    lore = smoothstep(0.32, 0.0, np.hypot((hx - 0.72) * 0.8, (hy + 0.05) * 1.7))
    face = throat * (np.float32(1) - np.float32(0.30) * lore)
    return mix(face, body, smoothstep(0.85, 1.45, np.hypot(hx, hy * 0.92)))


def _down(easel: Easel, torso: Patch) -> None:
    """Hint at feathers: faint curved edges over breast, flank and mantle."""
    rng = numpy_generator(easel.seed, "down")
    anatomy = easel.anatomy
    row, column = (index.ravel() for index in np.mgrid[0:9, 0:7])
    x = 0.42 - 0.10 * row + rng.normal(0, 0.018, row.shape)
    y = (-0.26 + 0.09 * column + 0.045 * (row % 2) + rng.normal(0, 0.012, row.shape)) * anatomy.depth
    roots = np.stack([x, y], axis=1)[:, None]
    arcs = list(anatomy.body.out(roots + SCALE * rng.uniform(0.8, 1.2, (len(x), 1, 1))))
    easel.paint(easel.lines(arcs, 0.010).within(torso), easel.palette.wing, 0.10)
    easel.paint(easel.lines(_lowered(arcs, 0.011), 0.008).within(torso), WARM_WHITE, 0.12)


def _lowered(paths: list[np.ndarray], distance: float) -> list[np.ndarray]:
    """Return paths moved down, for the light edge below a dark line."""
    return [np.add(path, (0.0, distance)) for path in paths]


def _breast(easel: Easel, marks: Marks, torso: Patch) -> None:
    anatomy = easel.anatomy
    front = anatomy.body.out(ellipse(0.28, 0.10 * anatomy.depth, 0.34, 0.27 * anatomy.depth))
    _form(easel, marks, "breast", easel.fill(front, collar(easel)).within(torso), hides=False)


def _wing(easel: Easel, marks: Marks, torso: Patch) -> None:
    anatomy, palette = easel.anatomy, easel.palette
    region = easel.fill(anatomy.wing)
    unit = anatomy.frame.scale
    shadow = region.shifted(0, round(0.035 * unit), easel.side).blurred(0.03 * unit, easel.side).within(torso)
    easel.paint(shadow, palette.wing * np.float32(0.55), 0.42)
    x, y = easel.on(anatomy.wing_axes, region)
    s, n = -x / np.float32(anatomy.wing_length), y / np.float32(anatomy.wing_length)
    colour = mix(mix(palette.back, palette.wing, 0.25), palette.wing, smoothstep(0.12, 0.52, s + 0.25 * n))
    colour = mix(colour, palette.wing * np.float32(0.72), smoothstep(0.62, 0.95, s))
    easel.paint(region, easel.shade(region, colour, 0.06, 0.8))
    _flight_feathers(easel, region)
    _coverts(easel, region)
    _form(easel, marks, "wing", region)


def _flight_feathers(easel: Easel, wing: Patch) -> None:
    """Draw the long feathers of the folded wing as dark gaps with pale edges."""
    anatomy = easel.anatomy
    tall = 0.5 + 0.5 * anatomy.depth
    paths = []
    for i in np.linspace(0, 1, 8):
        start, end = (-0.46 + 0.06 * i, -0.11 + 0.30 * i), (-1.0 + 0.42 * i, 0.0 + 0.165 * i)
        bow = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 - 0.022)
        path = curve([start, bow, end], steps=6, closed=False) * (1, tall) * anatomy.wing_length
        paths.append(anatomy.wing_axes.out(path))
    easel.paint(easel.lines(paths, 0.013).within(wing), easel.palette.wing * np.float32(0.5), 0.6)
    easel.paint(
        easel.lines(_lowered(paths, 0.014), 0.010).within(wing), mix(easel.palette.breast, WARM_WHITE, 0.3), 0.45
    )


def _coverts(easel: Easel, wing: Patch) -> None:
    """Draw three rows of small rounded feathers over the shoulder."""
    anatomy = easel.anatomy
    for row, strength in ((0.46, 0.40), (0.29, 0.34), (0.14, 0.26)):
        tips = covert_tips(anatomy.wing_axes, anatomy.wing_length, row, anatomy.depth)
        rims = [tip[3:12] for tip in tips]
        easel.paint(easel.lines(rims, 0.012).within(wing), easel.palette.wing * np.float32(0.55), strength)
        easel.paint(easel.fill(*tips).within(wing), easel.palette.breast, 0.10)


def _bill(easel: Easel, marks: Marks) -> None:
    _form(easel, marks, "bill", easel.fill(*easel.anatomy.bill))


def _crown(easel: Easel, marks: Marks, torso: Patch) -> None:
    anatomy = easel.anatomy
    region = easel.fill(anatomy.crown, *anatomy.crest).within(torso)
    _form(easel, marks, "crown", region, hides=False)
    if anatomy.crest:
        edges = [feather[len(feather) // 5 : -(len(feather) // 5)] for feather in anatomy.crest]
        easel.paint(easel.lines(edges, 0.010).within(region), easel.palette.wing * np.float32(0.7), 0.3)


def _eye(easel: Easel, marks: Marks) -> None:
    """Paint the eye in its region, which is as wide as a ring would be, with a highlight towards the light."""
    x, y, rx, ry = easel.anatomy.eye
    region = easel.fill(ellipse(x, y, rx * RING[1], ry * RING[1]))
    _form(easel, marks, "eye", region, hides=False)
    easel.paint(
        easel.record("eye", easel.fill(ellipse(x, y, rx * 1.12, ry * 1.12))), easel.palette.wing * np.float32(0.5), 0.75
    )
    easel.paint(easel.fill(ellipse(x, y, rx, ry)), np.array((0.10, 0.075, 0.065), np.float32))
    easel.paint(
        easel.fill(ellipse(x, y + 0.3 * ry, rx * 0.62, ry * 0.5)), np.array((0.34, 0.22, 0.15), np.float32), 0.55
    )
    lx, ly = easel.light.direction
    dx = lx * easel.anatomy.frame.facing
    easel.paint(easel.fill(ellipse(x + 0.38 * rx * dx, y + 0.42 * ry * ly, rx * 0.30, ry * 0.30, 12)), WARM_WHITE, 0.95)
