"""SETTINGS, the kinds of place, and `backdrop`, which paints the blurred background of one.

A background is drawn small, blurred and enlarged, so it costs the same at every size.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pmsi.data.plumage.ink import mix, picture, rgb

BASE = 96
"""Pixels along each side of the canvas a background is drawn on."""


@dataclass(frozen=True)
class Setting:
    """One kind of place. Colours are hexadecimal sRGB."""

    name: str
    sky: tuple[str, str, str]
    """The gradient from the top of the image to the bottom."""
    blobs: tuple[str, ...]
    """Colours of the discs of light that are out of focus."""
    stems: tuple[str, ...]
    """Colours of soft upright stems or trunks; none in an open place."""
    leaf: str
    wood: str
    """Colour of the perch."""
    perches: tuple[str, ...]
    snow: str = ""
    """Colour of the snow that lies on perches and ground, if any."""


SETTINGS: tuple[Setting, ...] = (
    Setting(
        name="foliage",
        sky=("#b9c9a0", "#9db588", "#7f9c72"),
        blobs=("#d8e2b4", "#c5d69c", "#8fae78", "#6f9068", "#eef0cc"),
        stems=(),
        leaf="#7d9b5c",
        wood="#86705b",
        perches=("twig",),
    ),
    Setting(
        name="grove",
        sky=("#6f8a78", "#5d7a6b", "#4c675a"),
        blobs=("#8fa98a", "#a9bf95", "#4e6b5c", "#c9d3a5", "#5f7f6f"),
        stems=("#4a5d52", "#587063"),
        leaf="#86a268",
        wood="#7a6a58",
        perches=("twig",),
    ),
    Setting(
        name="sky",
        sky=("#a9c3d6", "#c9d8dd", "#ece5d8"),
        blobs=("#e6eaea", "#f3eee4", "#bcd0da", "#dfe3dc"),
        stems=(),
        leaf="#8a9f6a",
        wood="#8b7766",
        perches=("twig",),
    ),
    Setting(
        name="reeds",
        sky=("#dcd6bd", "#cdc19a", "#aca479"),
        blobs=("#e8dfbe", "#d6c795", "#b7ae82", "#f2ead0"),
        stems=("#b8a672", "#a19660", "#d3c493", "#8f8a5c"),
        leaf="#a39c5e",
        wood="#b49a62",
        perches=("reed", "reed", "twig"),
    ),
    Setting(
        name="snow",
        sky=("#c5ced8", "#d6dce2", "#e9ebec"),
        blobs=("#f6f6f4", "#dfe4e8", "#b9c4cf", "#eceef0"),
        stems=("#a9b3bd", "#b7bdc2"),
        leaf="#9c7f63",
        wood="#75675d",
        perches=("twig", "ground"),
        snow="#f4f6f7",
    ),
    Setting(
        name="bark",
        sky=("#b39c86", "#a18a75", "#8c7765"),
        blobs=("#c4b09b", "#8f7a69", "#d5c4ae", "#9aa07c"),
        stems=("#7d6a5a", "#94806d", "#c0ab95"),
        leaf="#8d9a63",
        wood="#6e5c4d",
        perches=("twig",),
    ),
    Setting(
        name="meadow",
        sky=("#d5dcd0", "#c3cf9f", "#9fb277"),
        blobs=("#e9e8c0", "#e7cfae", "#b4c48c", "#d9b9b4", "#f3efd6"),
        stems=("#a7b77d",),
        leaf="#8ea65f",
        wood="#9a8d70",
        perches=("ground", "reed", "twig"),
    ),
    Setting(
        name="evening",
        sky=("#8f97ad", "#c7a99f", "#e3c3a0"),
        blobs=("#f0d3ac", "#d9b3a3", "#a39fb0", "#f6e3c4"),
        stems=("#8d8490",),
        leaf="#6f7355",
        wood="#675a58",
        perches=("twig", "reed"),
    ),
)


def backdrop(setting: Setting, side: int, rng: np.random.Generator) -> np.ndarray:
    """Return the out-of-focus background, float32 (3, side, side) in [0, 1]."""
    canvas = picture(_gradient(setting, rng))
    draw = ImageDraw.Draw(canvas, "RGBA")
    _stems(draw, setting, rng)
    _blobs(draw, setting.blobs, rng, count=12, radius=(10, 32), opacity=(70, 150))
    canvas = canvas.filter(ImageFilter.GaussianBlur(7))
    _blobs(
        ImageDraw.Draw(canvas, "RGBA"),
        setting.blobs,
        rng,
        count=int(rng.integers(4, 15)),
        radius=(3, 11),
        opacity=(28, 80),
    )
    canvas = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.9, 2.0))))
    large = canvas.resize((side, side), Image.Resampling.BICUBIC)
    return np.stack([np.asarray(band, dtype=np.float32) for band in large.split()]) / np.float32(255)


def _gradient(setting: Setting, rng: np.random.Generator) -> np.ndarray:
    """Return a slightly slanted gradient of three colours, (3, BASE, BASE)."""
    top, middle, bottom = (rgb(code) for code in setting.sky)
    y, x = np.mgrid[0:BASE, 0:BASE].astype(np.float32) / np.float32(BASE)
    t = np.clip(y + np.float32(rng.uniform(-0.35, 0.35)) * (x - np.float32(0.5)), 0, 1)
    bend = np.float32(rng.uniform(0.4, 0.65))
    return mix(mix(top, middle, np.clip(t / bend, 0, 1)), bottom, np.clip((t - bend) / (1 - bend), 0, 1))


def _stems(draw: ImageDraw.ImageDraw, setting: Setting, rng: np.random.Generator) -> None:
    if not setting.stems:
        return
    for _ in range(int(rng.integers(5, 12))):
        x, lean, width = rng.uniform(0, BASE), rng.normal(0, 7), int(rng.integers(2, 10))
        draw.line((x, -9, x + lean, BASE + 9), fill=_ink(setting.stems, rng, (90, 190)), width=width)


def _blobs(
    draw: ImageDraw.ImageDraw,
    colours: tuple[str, ...],
    rng: np.random.Generator,
    count: int,
    radius: tuple[float, float],
    opacity: tuple[int, int],
) -> None:
    for _ in range(count):
        x, y = rng.uniform(-5, BASE + 5, size=2)
        r = rng.uniform(*radius)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_ink(colours, rng, opacity))


def _ink(colours: tuple[str, ...], rng: np.random.Generator, opacity: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return one of the colours as 8-bit RGB with an opacity from the range."""
    r, g, b = (int(value * 255) for value in rgb(colours[rng.integers(len(colours))]))
    return r, g, b, int(rng.integers(*opacity))
