"""Colours: runs, stages and outputs are three families, which never collide and are seen on both pages."""

import itertools
import math
import tomllib

import numpy as np
import pytest
from PIL import ImageColor

from app import server
from app.shared.palette import CATEGORICAL, OUTPUTS, STAGES

FAMILIES = (tuple(CATEGORICAL), tuple(STAGES.values()), tuple(OUTPUTS.values()))


def linear(color):
    values = (part / 255 for part in ImageColor.getrgb(color))
    return [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]


def luminance(color):
    return np.dot((0.2126, 0.7152, 0.0722), linear(color))


def lab(color):
    """CIE L*a*b* of sRGB, D65."""
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    of_white = (np.dot(row, linear(color)) / sum(row) for row in rows)
    x, y, z = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in of_white)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_no_two_families_have_colours_that_are_alike():
    for one, other in itertools.combinations(FAMILIES, 2):
        assert min(math.dist(lab(a), lab(b)) for a in one for b in other) > 25
    heads = [*STAGES.values(), *OUTPUTS.values()]
    assert min(math.dist(lab(a), lab(b)) for a, b in itertools.combinations(heads, 2)) > 25


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_stages_and_outputs_are_seen_on_the_page(theme):
    config = tomllib.loads((server.HERE / ".streamlit" / "config.toml").read_text())
    page = luminance(config["theme"][theme]["backgroundColor"])
    for color in (*STAGES.values(), *OUTPUTS.values()):
        low, high = sorted((page, luminance(color)))
        assert (high + 0.05) / (low + 0.05) > 2, color
