"""Several pictures on one white sheet: rows, grids with a title, and contact sheets of a data set."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from pmsi.base.errors import ConfigError
from pmsi.data.dataset import Dataset, Sample

INK = "#111418"

THUMBNAIL, GAP, LABEL, FOOT = 128, 6, 190, 30
"""Sides and margins of a contact sheet in pixels: LABEL is the column of names, FOOT the line at the bottom."""

CLASSES_PER_PAGE = 50
"""Classes on one contact sheet: 6,700 pixels high, which every format and viewer supports."""


def font(pixels: float, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans from matplotlib's files; it has Latin, Greek and Cyrillic letters and symbols."""
    import matplotlib  # here, because it takes 0.2 s

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", name), pixels)


def enlarged(image: Image.Image, side: int) -> Image.Image:
    """Return a square picture, enlarged to ``side`` pixels if it is smaller."""
    return image if image.width >= side else image.resize((side, side), Image.Resampling.BICUBIC)


def thumbnail(image: Image.Image, side: int = THUMBNAIL) -> Image.Image:
    """Return the middle square of an image, ``side`` pixels wide and high."""
    shortest = min(image.size)
    left, top = (image.width - shortest) // 2, (image.height - shortest) // 2
    middle = (left, top, left + shortest, top + shortest)
    return image.resize((side, side), Image.Resampling.LANCZOS, box=middle, reducing_gap=3.0)


def grid(rows: Sequence[Sequence[Image.Image]], gap: int, title: str = "", title_height: int = 22) -> Image.Image:
    """Return rows of pictures of the same size on white, ``gap`` pixels apart, below an optional title."""
    width, height = rows[0][0].size
    top = title_height if title else 0
    columns = max(len(row) for row in rows)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, top + len(rows) * (height + gap) - gap), "white")
    if title:
        place = (sheet.width / 2, title_height / 2)
        ImageDraw.Draw(sheet).text(place, title, INK, font(13.0, bold=True), anchor="mm")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (x * (width + gap), top + y * (height + gap)))
    return sheet


def side_by_side(pictures: Sequence[Image.Image], gap: int = 12) -> Image.Image:
    """Return pictures of the same size in a row, on white."""
    return grid([pictures], gap)


@dataclass(frozen=True)
class ContactSheet:
    """A page of a contact sheet; ``words`` are its line at the bottom: the classes and the page's number."""

    picture: Image.Image
    words: str


def contact_sheet(
    dataset: Dataset, columns: int = 6, page: int = 1, opened: Callable[[Sample], Image.Image] | None = None
) -> ContactSheet:
    """Return a page of the contact sheet: a row for each class, with its name and first ``columns`` training images.

    ``opened`` opens an image, by default as the data set does.
    A page has CLASSES_PER_PAGE classes; pages count from 1. Raises ConfigError for a page that does not exist.
    """
    total = len(dataset.classes)
    pages = max(1, ceil(total / CLASSES_PER_PAGE))
    if not 1 <= page <= pages:
        raise ConfigError(f"Page {page} of a contact sheet of {total} classes: expected a page from 1 to {pages}.")
    start = (page - 1) * CLASSES_PER_PAGE
    rows: dict[int, list[Sample]] = {label: [] for label in range(start, min(total, start + CLASSES_PER_PAGE))}
    for sample in dataset.train:
        if sample.label in rows and len(rows[sample.label]) < columns:
            rows[sample.label].append(sample)
    words = f"Classes {start + 1} to {start + len(rows)} of {total:,} · page {page} of {pages}"
    step = THUMBNAIL + GAP
    sheet = Image.new("RGB", (LABEL + columns * step + GAP, len(rows) * step + GAP + FOOT), "white")
    draw, letters = ImageDraw.Draw(sheet), font(14)
    for row, (label, samples) in enumerate(rows.items()):
        top = GAP + row * step
        name = textwrap.fill(dataset.classes[label], 22, break_long_words=False, break_on_hyphens=False)
        draw.text((GAP * 2, top + THUMBNAIL // 2), name, INK, letters, anchor="lm")
        for column, sample in enumerate(samples):
            sheet.paste(thumbnail((opened or dataset.open_image)(sample)), (LABEL + column * step, top))
    draw.text((GAP * 2, sheet.height - FOOT / 2), words, INK, font(12), anchor="lm")
    return ContactSheet(sheet, words)
