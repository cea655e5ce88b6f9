"""Maps under rising severity as an animated picture: one strip for each severity, with a line that says which.

What was done to the images, and by whom they are explained, is not known here.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw

from pmsi.augment.animation import Frame, gif
from pmsi.base.errors import PMSIError
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
    """Return pictures of one size as a GIF that plays without end; the last one stays twice as long.

    All have one palette, so that a colour means the same value in each frame.
    """
    if not frames:
        raise PMSIError("An animation needs at least one frame.")
    held_ms = round(1000 * frame_s)
    last = len(frames) - 1
    return gif([Frame(picture, held_ms * (2 if i == last else 1)) for i, picture in enumerate(frames)])
