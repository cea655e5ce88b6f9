"""Anatomy: the outlines and axes of a bird's parts in a given pose, in body lengths, and their place on the image.

The bird faces right; the origin is the centre of its body, x points forward and y down.
"""

from dataclasses import dataclass

import numpy as np

from pmsi.data.plumage.individual import Pose
from pmsi.data.plumage.ink import Axes, Frame, curve, ribbon
from pmsi.data.plumage.species import Genus

# The torso on the body's axes, for depth 1: from the undertail over the rump to the mantle, and from breast to vent.
BACK = np.array([(-0.53, 0.045), (-0.53, -0.075), (-0.28, -0.20), (0.0, -0.285)])
FRONT = np.array([(0.43, 0.13), (0.29, 0.29), (0.02, 0.345), (-0.29, 0.20)])
# The head on its own axes, in radii: its outline from the nape over the forehead to the chin, and the crown's region.
HEAD = np.array([(-0.93, -0.26), (-0.68, -0.76), (-0.06, -1.0), (0.60, -0.76), (0.96, -0.12), (0.84, 0.45)])
CROWN_EDGE = np.array([(0.93, -0.24), (0.55, -0.50), (-0.15, -0.42), (-0.75, -0.20)])
CROWN_BEYOND = np.array([(-1.02, -0.45), (-1.1, -1.2), (0.0, -1.4), (0.9, -1.0)])
# The folded wing on its own axes, in wing lengths: the shoulder at the origin, the tip at (-1, 0).
WING_TOP = np.array([(0.04, 0.02), (-0.06, -0.13), (-0.30, -0.17), (-0.60, -0.125), (-0.85, -0.05), (-1.0, 0.012)])
WING_LOW = np.array([(-0.82, 0.075), (-0.56, 0.17), (-0.30, 0.225), (-0.08, 0.17)])
MARGIN = 0.03
"""Free border around the bird, as a fraction of the image."""


@dataclass(frozen=True)
class Anatomy:
    """Outlines (n, 2) of the parts, all in local units, and the axes on which patterns are laid."""

    body: Axes
    head: Axes
    radius: float
    """Of the head."""
    depth: float
    wing_axes: Axes
    wing_length: float
    tail_axes: Axes
    tail_length: float
    torso: np.ndarray
    crown: np.ndarray
    crest: tuple[np.ndarray, ...]
    bill: tuple[np.ndarray, np.ndarray]
    """Upper and lower mandible."""
    eye: tuple[float, float, float, float]
    """Centre and two radii (the eye narrows as the head turns away)."""
    wing: np.ndarray
    feathers: tuple[np.ndarray, ...]
    """Tail feathers, the outermost first."""
    hips: np.ndarray
    feet: np.ndarray
    """Two feet (2, 2), the far one first; both lie on the perch."""
    frame: Frame


def build(genus: Genus, pose: Pose, side: int) -> Anatomy:
    """Pose a bird of a genus and place it on a square image of ``side`` pixels."""
    depth = genus.depth * pose.plump
    body = Axes(0.0, 0.0, pose.body)
    head = _joint(body, genus.neck, pose.head)
    wing_axes = _joint(body, (0.27, -0.07 * depth), pose.body + np.radians(1) + pose.wing)
    tail_axes = _joint(body, (-0.42, -0.01), pose.body + pose.tail)
    hips = body.out(np.array([(0.02, 0.26 * depth), (-0.07, 0.27 * depth)]))
    torso = _torso(body, head, genus.head, depth)
    crest = _crest(head, genus.head, genus.crest)
    bill = _bill(head, genus, pose.turn)
    wing = curve(wing_axes.out(np.concatenate([WING_TOP, WING_LOW]) * genus.wing * (1, 0.5 + 0.5 * depth)))
    feathers = _tail(tail_axes, genus)
    feet = _feet(hips, genus.leg, pose.slope)
    return Anatomy(
        body=body,
        head=head,
        radius=genus.head,
        depth=depth,
        wing_axes=wing_axes,
        wing_length=genus.wing,
        tail_axes=tail_axes,
        tail_length=genus.tail.length,
        torso=torso,
        crown=curve(head.out(np.concatenate([CROWN_EDGE, CROWN_BEYOND]) * genus.head)),
        crest=crest,
        bill=bill,
        eye=_eye(head, genus.head, pose.turn),
        wing=wing,
        feathers=feathers,
        hips=hips,
        feet=feet,
        frame=_frame(np.concatenate([torso, *crest, *bill, wing, *feathers, feet]), pose, side),
    )


def _joint(body: Axes, place: tuple[float, float], angle: float) -> Axes:
    """Return axes that turn around a place on the body."""
    x, y = body.out(np.array([place]))[0]
    return Axes(float(x), float(y), float(angle))


def _torso(body: Axes, head: Axes, radius: float, depth: float) -> np.ndarray:
    """Return one smooth outline around body and head."""
    back, front = (body.out(points * (1, depth)) for points in (BACK, FRONT))
    return curve(np.concatenate([back, head.out(HEAD * radius), front]))


def _crest(head: Axes, radius: float, length: float) -> tuple[np.ndarray, ...]:
    """Return three overlapping pointed feathers swept back from the crown, or nothing."""
    if not length:
        return ()
    feathers = []
    for angle, reach, root in ((-12, 0.78, -0.62), (-22, 0.95, -0.4), (-33, 1.0, -0.12)):
        a, tip = np.radians(angle), length * reach
        spine = np.array(
            [(root + 0.55, -0.45), (root, -0.62), (root - 0.5 * tip * np.cos(a), -0.66 + 0.5 * tip * np.sin(a))]
        )
        end = np.array([(root - tip * np.cos(a), -0.62 + tip * np.sin(a))])
        path = curve(np.concatenate([spine, end]), closed=False)
        t = np.linspace(0, 1, len(path))
        feathers.append(head.out(ribbon(path * radius, radius * 0.68 * np.sqrt(1 - t) * (0.55 + 0.45 * t))))
    return tuple(feathers)


def _bill(head: Axes, genus: Genus, turn: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the mandibles; a turned head shows a shorter bill."""
    bill, r = genus.bill, genus.head
    length, depth = bill.length * (1 - 0.3 * turn), bill.depth
    tip = (0.88 + length, 0.10 + bill.hook)
    upper = [
        (0.80, 0.12 - 0.55 * depth),
        (0.90 + 0.45 * length, 0.10 - 0.40 * depth),
        tip,
        (0.90 + 0.4 * length, 0.16),
        (0.80, 0.14),
    ]
    lower = [
        (0.80, 0.14),
        (0.90 + 0.4 * length, 0.16),
        (tip[0] - 0.12 * length, tip[1] - 0.01),
        (0.90 + 0.35 * length, 0.14 + 0.32 * depth),
        (0.78, 0.14 + 0.42 * depth),
    ]
    return head.out(_rounded(upper) * r), head.out(_rounded(lower) * r)


def _rounded(corners: list[tuple[float, float]]) -> np.ndarray:
    """Return a mandible's outline with its upper edge bowed and its corners kept."""
    base, shoulder, tip, *rest = corners
    edge = curve([base, shoulder, tip], steps=6, closed=False)
    return np.concatenate([edge, np.array(rest)])


def _eye(head: Axes, radius: float, turn: float) -> tuple[float, float, float, float]:
    x, y = head.out(np.array([(0.40 - 0.10 * turn, -0.20)]) * radius)[0]
    size = 0.185 * radius
    return float(x), float(y), size * (1 - 0.06 * turn), size


def _tail(axes: Axes, genus: Genus) -> tuple[np.ndarray, ...]:
    """Return the feathers as a narrow fan; ``notch`` makes the outer ones longer or shorter than the middle."""
    tail, feathers = genus.tail, []
    for spread in (-1.0, 1.0, -0.5, 0.5, 0.0):
        length = tail.length * (1 + 0.16 * tail.notch * (abs(spread) - 0.5))
        end = spread * (tail.tip - 0.075) / 1.6
        t = np.linspace(0, 1, 10)
        path = np.stack([-length * t, spread * tail.base * 0.22 * (1 - t) + end * t**1.4], axis=1)
        width = (0.06 + 0.045 * t) * np.sqrt(np.clip((1 - t**6) + 0.08, 0, 1))
        feathers.append(axes.out(ribbon(path, width)))
    return tuple(feathers)


def _feet(hips: np.ndarray, leg: float, slope: float) -> np.ndarray:
    """Return where the feet hold a perch of this slope that passes below the hips."""
    middle = np.add(hips.mean(axis=0), (0.06, leg))
    along = np.array((np.cos(slope), np.sin(slope)))
    gap = 0.10 + 0.06 * abs(np.sin(slope))
    return np.stack([middle + along * gap / 2, middle - along * gap / 2])


def _frame(points: np.ndarray, pose: Pose, side: int) -> Frame:
    """Scale the bird to its extent, or to the image's height where that is less, and place it within the margins."""
    low, high = points.min(axis=0) - 0.01, points.max(axis=0) + 0.01
    room = 1 - 2 * MARGIN
    w, h = high - low
    scale = min(pose.extent / w, 0.94 * room / h)
    left = MARGIN + pose.place[0] * (room - w * scale)
    top = MARGIN + pose.place[1] * (room - h * scale)
    origin = left - low[0] * scale if pose.facing > 0 else left + high[0] * scale
    return Frame(float(scale * side), float(origin * side), float((top - low[1] * scale) * side), pose.facing)
