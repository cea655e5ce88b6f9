"""A score card as one picture: a bar for each player, and below them a small picture of each round."""

import textwrap
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from pmsi.pictures.sheets import INK, font

SIZE = (1200, 630)
EDGE, BAR, STEP = 56, 26, 54
GREY, TRACK = "#5c6470", "#e6eaee"


def score_card(
    title: str,
    words: str,
    scores: Mapping[str, int],
    best: int,
    colors: Mapping[str, str],
    rounds: Sequence[tuple[Image.Image, str]],
) -> Image.Image:
    """Return the card: ``scores`` by player of at most ``best``, each bar in its colour; ``rounds`` are square
    pictures with two lines of words each."""
    card = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(card)
    draw.text((EDGE, 40), title, INK, font(38, bold=True))
    draw.text((EDGE, 94), words, GREY, font(22))
    left, right = EDGE + 150, SIZE[0] - EDGE - 110
    for row, (player, score) in enumerate(scores.items()):
        y = 146 + row * STEP
        draw.text((EDGE, y + BAR / 2), player, INK, font(24, bold=not row), anchor="lm")
        draw.rounded_rectangle((left, y, right, y + BAR), 8, TRACK)
        if score:
            draw.rounded_rectangle(
                (left, y, left + (right - left) * score / best, y + BAR), 8, colors.get(player, GREY)
            )
        draw.text((right + 16, y + BAR / 2), f"{score} of {best}", INK, font(22), anchor="lm")
    side = min(150, (SIZE[0] - 2 * EDGE) // max(1, len(rounds)) - 16)
    top = SIZE[1] - side - 62
    for column, (picture, line) in enumerate(rounds):
        x = EDGE + column * (side + 16)
        card.paste(picture.resize((side, side), Image.Resampling.LANCZOS), (x, top))
        said = "\n".join(textwrap.shorten(part, 22, placeholder=" …") for part in line.splitlines())
        draw.multiline_text((x + side / 2, top + side + 10), said, GREY, font(13), anchor="ma", align="center")
    return card
