"""Pictures that visitors send: as others where they are harmless, and stopped where they take too much."""

import io

import numpy as np
import pytest
from PIL import Image

from pmsi.base.errors import ImageError
from pmsi.data import uploads
from pmsi.data.images import open_rgb
from pmsi.data.uploads import open_upload


def encoded(side):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def test_a_picture_comes_back_as_it_is_and_a_refusal_with_its_reason():
    data = encoded(64)
    assert open_upload(data, "a.png").tobytes() == open_rgb(io.BytesIO(data)).tobytes()
    with pytest.raises(ImageError, match=r"ü\.png: it is truncated"):
        open_upload(data[:500], "ü.png")


@pytest.mark.parametrize(("limit", "value"), [("CPU_S", 0), ("MEMORY", 4_000_000)])
def test_what_takes_too_much_is_stopped_and_refused(monkeypatch, limit, value):
    monkeypatch.setattr(uploads, limit, value)
    with pytest.raises(ImageError, match=r"a\.png.*Expected"):
        open_upload(encoded(1500), "a.png")
