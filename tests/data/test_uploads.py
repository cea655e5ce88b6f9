"""Pictures that visitors send: as others where they are harmless, and stopped where they take too much."""

import contextlib
import io

import numpy as np
import pytest
from PIL import Image

from pmsi.base.errors import DataError, ImageError
from pmsi.data import uploads
from pmsi.data.images import open_rgb
from pmsi.data.importing import Picture, import_pictures
from pmsi.data.uploads import apart, open_upload


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


def test_of_many_pictures_those_that_take_too_much_are_left_out_and_all_together_are_limited(monkeypatch, tmp_path):
    pictures = [Picture(name, f"{side}.png", encoded(side)) for name in ("jay", "tit") for side in (8, 9, 1500)]
    monkeypatch.setenv("PMSI_DATASETS", str(tmp_path))
    monkeypatch.setattr(uploads, "MEMORY", 4_000_000)
    with apart():
        done = import_pictures(pictures, "a")
    assert (done.images, ["decode" in problem.reason for problem in done.problems]) == (4, [True, True])
    monkeypatch.setattr(uploads, "EACH_S", -9)
    with apart(), pytest.raises(DataError, match="to decode"):
        import_pictures(pictures, "b")


def test_a_decoder_that_is_killed_costs_its_picture_alone(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(1500))
    with contextlib.closing(uploads.Helper(uploads.MEMORY, 0)) as helper:
        assert ["decode" in helper.examine(tmp_path / "a.png").fault for _ in range(2)] == [True, True]
