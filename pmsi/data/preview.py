"""A contact sheet: some images of each class of a data set, to see what one is about to learn from."""

from PIL import Image, ImageDraw, ImageFont

from pmsi.data.dataset import Dataset, Sample

THUMBNAIL, GAP, LABEL = 128, 6, 190
"""Sides and margins in pixels; the class's name stands in a column of its own."""


def contact_sheet(dataset: Dataset, columns: int = 6) -> Image.Image:
    """Return one row for each class with its name and its first ``columns`` training images."""
    rows: dict[int, list[Sample]] = {label: [] for label in range(len(dataset.classes))}
    for sample in dataset.train:
        if len(rows[sample.label]) < columns:
            rows[sample.label].append(sample)
    step = THUMBNAIL + GAP
    sheet = Image.new("RGB", (LABEL + columns * step + GAP, len(rows) * step + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for label, samples in rows.items():
        top = GAP + label * step
        draw.text((GAP * 2, top + THUMBNAIL // 2), _wrapped(dataset.classes[label]), "#222", font, anchor="lm")
        for column, sample in enumerate(samples):
            sheet.paste(thumbnail(dataset.open_image(sample)), (LABEL + column * step, top))
    return sheet


def _wrapped(name: str, width: int = 22) -> str:
    """Break a class name into lines."""
    lines = [""]
    for word in name.split():
        lines[-1:] = [f"{lines[-1]} {word}".strip()] if len(lines[-1]) + len(word) < width else [lines[-1], word]
    return "\n".join(line for line in lines if line)


def thumbnail(image: Image.Image, side: int = THUMBNAIL) -> Image.Image:
    """Return the middle square of an image, ``side`` pixels wide and high."""
    shortest = min(image.size)
    left, top = (image.width - shortest) // 2, (image.height - shortest) // 2
    middle = (left, top, left + shortest, top + shortest)
    return image.resize((side, side), Image.Resampling.LANCZOS, box=middle, reducing_gap=3.0)
