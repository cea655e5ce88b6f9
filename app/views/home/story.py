"""What a network makes of one image, step by step: its mosaics, its stages, its interaction."""

from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from app.shared.charts import mark
from app.shared.images import Figure
from app.shared.palette import head_color
from pmsi.explain.stages import Activations, Interaction
from pmsi.methods import resolve
from pmsi.pictures.encoding import data_uri, jpeg, png
from pmsi.pictures.mosaics import mosaics
from pmsi.pictures.overlays import table
from pmsi.pictures.sheets import enlarged
from pmsi.pictures.stages import channel_overlay
from pmsi.predictor import Guess, Predictor

DEPTH = 3
SIDE = 224
"""Least side of a picture in pixels."""


@dataclass(frozen=True)
class Cut:
    """The image after r recursions, the head that the phase with that r trains, and what it answers on this mosaic."""

    r: int
    head: str
    picture: bytes
    guess: Guess


@dataclass(frozen=True)
class Stage:
    """A stage's channel that adds most to the answer, over the image."""

    name: str
    channel: int
    channels: int
    cells: int
    picture: bytes


@dataclass(frozen=True)
class Strip:
    """x_m or a stage's gates as a picture with a column for each channel, those of the smallest x_m first."""

    name: str
    picture: bytes
    words: str


@dataclass(frozen=True)
class Story:
    """All of it. ``strips`` are empty for a network without interaction."""

    cuts: tuple[Cut, ...]
    stages: tuple[Stage, ...]
    strips: tuple[Strip, ...]


def story_of(predictor: Predictor, prepared: Image.Image, seed: int) -> Story:
    """Return the steps for a prepared picture; ``seed`` is that of the mosaics' layout."""
    activations = predictor.activations(prepared)
    return Story(_cuts(predictor, prepared, seed), _stages(prepared, activations), _strips(activations.interaction))


def cut_pictures(image: Image.Image, seed: int) -> list[bytes]:
    """Return the mosaics of a square picture at r = 3, 2, 1, 0."""
    return [jpeg(enlarged(mosaic, SIDE)) for mosaic in mosaics(image, DEPTH, seed=seed, borders=False)[::-1]]


def _cuts(predictor: Predictor, prepared: Image.Image, seed: int) -> tuple[Cut, ...]:
    trained = {phase.r: phase.head for phase in resolve(predictor.config).phases}
    found = []
    for r, mosaic in reversed(list(enumerate(mosaics(prepared, DEPTH, seed=seed, borders=False)))):
        head = trained.get(r, predictor.primary)
        guess = predictor.predict(mosaic, top=1).heads[head][0]
        found.append(Cut(r, head, jpeg(enlarged(mosaic, SIDE)), guess))
    return tuple(found)


def _stages(prepared: Image.Image, activations: Activations) -> tuple[Stage, ...]:
    found = []
    for name, stage in activations.stages.items():
        (channel,) = stage.strongest(1, "evidence")
        picture = jpeg(channel_overlay(enlarged(prepared, SIDE), stage.channel(channel)))
        found.append(Stage(name, channel, len(stage.values), stage.values.shape[1], picture))
    return tuple(found)


def _strips(interaction: Interaction | None) -> tuple[Strip, ...]:
    if interaction is None or interaction.x_m is None:
        return ()
    x_m = interaction.x_m
    order, top = np.argsort(x_m), float(np.abs(x_m).max()) or 1.0
    share = (x_m > 0).mean()
    words = f"{len(x_m)} numbers from {x_m.min():.2f} to {x_m.max():.2f}; {share:.0%} are above 0".replace("-", "−")
    strips = [Strip("xₘ", _strip(0.5 + x_m[order] / (2 * top)), words)]
    for name, gates in interaction.g.items():
        words = (
            f"gates from {gates.min():.2f} to {gates.max():.2f}; {(gates > 0.5).mean():.0%} of them more open than shut"
        )
        strips.append(Strip(name, _strip(gates[order]), words))
    return tuple(strips)


def _strip(values: np.ndarray) -> bytes:
    """Return numbers from 0 to 1 as a line of pixels, from dark to bright."""
    colors = table()[np.rint(np.clip(values, 0, 1) * 255).astype(int)]
    return png(Image.fromarray(colors.astype(np.uint8)[None]))


# As HTML


def cut_figures(story: Story, truth: str | None) -> list[Figure]:
    """Return the mosaics with what is answered on each; right or wrong where ``truth`` is known."""
    return [
        Figure(cut.picture, f"r = {cut.r}", f"r = {cut.r} → {cut.head}", said(cut.guess, truth), head_color(cut.head))
        for cut in story.cuts
    ]


def stage_figures(story: Story) -> list[Figure]:
    """Return a stage's picture each."""
    return [
        Figure(
            stage.picture,
            f"Channel {stage.channel} of {stage.name} over the image",
            stage.name,
            f"{stage.cells} × {stage.cells} places, channel {stage.channel} of {stage.channels}",
            head_color(stage.name),
        )
        for stage in story.stages
    ]


def strips_html(story: Story) -> str:
    """Return x_m and the gates of each stage below each other."""
    rows = "".join(
        f'<div><b style="border-color:{head_color(strip.name)}">{escape(strip.name)}</b>'
        f'<span><img src="{data_uri(strip.picture, "image/png")}" alt="{escape(strip.name)}: {escape(strip.words)}">'
        f"<small>{escape(strip.words)}</small></span></div>"
        for strip in story.strips
    )
    return f'<div class="strips">{rows}</div>'


def said(guess: Guess, truth: str | None) -> str:
    """Return a guess in words, with ✓ or ✗ where the true class is known."""
    return f"{guess.name}{mark(guess.name, truth)}, {guess.probability:.0%}"
