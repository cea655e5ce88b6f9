"""Individual: the pose, colours, light and scene of one drawing, drawn at random before anything is painted.

An individual depends on the genus and the seed, never on the species, so that siblings drawn with one seed differ only
in their marks.
"""

from dataclasses import dataclass

import numpy as np

from pmsi.base.seeding import derive, numpy_generator
from pmsi.data.plumage.ink import mix, rgb
from pmsi.data.plumage.scenery import SETTINGS, Setting
from pmsi.data.plumage.species import Genus

IN_FRONT: tuple[str, ...] = ("none", "none", "leaf", "blade", "sprig")
"""Occluders, one of which is drawn uniformly: two drawings in five have none."""


@dataclass(frozen=True)
class Pose:
    """How the bird holds itself. Angles in radians, clockwise on the screen for a bird that faces right."""

    facing: int
    """1 to the right, -1 to the left."""
    body: float
    head: float
    turn: float
    """0 in profile to 1 turned halfway towards the viewer."""
    wing: float
    tail: float
    plump: float
    """Factor on the body's depth, about 1."""
    extent: float
    """Width of the whole bird as a fraction of the image's."""
    place: tuple[float, float]
    """Where the bird lies in the room left by its size: 0 left or top, 1 right or bottom."""
    slope: float
    """Angle of the perch, in radians."""


@dataclass(frozen=True)
class Palette:
    """Colours of one individual, each float32 (3,) in [0, 1]."""

    head: np.ndarray
    back: np.ndarray
    breast: np.ndarray
    belly: np.ndarray
    wing: np.ndarray
    pale: np.ndarray
    """The colour of light marks: rings, bars, tips."""
    dark: np.ndarray
    """The colour of dark marks: caps, streaks."""
    horn: np.ndarray
    """A pale bill."""
    slate: np.ndarray
    """A dark bill."""
    leg: np.ndarray


@dataclass(frozen=True)
class Light:
    """Direction the light comes from (unit x, y), how strongly it models forms, and the picture's overall tone."""

    direction: tuple[float, float]
    strength: float
    exposure: float
    balance: np.ndarray
    """Gain of red, green and blue."""
    contrast: float


@dataclass(frozen=True)
class Individual:
    """All random choices of one drawing."""

    genus: Genus
    pose: Pose
    palette: Palette
    light: Light
    setting: Setting
    perch: str
    occluder: str
    seed: int
    """Seed of small details: blobs, twigs, feathers."""


def draw_individual(genus: Genus, seed: int, pose: int | None = None, light: int | None = None) -> Individual:
    """Return the individual of a genus for a seed; ``pose`` and ``light`` number others of its own."""

    def generator(of: str, number: int | None) -> np.random.Generator:
        return numpy_generator(seed, "plumage", genus.name, of, *([] if number is None else [number]))

    rng = numpy_generator(seed, "plumage", genus.name, "scene")
    setting = SETTINGS[rng.integers(len(SETTINGS))]
    perch = setting.perches[rng.integers(len(setting.perches))]
    return Individual(
        genus=genus,
        pose=_pose(genus, perch, generator("pose", pose)),
        palette=_palette(genus, numpy_generator(seed, "plumage", genus.name, "look")),
        light=_light(generator("light", light)),
        setting=setting,
        perch=perch,
        occluder=IN_FRONT[rng.integers(len(IN_FRONT))],
        seed=derive(seed, "plumage", genus.name, "details"),
    )


SLOPES: dict[str, tuple[float, float]] = {"twig": (-16, 16), "ground": (0, 0), "reed": (58, 74)}
"""Range of the angle of each perch, in degrees; a reed leans either way."""


def _pose(genus: Genus, perch: str, rng: np.random.Generator) -> Pose:
    facing = int(rng.choice((-1, 1)))
    slope = rng.uniform(*SLOPES[perch]) * (rng.choice((-1, 1)) if perch == "reed" else 1)
    body = -genus.posture + rng.normal(0, 8)
    return Pose(
        facing=facing,
        body=np.radians(body),
        head=np.radians(0.2 * body + rng.normal(2, 9)),
        turn=rng.uniform(0, 0.6),
        wing=np.radians(rng.uniform(-7, 5)),
        tail=np.radians(genus.tail_angle + rng.normal(0, 9)),
        plump=rng.uniform(0.93, 1.08),
        extent=rng.uniform(0.47, 0.84),
        place=(rng.beta(2, 2), rng.beta(2, 2)),
        slope=np.radians(slope),
    )


def _palette(genus: Genus, rng: np.random.Generator) -> Palette:
    """Mix two of the genus's palettes, then shift the whole towards warm or cool and light or dark."""
    first, second = (genus.palettes[i] for i in rng.choice(len(genus.palettes), 2, replace=False))
    t = rng.uniform(0, 1)
    tint = np.float32(1) + (rng.normal(0, 0.05) + np.array((1, 0, -1)) * rng.normal(0, 0.03)).astype(np.float32)
    head, back, breast, belly, wing = (
        np.clip(mix(rgb(a), rgb(b), t) * tint, 0, 1) for a, b in zip(first, second, strict=True)
    )
    return Palette(
        head=head,
        back=back,
        breast=breast,
        belly=np.clip(belly, 0, 0.97),
        wing=wing,
        pale=mix(rgb("#fdf3dc"), rgb("#f7f8f6"), rng.uniform()),
        dark=mix(rgb("#33281f"), rgb("#272c36"), rng.uniform()),
        horn=mix(rgb("#efbd77"), rgb("#e7b39c"), rng.uniform()),
        slate=mix(rgb("#43444c"), rgb("#4a3d36"), rng.uniform()),
        leg=mix(rgb("#7b6157"), rgb("#54555c"), rng.uniform()),
    )


def _light(rng: np.random.Generator) -> Light:
    angle = np.radians(rng.uniform(-155, -25))
    warmth = rng.normal(0, 0.045)
    return Light(
        direction=(float(np.cos(angle)), float(np.sin(angle))),
        strength=rng.uniform(0.7, 1.25),
        exposure=rng.uniform(0.86, 1.08),
        balance=np.array((1 + warmth, 1 + rng.normal(0, 0.012), 1 - warmth), dtype=np.float32),
        contrast=rng.uniform(0.88, 1.12),
    )
