"""Pictures as bytes."""

import base64
import io

import numpy as np
from PIL import Image

from pmsi.pictures.encoding import data_uri, jpeg, png


def test_png_keeps_every_pixel_jpeg_the_size_and_a_data_uri_all_bytes():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(image)))), np.asarray(image))
    decoded = Image.open(io.BytesIO(jpeg(image)))
    assert (decoded.format, decoded.size) == ("JPEG", image.size)
    head, data = data_uri(bytes(range(256)), "image/png").split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == bytes(range(256))
