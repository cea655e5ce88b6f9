"""Maps under rising severity as an animated picture: one strip for each severity, with a line that says which.

What was done to the images, and by whom they are explained, is not known here.
"""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from pmsi.errors import PMSIError
from pmsi.explain.printing import font_of

GAP, LINE = 4, 22
"""Between pictures, and height of the line of text, in pixels."""


def strip(pictures: Sequence[Sequence[Image.Image]], title: str) -> Image.Image:
    """Return rows of pictures of one size on white, below a title."""
    side = pictures[0][0].width
    columns = max(len(row) for row in pictures)
    paper = Image.new("RGB", (columns * (side + GAP) - GAP, LINE + len(pictures) * (side + GAP) - GAP), "white")
    ImageDraw.Draw(paper).text((paper.width / 2, LINE / 2), title, "#111418", font_of(13.0, bold=True), anchor="mm")
    for i, row in enumerate(pictures):
        for k, picture in enumerate(row):
            paper.paste(picture, (k * (side + GAP), LINE + i * (side + GAP)))
    return paper


def to_gif(frames: Sequence[Image.Image], frame_s: float = 0.8) -> bytes:
    """Return pictures of one size as a GIF that plays without end; the last one stays twice as long."""
    if not frames:
        raise PMSIError("An animation needs at least one frame.")
    times = [round(1000 * frame_s)] * (len(frames) - 1) + [round(2000 * frame_s)]
    # One palette for all, so that a colour means the same value in each frame.
    palette = _side_by_side(frames).quantize(256, dither=Image.Dither.NONE)
    first, *rest = (frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames)
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=rest, duration=times, loop=0)
    return file.getvalue()


def _side_by_side(frames: Sequence[Image.Image]) -> Image.Image:
    width, height = frames[0].size
    row = Image.new("RGB", (width * len(frames), height))
    for i, frame in enumerate(frames):
        row.paste(frame, (i * width, 0))
    return row
