"""Mosaics as pictures: nested, with borders where the cuts are, in one strip, and moving."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from pmsi.augment.mosaic import apply
from pmsi.base.errors import ConfigError
from pmsi.pictures.mosaics import COLORS, HELD_MS, LAST_MS, MOVING, frames, gif, layouts, mosaic_strip, mosaics, square


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))


def pixels(image):
    return np.asarray(image)


def test_pictures_are_the_mosaics_of_nested_layouts(image):
    pictures = mosaics(image, 3, seed=5, borders=False)
    tensor = torch.from_numpy(pixels(image).copy()).permute(2, 0, 1)[None]
    for picture, layout in zip(pictures, layouts(3, seed=5), strict=True):
        assert np.array_equal(pixels(picture), apply(tensor, layout)[0].permute(1, 2, 0).numpy())
    assert square(Image.new("L", (90, 40)), 32).size == (32, 32)
    assert mosaic_strip(image, 2, size=64).size == (3 * 64 + 2 * 12, 64)


def test_pictures_share_their_first_recursions():
    for seed in range(5):
        assert len({str(layout.orders[0, 0]) for layout in layouts(3, seed=seed)[1:]}) == 1


def test_borders_and_frames_have_the_colour_of_their_recursion(image):
    pictures = [pixels(picture) for picture in mosaics(image.resize((320, 320)), 2, seed=4)]
    colors = [ImageColor.getrgb(color) for color in COLORS]
    assert tuple(pictures[2][160, 20]) == colors[0]
    x, y, side = (round(320 * part) for part in layouts(2, seed=4)[-1].recursions()[1].block)
    assert tuple(pictures[2][y + side // 2, x + side // 4]) == colors[1]
    assert tuple(pictures[1][y + 1, x + side // 4]) == colors[1]  # the frame of the block that is cut next
    cut = pixels(frames(image.resize((320, 320)), 2, seed=4)[1 + MOVING + 1].picture)
    assert tuple(cut[y + side // 2, x + side // 4]) == colors[1]
    assert tuple(cut[y + 1, x + side // 4]) == colors[1]


def test_a_size_that_cannot_be_halved_is_refused_with_one_that_can(image):
    for draw in (mosaics, frames):
        with pytest.raises(ConfigError, match="nearest size that works is 64 × 64"):
            draw(image.resize((62, 62)), 3)
    with pytest.raises(ConfigError, match="nearest size"):
        mosaic_strip(image, 3, size=100)


# The animation


def test_frames_go_from_the_image_to_the_mosaic(image):
    shown = frames(image, 3, seed=1, borders=False)
    expected = mosaics(image, 3, seed=1, borders=False)
    assert len(shown) == 1 + 3 * (MOVING + 1)
    assert (shown[0].held_ms, shown[-1].held_ms) == (HELD_MS, LAST_MS)
    for k, picture in enumerate(expected):
        assert np.array_equal(pixels(shown[k * (MOVING + 1)].picture), pixels(picture))


def test_patches_move_straight_from_place_to_place_and_nothing_else_does():
    colors = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200], [200, 200, 0]], dtype=np.uint8)
    quarters = colors.reshape(2, 2, 3).repeat(32, axis=0).repeat(32, axis=1)
    order = layouts(1, seed=7)[-1].recursions()[0].order
    moving = frames(Image.fromarray(quarters), 1, seed=7, borders=False)[2:-1]
    for number, frame in enumerate(moving, start=1):
        t = number / MOVING
        way = t * t * (3 - 2 * t)
        for to, at in enumerate(order):
            (y, x), (to_y, to_x) = divmod(at, 2), divmod(to, 2)
            seen = (pixels(frame.picture) == colors[at]).all(axis=2)
            if to == at:
                continue  # it stays, and others pass over it
            left, top = round(32 * (x + (to_x - x) * way)), round(32 * (y + (to_y - y) * way))
            outside = seen.copy()
            outside[top : top + 32, left : left + 32] = False
            assert not outside.any()


def test_a_gif_holds_every_frame_for_its_time_in_its_colours():
    """Where the rest of a picture is shaded, there are colours that the last picture has not."""
    y, x = np.mgrid[0:160, 0:160]
    grain = np.random.default_rng(0).uniform(-6, 6, (160, 160, 1))  # so that no two pictures are alike
    soft = np.stack([90 + x / 2, 110 + y / 2, 140 + (x + y) / 4], axis=2) + grain
    shown = frames(Image.fromarray(soft.astype(np.uint8)), 3, seed=3)
    moving = Image.open(io.BytesIO(gif(shown)))
    assert (moving.n_frames, moving.info["loop"]) == (len(shown), 0)
    for number, frame in enumerate(shown):
        moving.seek(number)
        assert moving.info["duration"] == pytest.approx(frame.held_ms, abs=10)
        found, meant = np.asarray(moving.convert("RGB"), int), np.asarray(frame.picture, int)
        assert np.abs(found - meant).mean() < 6
        for color in COLORS:
            painted = (meant == ImageColor.getrgb(color)).all(axis=2)
            assert (found[painted] == meant[painted]).all(axis=1).sum() >= 0.9 * painted.sum()
