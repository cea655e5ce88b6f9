"""Maps as pictures: the colour scale, the overlay, and which maps share a peak."""

import numpy as np
import pytest
from PIL import Image

from pmsi.explain.overlay import TABLE, color_bar, colored, overlay, scaled


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def test_the_colour_map_gets_lighter_all_the_way():
    luminance = TABLE @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > 0).all()
    assert np.array_equal(colored(np.array([[-1.0, 2.0]]))[0], TABLE[[0, 255]])


def test_an_overlay_of_strength_0_is_the_image_and_of_1_the_map(image):
    values = np.full((4, 4), 1.0, dtype=np.float32)
    assert np.array_equal(np.asarray(overlay(image, values, 0.0)), np.asarray(image))
    assert (np.asarray(overlay(image, values, 1.0)) == TABLE[255].round()).all()


def test_an_overlay_is_bright_where_the_map_is_large(image):
    values = np.zeros((8, 8), dtype=np.float32)
    values[1, 6] = 1
    bright = np.asarray(overlay(image, values, 1.0)).sum(axis=2)
    y, x = np.unravel_index(bright.argmax(), bright.shape)
    assert (y // 4, x // 4) == (1, 6)


def test_each_map_reaches_its_own_peak_or_all_share_one():
    maps = {"S3": np.array([[0.0, 2.0]]), "S4": np.array([[1.0, 0.5]]), "S5": np.zeros((1, 2))}
    own, peaks = scaled(maps, common=False)
    assert peaks == {"S3": 2.0, "S4": 1.0, "S5": 0.0}
    assert [values.max() for values in own.values()] == [1.0, 1.0, 0.0]
    common, _ = scaled(maps, common=True)
    assert [values.max() for values in common.values()] == [1.0, 0.5, 0.0]


def test_the_colour_bar_runs_from_dark_to_light():
    row = np.asarray(color_bar())[0].sum(axis=1)
    assert row[0] < row[-1]
