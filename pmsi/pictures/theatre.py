"""The theatre of a run as an animation: six test images and their maps, from before training to its end."""

from collections.abc import Mapping
from dataclasses import replace

from PIL import Image, ImageDraw

from pmsi.base.text import shortened
from pmsi.pictures.encoding import Frame, gif
from pmsi.pictures.overlays import SHADOW, WHITE, overlay, tops_of
from pmsi.pictures.sheets import INK, font
from pmsi.runs.theatre import Moment, Theatre

SIDE, GAP, LINE, COLUMNS = 96, 4, 18, 3
"""Pixels: the side of a tile, the space between two, the height of a line of text; and images beside each other."""

HELD_MS = 700
"""Duration of a moment; the last one takes three times as long."""

RIGHT, WRONG = "#1d7f3c", "#b3261e"


def animation(theatres: Mapping[str, Theatre], scale: str = "image") -> bytes:
    """Return the moments of the first of some theatres of the same images as a GIF, with what the others show then.

    Each image stands beside its maps of S3, S4 and S5. The keys of ``theatres`` are the runs' titles, ``scale`` is a
    key of COLOR_SCALES for each image of a run.
    """
    moments = next(iter(theatres.values())).moments
    frames = [Frame(_sheet(theatres, moment.epoch, scale), HELD_MS) for moment in moments]
    frames[-1] = replace(frames[-1], held_ms=3 * HELD_MS)
    return gif(frames, (RIGHT, WRONG))


def _sheet(theatres: Mapping[str, Theatre], epoch: int, scale: str) -> Image.Image:
    first = next(iter(theatres.values()))
    width, height = 4 * (SIDE + GAP) + GAP, LINE + len(theatres) * (SIDE + LINE + GAP) + 2 * GAP
    rows = -(-len(first.keys) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * width, (1 + len(theatres)) * LINE + GAP + rows * height), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 2), f"After epoch {epoch}" if epoch else "Before training", INK, font(13, bold=True))
    for line, (title, theatre) in enumerate(theatres.items(), 1):
        score = f"{theatre.right(theatre.at(epoch))} of {len(theatre.keys)} right by {theatre.primary}"
        draw.text((GAP, line * LINE), f"{shortened(title)}: {score}", INK, font(11))
    for image in range(len(first.keys)):
        x, y = image % COLUMNS * width + GAP, (1 + len(theatres)) * LINE + GAP + image // COLUMNS * height
        draw.text((x, y), shortened(first.classes[first.labels[image]], 40), INK, font(11, bold=True))
        for number, theatre in enumerate(theatres.values()):
            top = y + LINE + number * (SIDE + LINE + GAP)
            moment = theatre.at(epoch)
            name, right = theatre.said(moment, image)
            for place, tile in enumerate(_tiles(theatre, moment, image, scale)):
                sheet.paste(tile, (x + place * (SIDE + GAP), top))
            words = f"{'✓' if right else '✗'} {shortened(name, 40)}"
            draw.text((x, top + SIDE + 1), words, RIGHT if right else WRONG, font(11))
    return sheet


def _tiles(theatre: Theatre, moment: Moment, image: int, scale: str) -> list[Image.Image]:
    """Return an image, and each stage's map over it, with the stage's name."""
    picture = theatre.picture(image).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    maps = {stage: moment.map(stage, image) for stage in moment.maps}
    tops = tops_of(maps, scale)
    tiles = {stage: overlay(picture, values, tops[stage]) for stage, values in maps.items()}
    for stage, tile in tiles.items():
        place = (GAP, SIDE - GAP)
        ImageDraw.Draw(tile).text(place, stage, WHITE, font(11), anchor="ls", stroke_width=2, stroke_fill=SHADOW)
    return [picture, *tiles.values()]
