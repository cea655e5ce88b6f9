"""Pictures as bytes, rows and thumbnails, and the contact sheet, whose pages hold all classes and stay small."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pmsi.base.errors import ConfigError
from pmsi.data.dataset import Dataset, Sample
from pmsi.pictures.encoding import data_uri, jpeg, png
from pmsi.pictures.sheets import CLASSES_PER_PAGE, GAP, LABEL, THUMBNAIL, contact_sheet, enlarged, font, grid, thumbnail


def shade(label):
    """The grey of a class's images, 128 apart from white."""
    return label % 128


def classes(count):
    """A data set of two images a class, each of one grey."""
    samples = tuple(Sample(f"{label}/{i}", label) for label in range(count) for i in range(2))
    names = tuple(f"class {label}" for label in range(count))
    return Dataset("many", names, samples, (), lambda sample: Image.new("RGB", (9, 12), (shade(sample.label),) * 3))


def test_a_grid_puts_pictures_in_rows_below_its_title():
    rows = [[Image.new("RGB", (20, 20), color) for color in ("red", "blue")], [Image.new("RGB", (20, 20), "green")]]
    plain, titled = grid(rows, 4), grid(rows, 4, "σ = 1", 22)
    assert (plain.size, titled.size) == ((44, 44), (44, 66))
    assert [plain.getpixel(at) for at in ((5, 5), (30, 5), (30, 30))] == [(255, 0, 0), (0, 0, 255), (255, 255, 255)]
    assert np.array_equal(np.asarray(titled)[22:], np.asarray(plain))
    assert (np.asarray(titled)[:22] < 128).any(), "a title is written"


def test_small_pictures_are_enlarged_and_thumbnails_are_the_middle():
    image = Image.new("RGB", (60, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    assert np.abs(np.asarray(thumbnail(image, 8), dtype=int) - (0, 0, 255)).max() < 20
    square = Image.new("RGB", (32, 32))
    assert enlarged(square, 64).size == (64, 64)
    assert enlarged(square, 16) is square


def test_pages_of_a_contact_sheet_show_every_class_once_and_are_bounded():
    count = 2 * CLASSES_PER_PAGE + 7
    dataset, found = classes(count), []
    for page in (1, 2, 3):
        sheet = contact_sheet(dataset, columns=3, page=page)
        pixels = np.asarray(sheet.picture)
        assert max(pixels.shape) < 10_000
        rows = min(CLASSES_PER_PAGE, count - (page - 1) * CLASSES_PER_PAGE)
        first = [int(pixels[GAP + row * (THUMBNAIL + GAP) + 9, LABEL + 9, 0]) for row in range(rows)]
        found += first
        assert str(count) in sheet.words
        assert f"{page} of 3" in sheet.words
    assert found == [shade(label) for label in range(count)]
    assert (pixels[GAP : GAP + THUMBNAIL, LABEL + 2 * (THUMBNAIL + GAP) :] == 255).all(), "there is no third image"
    with pytest.raises(ConfigError, match="from 1 to 3"):
        contact_sheet(dataset, page=4)


def test_letters_beyond_latin_have_their_own_shapes():
    unknown = font(20).getmask("\U0010fffd")
    assert all(bytes(font(20).getmask(letter)) != bytes(unknown) for letter in "σЖ✓")


def test_png_keeps_every_pixel_jpeg_the_size_and_a_data_uri_all_bytes():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(image)))), np.asarray(image))
    decoded = Image.open(io.BytesIO(jpeg(image)))
    assert (decoded.format, decoded.size) == ("JPEG", image.size)
    head, data = data_uri(bytes(range(256)), "image/png").split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data) == bytes(range(256))
