"""Encoded bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from app.shared.images import enlarged, jpeg, png


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def test_png_keeps_every_pixel_and_jpeg_the_size(image):
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(image)))), np.asarray(image))
    decoded = Image.open(io.BytesIO(jpeg(image)))
    assert (decoded.format, decoded.size) == ("JPEG", image.size)


def test_small_pictures_are_enlarged_and_large_ones_left_alone(image):
    assert enlarged(image, 64).size == (64, 64)
    assert enlarged(image, 16) is image
