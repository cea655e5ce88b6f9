"""Filters against scipy, Pillow's sentences and plain loops."""

import math

import numpy as np
import pytest

from pmsi.perturbations.filters import convolve, enlarged, fast_length, gaussian, mirrored, motion, neighbours, sampled

ndimage = pytest.importorskip("scipy.ndimage")

MODES = {"edge": "nearest", "reflect": "mirror", "symmetric": "reflect"}
"""scipy's names for numpy's borders."""


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("border", MODES)
@pytest.mark.parametrize("shape", [(3, 5), (1, 7), (9, 1), (1, 1)])
def test_convolution_is_scipys(rng, border, shape):
    field, kernel = rng.standard_normal((23, 31)), rng.standard_normal(shape)
    assert np.allclose(convolve(field, kernel, border), ndimage.convolve(field, kernel, mode=MODES[border]))
    image = rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    expected = ndimage.convolve(image.astype(float), kernel[..., None], mode=MODES[border])
    assert np.allclose(convolve(image, kernel, border), expected)


@pytest.mark.parametrize(("sigma", "border", "truncate"), [(0.7, "edge", 4), (6, "edge", 4), (30, "symmetric", 3)])
def test_gaussian_is_scipys_also_where_it_is_wider_than_the_image(rng, sigma, border, truncate):
    field = rng.standard_normal((23, 31))
    expected = ndimage.gaussian_filter(field, sigma, mode=MODES[border], truncate=truncate)
    assert np.allclose(gaussian(field, sigma, border, truncate), expected)


def test_fast_lengths_have_small_factors_and_are_the_next():
    fast = sorted(2**a * 3**b * 5**c for a in range(10) for b in range(7) for c in range(5))
    assert [fast_length(n) for n in range(1, 500)] == [min(f for f in fast if f >= n) for n in range(1, 500)]


def test_neighbours_are_a_correlation(rng):
    field, kernel = rng.standard_normal((9, 11)), rng.standard_normal((3, 3))
    assert np.allclose(neighbours(field, kernel), ndimage.correlate(field, kernel, mode="mirror"))


@pytest.mark.parametrize("angle", [-135, -60, -45, 0, 20, 45])
def test_motion_is_a_weighted_sum_of_shifted_copies(rng, angle):
    field, radius, sigma = rng.standard_normal((19, 23)), 4, 3.0
    expected, total = np.zeros_like(field), 0.0
    for step in range(2 * radius + 1):
        weight = math.exp(-(step**2) / (2 * sigma**2))
        down = math.ceil(step * math.sin(math.radians(angle)) - 0.5)
        right = math.ceil(step * math.cos(math.radians(angle)) - 0.5)
        rows, columns = np.clip(np.arange(19) + down, 0, 18), np.clip(np.arange(23) + right, 0, 22)
        expected, total = expected + weight * field[np.ix_(rows, columns)], total + weight
    assert np.allclose(motion(field, radius, sigma, angle), expected / total)


@pytest.mark.parametrize("factor", [1.0, 1.3, 3.0])
def test_enlarging_interpolates_between_pixel_centres(rng, factor):
    field = rng.standard_normal((20, 26))
    places = [(np.arange(side) + 0.5 - side / 2) / factor + side / 2 - 0.5 for side in field.shape]
    expected = ndimage.map_coordinates(field, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest")
    assert np.allclose(enlarged(field, factor), expected, atol=1e-5)
    image = (100 + 50 * np.repeat(field[..., None], 3, axis=2)).clip(0, 255).astype(np.uint8)
    pixels = enlarged(image, factor)
    assert pixels.dtype == np.uint8
    expected = ndimage.map_coordinates(
        image[..., 1] * 1.0, np.meshgrid(*places, indexing="ij"), order=1, mode="nearest"
    )
    assert np.abs(pixels[..., 1] - expected).max() <= 1


@pytest.mark.parametrize("border", ["reflect", "symmetric"])
def test_sampling_is_scipys_also_far_outside(rng, border):
    image = rng.integers(0, 256, (12, 17, 3), dtype=np.uint8)
    rows, columns = rng.uniform(-40, 50, (2, 30, 25))
    expected = [
        ndimage.map_coordinates(image[..., c].astype(float), [rows, columns], order=1, mode=MODES[border])
        for c in range(3)
    ]
    assert np.allclose(sampled(image, rows, columns, border), np.stack(expected, axis=-1))


@pytest.mark.parametrize("border", ["reflect", "symmetric"])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_mirrored_indices_are_those_of_numpys_pad(border, length):
    padded = np.pad(np.arange(length), 3 * length, border)
    assert mirrored(np.arange(-3 * length, 4 * length), length, border).tolist() == padded.tolist()
