"""Maps under increasing severity: severities, the pixels that are looked at, where colours end, what the GIF holds."""

import io

import numpy as np
import pytest
from PIL import Image

from pmsi.base.errors import UnknownName
from pmsi.perturbations import PERTURBATIONS, perturb
from pmsi.pictures.figure import MapCell
from pmsi.pictures.overlays import overlay
from pmsi.pictures.severity import SIDE, Frame, Subject, animation, drawn, frames, severities


def picture(seed=0, side=16):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8))


def evenly(top, stages=("S3", "S5")):
    """Maps that are ``top`` everywhere."""
    return {stage: np.full((2, 2), top, dtype=np.float32) for stage in stages}


def test_severities_rise_from_the_clean_image_and_are_allowed():
    for name, row in PERTURBATIONS.items():
        found = severities(name)
        assert found[0] == 0
        assert found == sorted(set(found))
        assert found[-1] == max(row.levels)
        assert [row.check(severity) for severity in found] == found
    with pytest.raises(UnknownName, match="gaussian_noise"):
        severities("gaussian_nose")


def test_each_view_is_shown_its_own_picture_under_one_draw_scaled():
    shown = []

    def looking(number):
        def look(pixels, severity):
            shown.append((number, severity, np.asarray(pixels)))
            return MapCell(pixels, evenly(1.0))

        return look

    views = [Subject(picture(k), f"bird {k}", looking(k)) for k in range(2)]
    made = frames(views, "gaussian_noise", seed=3)
    assert [frame.severity for frame in made] == severities("gaussian_noise")
    assert [(number, severity) for number, severity, _ in shown] == [
        (k, severity) for severity in severities("gaussian_noise") for k in range(2)
    ]
    for k, severity, pixels in shown:
        expected, _ = perturb(picture(k), "gaussian_noise", severity, seed=3, key=f"bird {k}", drawn_at=40)
        assert np.array_equal(pixels, np.asarray(expected))
    assert np.array_equal(np.asarray(made[0].cells[1].picture), np.asarray(picture(1)))


def test_colours_end_at_a_stages_peak_over_all_frames_or_at_each_maps_own():
    black = Image.new("RGB", (8, 8))
    tops = ((0.5, 0.2), (1.0, 0.1))  # by frame, of S3 and S5
    made = [
        Frame(float(k), (MapCell(black, evenly(s3, ("S3",)) | evenly(s5, ("S5",))), MapCell(black, evenly(0.0))))
        for k, (s3, s5) in enumerate(tops)
    ]
    shares = {"map": ((1, 1), (1, 1)), "image": ((0.5, 1), (1, 0.5)), "all": ((0.5, 1), (1, 0.5))}
    blank = np.asarray(overlay(black.resize((SIDE, SIDE)), np.zeros((2, 2)), 1.0, 1.0))
    for scale, expected in shares.items():
        found = drawn(made, scale=scale, strength=1.0)
        for rows, values in zip(found, expected, strict=True):
            assert [image.size for row in rows for image in row] == [(SIDE, SIDE)] * 6
            for image, value in zip(rows[0][1:], values, strict=True):
                alone = overlay(black.resize((SIDE, SIDE)), np.full((2, 2), value), 1.0, 1.0)
                assert np.array_equal(np.asarray(image), np.asarray(alone))
            assert all(np.array_equal(np.asarray(image), blank) for image in rows[1][1:])


def test_the_gif_plays_from_clean_to_strongest():
    colors = ("red", "green", "blue")
    made = [Frame(float(k), (MapCell(Image.new("RGB", (9, 9), color), evenly(0.0)),)) for k, color in enumerate(colors)]
    moving = Image.open(io.BytesIO(animation(made, "gaussian_noise", scale="map", strength=0.0)))
    assert (moving.n_frames, moving.info["loop"]) == (3, 0)
    for k, color in enumerate(colors):
        moving.seek(k)
        centre = moving.convert("RGB").getpixel((SIDE // 2, moving.height - SIDE // 2))
        expected = Image.new("RGB", (1, 1), color).getpixel((0, 0))
        assert np.abs(np.subtract(centre, expected)).max() <= 8
    held = moving.info["duration"]
    moving.seek(0)
    assert held == 2 * moving.info["duration"]
