"""JPEG, resolution, rotation and occlusion against Pillow, scipy and their own sentences."""

import io
import math

import numpy as np
import pytest
from PIL import Image
from scene import distance, scene
from scipy import ndimage

from pmsi.perturbations import PERTURBATIONS, draw, perturb

H, W = 48, 64


@pytest.mark.parametrize("name", ["jpeg", "resolution", "rotation", "occlusion"])
def test_a_higher_severity_damages_more(name):
    image = scene()
    found = [
        np.mean([distance(perturb(image, name, s, seed=0, key=str(key))[0], image) for key in range(12)])
        for s in PERTURBATIONS[name].levels
    ]
    assert found == sorted(found)
    assert found[-1] > 1.5 * found[0]


@pytest.mark.parametrize(("lost", "quality"), [(50, 50), (95, 5)])
def test_jpeg_is_a_file_of_that_quality(lost, quality):
    file = io.BytesIO()
    Image.fromarray(scene()).save(file, "JPEG", quality=quality)
    assert np.array_equal(perturb(scene(), "jpeg", lost, seed=0, key="a")[0], np.asarray(Image.open(file)))


def test_resolution_averages_where_it_shrinks_and_interpolates_where_it_grows():
    """Halving by a triangle of radius 2, that is weights 1 3 3 1, and doubling by weights 3 1."""
    line = scene()[:1, :, 0].astype(float)
    small = [(line[0, i - 1] + 3 * line[0, i] + 3 * line[0, i + 1] + line[0, i + 2]) / 8 for i in range(2, W - 2, 2)]
    flat = np.repeat(np.repeat(line[..., None], 3, axis=2), H, axis=0).astype(np.uint8)
    found = perturb(flat, "resolution", 0.5, seed=0, key="a")[0][H // 2, :, 0]
    for i in range(1, len(small) - 1):  # small[i] is about pixels 2i + 2 and 2i + 3
        assert abs(found[2 * i + 2] - (3 * small[i] + small[i - 1]) / 4) <= 1.5
        assert abs(found[2 * i + 3] - (3 * small[i] + small[i + 1]) / 4) <= 1.5


@pytest.mark.parametrize("angle", [0.0, -13.0, 57.0, 180.0])
def test_rotation_is_scipys_about_the_centre(angle):
    image = scene()
    row = PERTURBATIONS["rotation"]
    found = row.apply(image, 180, {"angle": angle})
    a, (i, j) = math.radians(angle), np.indices((H, W)) - np.array([(H - 1) / 2, (W - 1) / 2])[:, None, None]
    rows, columns = math.cos(a) * i + math.sin(a) * j, -math.sin(a) * i + math.cos(a) * j
    places = [rows + (H - 1) / 2, columns + (W - 1) / 2]
    expected = np.stack(
        [ndimage.map_coordinates(image[..., c].astype(float), places, order=1, mode="reflect") for c in range(3)],
        axis=-1,
    )
    assert np.abs(found - expected).max() <= 1.5


def test_rotation_draws_all_angles_up_to_its_severity():
    angles = np.array([draw("rotation", 45, (8, 8), seed=0, key=str(key))["angle"] for key in range(500)])
    assert -45 <= angles.min() < -43
    assert 43 < angles.max() <= 45
    assert angles.mean() == pytest.approx(0, abs=3.5)
    assert angles.std() == pytest.approx(90 / math.sqrt(12), rel=0.06)


@pytest.mark.parametrize(("share", "cells"), [(0.1, 7), (0.5, 32), (1.0, 64)])
def test_occlusion_covers_that_share_in_whole_cells(share, cells):
    image = scene()
    found, factors = perturb(image, "occlusion", share, seed=0, key="a")
    assert len(factors["cells"]) == len(set(factors["cells"])) == cells
    for cell in range(64):
        top, left = cell // 8 * H // 8, cell % 8 * W // 8
        patch = np.s_[top : top + H // 8, left : left + W // 8]
        expected = np.broadcast_to([124, 116, 104], (H // 8, W // 8, 3)) if cell in factors["cells"] else image[patch]
        assert np.array_equal(found[patch], expected)
    places = {cell for key in range(60) for cell in draw("occlusion", 0.1, (53, 37), seed=0, key=str(key))["cells"]}
    assert places == set(range(64))
    odd = PERTURBATIONS["occlusion"].apply(np.zeros((37, 53, 3), np.uint8), 1.0, {"cells": [*range(64)]})
    assert (odd > 0).all(), "cells cover any size"
