"""Maps over images: colours, their ends, what stays readable on bright pictures, and outlines."""

import numpy as np
import pytest
from PIL import Image

from pmsi.base.errors import PMSIError, UnknownName
from pmsi.pictures.overlays import STRENGTH, borders, ceilings, color_bar, colored, outlined, overlay, table, tops_of

STAGES = ("S3", "S4", "S5")
LUMA = np.array([0.2126, 0.7152, 0.0722])
"""ITU-R BT.709."""


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def test_the_colour_map_gets_lighter_all_the_way():
    assert (np.diff(table() @ LUMA) > 0).all()
    assert np.array_equal(colored(np.array([[-1.0, 2.0]]))[0], table()[[0, 255]])
    row = np.asarray(color_bar(strength=0.5))[0] @ LUMA
    assert (np.diff(row) > -1).all()
    assert row[-1] > row[0] + 60


def test_colours_end_at_the_top_that_is_given_or_at_the_peak(image):
    values = np.zeros((8, 8), dtype=np.float32)
    values[1, 6] = 0.5
    own, half = (np.asarray(overlay(image, values, top, 1.0)).sum(axis=2) for top in (None, 1.0))
    assert np.array_equal(np.asarray(overlay(image, values, strength=0.0)), np.asarray(image))
    assert (np.asarray(overlay(image, np.ones((4, 4)), strength=1.0)) == table()[255].round()).all()
    for bright in (own, half):
        y, x = np.unravel_index(bright.argmax(), bright.shape)
        assert (y // 4, x // 4) == (1, 6)
    assert own.max() > half.max()
    assert np.array_equal(np.asarray(overlay(image, 2 * values, 1.0, 1.0)).sum(axis=2), own)


@pytest.mark.parametrize("color", ["black", "white", "yellow"])
def test_colours_over_any_picture_map_back_to_the_colour_bar(color):
    """Over white, no evidence was the light grey that the bar has near its peak."""
    values = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(4, axis=0)
    shown = np.asarray(overlay(Image.new("RGB", (64, 4), color), values, 1.0), dtype=float)[1]
    bar = np.asarray(color_bar(256, strength=STRENGTH), dtype=float)[0]
    found = ((shown[:, None] - bar) ** 2).sum(axis=2).argmin(axis=1) / 255
    assert np.abs(found - values[0]).max() < 0.2


@pytest.mark.parametrize("scale", ["map", "image", "all"])
def test_colours_end_at_the_peak_that_the_scale_names(scale):
    rng = np.random.default_rng(1)
    rows = [[{stage: rng.random((3, 3)) for stage in STAGES} for _ in range(2)] for _ in range(3)]
    found = ceilings(rows, scale)
    for (i, j, stage), top in found.items():
        shared = {
            "map": [rows[i][j][stage]],
            "image": list(rows[i][j].values()),
            "all": [values for row in rows for maps in row for values in maps.values()],
        }
        assert top == max(values.max() for values in shared[scale])
    assert len(found) == 18


def test_a_blank_map_stays_blank_and_unknown_scales_are_named():
    assert tops_of({"S3": np.zeros((2, 2))}) == {"S3": 1.0}
    assert tops_of({"S3": np.full((2, 2), 0.5), "S4": np.zeros((1, 1))}, "image") == {"S3": 0.5, "S4": 0.5}
    with pytest.raises(UnknownName, match="map, image, all"):
        ceilings([], "batch")


# Outlines


def test_an_outline_lies_between_pixels_that_differ():
    region = np.random.default_rng(0).random((5, 7)) < 0.5
    expected = set()
    for y in range(5):
        for x in range(7):
            for dy, dx, line in ((-1, 0, (x, y, x + 1, y)), (1, 0, (x, y + 1, x + 1, y + 1)),
                                 (0, -1, (x, y, x, y + 1)), (0, 1, (x + 1, y, x + 1, y + 1))):  # fmt: skip
                inside = 0 <= y + dy < 5 and 0 <= x + dx < 7 and region[y + dy, x + dx]
                if region[y, x] and not inside:
                    expected.add(line)
    found = set()
    for x0, y0, x1, y1 in borders(region):
        ends = [round(value) for value in (x0 * 7, y0 * 5, x1 * 7, y1 * 5)]
        assert ends[0] == ends[2] or ends[1] == ends[3]
        for x in range(ends[0], ends[2]):
            found.add((x, ends[1], x + 1, ends[1]))
        for y in range(ends[1], ends[3]):
            found.add((ends[0], y, ends[0], y + 1))
    assert found == expected
    assert borders(np.zeros((8, 8), dtype=bool)) == []
    with pytest.raises(PMSIError, match="expected"):
        borders(np.zeros(3, dtype=bool))


def test_an_outlined_picture_is_a_copy_that_differs_at_the_border_alone():
    picture, region = Image.new("RGB", (64, 64), "red"), np.zeros((8, 8), dtype=bool)
    region[2:6, 2:6] = True
    changed = (np.asarray(outlined(picture, region, 2)) != np.asarray(picture)).any(axis=2)
    assert changed[16, 32]
    assert changed[32, 47]
    assert not changed[32, 32]
    assert not changed[4, 4]
    assert not (np.asarray(outlined(picture, None)) != np.asarray(picture)).any()
