"""Pictures as bytes."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pmsi.pictures.encoding import data_uri, jpeg, png


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))


def test_png_keeps_every_pixel_and_jpeg_the_size(image):
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(image)))), np.asarray(image))
    decoded = Image.open(io.BytesIO(jpeg(image)))
    assert (decoded.format, decoded.size) == ("JPEG", image.size)


def test_a_data_uri_holds_all_bytes():
    content = bytes(range(256))
    head, data = data_uri(content, "image/png").split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == content
