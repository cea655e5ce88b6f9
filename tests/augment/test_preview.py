"""The preview: nested pictures, borders where the cuts are, one strip."""

import numpy as np
import pytest
from PIL import Image

from pmsi.augment.preview import COLORS, layouts, mosaic_strip, preview, square
from pmsi.base.errors import ConfigError


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image)


def test_pictures_permute_the_pixels_of_the_image(image: Image.Image) -> None:
    pictures = preview(image, 3, borders=False)
    assert len(pictures) == 4
    assert np.array_equal(pixels(pictures[0]), pixels(image))
    for picture in pictures:
        assert np.array_equal(np.sort(pixels(picture).reshape(-1, 3), axis=0), np.sort(pixels(image).reshape(-1, 3), 0))


def test_each_picture_changes_one_patch_of_the_one_before(image: Image.Image) -> None:
    pictures = preview(image, 3, seed=5, borders=False)
    steps = layouts(3, seed=5)[-1].recursions()
    for k in (1, 2):
        x, y, side = (round(v * 64) for v in steps[k].block)
        changed = (pixels(pictures[k]) != pixels(pictures[k + 1])).any(axis=2)
        changed[y : y + side, x : x + side] = False
        assert not changed.any()


def test_nested_pictures_share_their_first_recursions_and_others_do_not() -> None:
    def first_orders(seed: int, nested: bool) -> list[list[int]]:
        return [layout.orders[0, 0].tolist() for layout in layouts(3, seed=seed, nested=nested)[1:]]

    assert all(len({*map(tuple, first_orders(seed, True))}) == 1 for seed in range(5))
    assert any(len({*map(tuple, first_orders(seed, False))}) > 1 for seed in range(5))


def test_a_seed_repeats_and_another_differs(image: Image.Image) -> None:
    a, b, c = (pixels(preview(image, 3, seed=seed)[-1]) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_borders_have_the_colour_of_their_recursion(image: Image.Image) -> None:
    picture = pixels(preview(image.resize((320, 320)), 1)[1])
    assert tuple(picture[160, 20]) == tuple(int(COLORS[0][i : i + 2], 16) for i in (1, 3, 5))


def test_a_size_that_cannot_be_halved_is_refused_with_one_that_can(image: Image.Image) -> None:
    with pytest.raises(ConfigError, match="nearest size that works is 64 × 64"):
        preview(image.resize((62, 62)), 3)
    with pytest.raises(ConfigError, match="nearest size"):
        mosaic_strip(image, 3, size=100)


def test_the_strip_holds_all_pictures(image: Image.Image) -> None:
    assert mosaic_strip(image, 2, size=64).size == (3 * 64 + 2 * 12, 64)


def test_an_image_of_any_shape_becomes_a_square() -> None:
    assert square(Image.new("L", (90, 40)), 32).size == (32, 32)
