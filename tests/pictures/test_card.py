"""The score card: a bar's length is its score's share."""

import numpy as np
from PIL import Image

from pmsi.pictures.card import SIZE, score_card


def test_bars_are_as_long_as_their_share():
    small = Image.new("RGB", (32, 32), "#123456")
    colors = {"a": "#ff0000", "b": "#00ff00", "c": "#0000ff"}
    card = score_card("T", "w", {"a": 20, "b": 5, "c": 0}, 20, colors, [(small, "x")] * 5)
    pixels = np.asarray(card)
    assert card.size == SIZE

    def width(color):
        return (pixels == color).all(axis=2).sum(axis=1).max()

    assert abs(width((0, 255, 0)) - width((255, 0, 0)) / 4) <= 1
    assert width((0, 0, 255)) == 0
    assert (pixels == (0x12, 0x34, 0x56)).all(axis=2).sum() > 5 * 100 * 100
