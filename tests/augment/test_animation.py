"""The recursion as it happens: where each tile is after each step, and the pictures between."""

import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from pmsi.augment.animation import HELD_MS, LAST_MS, MOVING, frames, gif, steps
from pmsi.augment.mosaic import apply
from pmsi.augment.preview import COLORS, layouts
from pmsi.base.errors import ConfigError


@pytest.fixture
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("seed", range(5))
def test_tiles_put_where_the_steps_say_are_the_mosaics(seed: int, image: Image.Image) -> None:
    pixels = np.asarray(image)
    course = steps(layouts(3, seed=seed)[-1])
    side = 64 // course.grid
    for sources, layout in zip(course.sources, layouts(3, seed=seed), strict=True):
        tiled = np.zeros_like(pixels)
        for place, cell in enumerate(sources):
            (y, x), (from_y, from_x) = divmod(place, course.grid), divmod(cell, course.grid)
            tiled[y * side : (y + 1) * side, x * side : (x + 1) * side] = pixels[
                from_y * side : (from_y + 1) * side, from_x * side : (from_x + 1) * side
            ]
        mosaic = apply(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None], layout)[0].permute(1, 2, 0)
        assert np.array_equal(tiled, mosaic.numpy())


def test_frames_go_from_the_image_to_the_mosaic(image: Image.Image) -> None:
    shown = frames(image, 3, seed=4, borders=False)
    mosaic = apply(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], layouts(3, seed=4)[-1])[0]
    assert np.array_equal(np.asarray(shown[0].picture), np.asarray(image))
    assert np.array_equal(np.asarray(shown[-1].picture), mosaic.permute(1, 2, 0).numpy())
    assert len(shown) == 1 + 3 * (MOVING + 1)
    assert (shown[0].held_ms, shown[-1].held_ms) == (HELD_MS, LAST_MS)


def test_the_cut_of_the_second_recursion_has_its_colour(image: Image.Image) -> None:
    shown = frames(image.resize((320, 320)), 2, seed=4)
    cut = np.asarray(shown[1 + MOVING + 1].picture)
    x, y, side = (round(320 * part) for part in layouts(2, seed=4)[-1].recursions()[1].block)
    color = tuple(int(COLORS[1][i : i + 2], 16) for i in (1, 3, 5))
    assert tuple(cut[y + side // 2, x + side // 4]) == color
    assert tuple(cut[y + 1, x + side // 4]) == color  # the frame of the block that was picked


def test_a_gif_holds_every_frame_for_its_time(image: Image.Image) -> None:
    shown = frames(image, 1, seed=1)
    moving = Image.open(io.BytesIO(gif(shown)))
    held = []
    for number in range(moving.n_frames):
        moving.seek(number)
        held.append(moving.info["duration"])
    assert sum(held) == pytest.approx(sum(frame.held_ms for frame in shown), abs=10 * len(shown))
    assert moving.info["loop"] == 0
    # With 256 colours the picture is not exact, but it is the same picture.
    assert np.abs(np.asarray(moving.convert("RGB"), int) - np.asarray(shown[-1].picture, int)).mean() < 40


def test_a_gif_has_colours_for_every_step() -> None:
    """Where the rest of a picture is shaded, there are colours that the last picture has not."""
    y, x = np.mgrid[0:160, 0:160]
    grain = np.random.default_rng(0).uniform(-6, 6, (160, 160, 1))  # so that no two pictures are alike
    soft = np.stack([90 + x / 2, 110 + y / 2, 140 + (x + y) / 4], axis=2) + grain
    shown = frames(Image.fromarray(soft.astype(np.uint8)), 3, seed=3)
    moving = Image.open(io.BytesIO(gif(shown)))
    assert moving.n_frames == len(shown)
    for number, frame in enumerate(shown):
        moving.seek(number)
        found, meant = np.asarray(moving.convert("RGB"), int), np.asarray(frame.picture, int)
        assert np.abs(found - meant).mean() < 6
        for color in COLORS:
            painted = (meant == ImageColor.getrgb(color)).all(axis=2)
            assert (found[painted] == meant[painted]).all(axis=1).sum() >= 0.9 * painted.sum()


def test_a_size_that_cannot_be_halved_is_refused(image: Image.Image) -> None:
    with pytest.raises(ConfigError, match="nearest size that works is 64 × 64"):
        frames(image.resize((62, 62)), 3)
