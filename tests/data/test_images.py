"""The one door for images: what comes out is upright RGB, and what cannot come in is refused by name."""

import contextlib
import io
import os
import resource
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from pmsi.base.errors import DataError, ImageError
from pmsi.data import images
from pmsi.data.checking import check
from pmsi.data.dataset import Sample
from pmsi.data.image_header import MAX_PIXELS, READERS
from pmsi.data.images import examine, open_rgb, pixels_digest

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


def open_rgb_bytes(data, name="the image"):
    return open_rgb(io.BytesIO(data), name)


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def halves(mode, left, right):
    """An image of 8 × 4 pixels in two colours."""
    image = Image.new(mode, (8, 4), left)
    image.paste(right, (4, 0, 8, 4))
    return image


def png_of(header, *more):
    """A PNG of these chunks, as the format's specification has them."""
    chunks = [(b"IHDR", header), *more, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def png_of_size(width, height):
    """A PNG whose header gives any size, and whose pixels are missing."""
    return png_of(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), (b"IDAT", zlib.compress(b"")))


def photo():
    """An image with enough detail that its file cannot end early unnoticed."""
    values = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    return Image.fromarray(values)


def colours(image):
    return image.getpixel((1, 1)), image.getpixel((6, 1))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_every_format_that_is_named_opens(tmp_path, format):
    path = tmp_path / "any.name"
    path.write_bytes(encoded(halves("RGB", RED, GREEN), format))
    image = open_rgb(path)
    assert (image.mode, image.size) == ("RGB", (8, 4))
    assert np.abs(np.subtract(colours(image), (RED, GREEN))).max() < 60  # JPEG and WebP lose colour
    assert open_rgb(str(path)).tobytes() == image.tobytes()
    assert not examine(path).fault


def test_cmyk_jpeg_keeps_its_colours_and_modes_without_a_meaning_here_are_refused():
    image = open_rgb_bytes(encoded(halves("CMYK", (0, 255, 255, 0), (0, 0, 0, 0)), "JPEG", quality=100))
    assert np.abs(np.subtract(colours(image), (RED, WHITE))).max() < 12
    profiles = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
    lab = ImageCms.applyTransform(Image.new("RGB", (4, 4)), ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    with pytest.raises(ImageError, match="colour mode LAB"):
        open_rgb_bytes(encoded(lab, "TIFF"))


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        (np.int32, 0, 65535, (0, 255)),
        (np.int32, 0, 257 * 100, (0, 100)),
        (np.int32, -1000, 3000, (0, 255)),
        (np.int32, 0, 2**30, (0, 255)),
        (np.float32, 0.0, 0.5, (0, 128)),
        (np.float32, -2.0, 40.0, (0, 255)),
        (np.float32, np.nan, np.nan, (0, 0)),
    ],
)
def test_deep_tiff_is_scaled_rather_than_clipped(dtype, low, high, expected):
    values = np.full((4, 8), low, dtype)
    values[:, 4:] = high
    image = open_rgb_bytes(encoded(Image.fromarray(values), "TIFF"))
    assert tuple(pixel[0] for pixel in colours(image)) == expected


UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def turned(image, orientation):
    """The image as a camera stores it that was held so."""
    return image.transpose(UNDO[orientation]) if orientation in UNDO else image


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize(
    ("orientation", "format"), [*zip(range(1, 9), ["JPEG", "PNG", "WEBP", "TIFF"] * 2, strict=True)]
)
def test_exif_orientation_is_applied_to_images_digests_and_boxes_given_in_stored_pixels(
    tmp_path, monkeypatch, format, orientation
):
    """The stored image is the upright one under the inverse of what the orientation asks for."""
    monkeypatch.setattr(images, "TILE", 9)
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[2:9, 5:21] = 255
    stored, path = turned(Image.fromarray(upright), orientation), tmp_path / "a"
    stored.save(path, format, exif=exif_of(orientation), **({} if format == "TIFF" else {"quality": 100}))
    assert np.abs(np.asarray(open_rgb(path)).astype(int) - upright).mean() < 8
    left, top, right, bottom = stored.getbbox()
    (sample,), problems = check([Sample("a", 0, path, box=(left, top, right - left, bottom - top))], tmp_path)
    assert (sample.box, problems) == ((5, 2, 16, 7), [])
    assert sample.digest == pixels_digest(open_rgb(path))


def test_a_large_jpeg_is_decoded_at_half_its_size_and_its_box_with_it(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    stored = Image.new("L", (640, 320), 0)
    stored.paste(255, (64, 32, 128, 96))
    stored.save(path, quality=95, exif=exif_of(6))
    monkeypatch.setattr(images, "MAX_PIXELS", 640 * 320 - 1)
    monkeypatch.setattr(images, "LARGE_BYTES", 1000)
    image = open_rgb(path)
    (sample,), _ = check([Sample("a", 0, path, box=(64, 32, 64, 64))], tmp_path)
    assert image.size == (160, 320)
    assert sample.digest == pixels_digest(image)
    x, y, width, height = map(int, sample.box or ())
    assert (width, height) == (32, 32)
    assert np.asarray(image)[y : y + height, x : x + width].mean() > 245
    stored.save(path, quality=95, progressive=True)  # all of whose coefficients are held
    assert open_rgb(path).size == (320, 160)
    with pytest.raises(ImageError, match="of memory to decode"):
        open_rgb(path, most=2 * 640 * 320)


def tiff_of(*more, side=8):
    """A TIFF of some gray pixels, whose data are missing, with more tags."""
    tags = [(256, 1, side), (257, 1, side), (258, 1, 8), (259, 1, 8), (262, 1, 1), (277, 1, 1), *more]
    entries = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def jpeg_of_scans(count):
    """A progressive JPEG whose last scan is there ``count`` times more: each goes over all pixels."""
    whole = encoded(Image.new("L", (900, 900), 90), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * (count + 1) + whole[-2:]


def webp_of_size(width, height):
    """A WebP of 34 bytes that gives any size."""
    body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(9)
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body


PNG = b"\x89PNG\r\n\x1a\n"

COSTLY = {
    "a tile of 2 GB in 8 × 8 pixels": (tiff_of((322, 1, 46336), (323, 1, 46336), (324, 1, 8)), "tiles of 46336"),
    "a tile that would hold the largest image": (tiff_of((322, 1, 7000), (323, 1, 7000), (324, 1, 8)), "tiles of 7000"),
    "a million strips": (tiff_of((273, 10**6, 8), (278, 1, 1), (279, 10**6, 8)), "1,000,000 strips"),
    "3,000 scans": (jpeg_of_scans(3000), "scans over 900 × 900"),
    "parts without content, a JPEG": (b"\xff\xd8\xff" + b"\xff\xff\0\xff\xfe\0\x02" * 30_000, "50,000 parts"),
    "parts without content, a PNG": (PNG + b"\0\0\0\0tEXt\0\0\0\0" * 60_000, "50,000 parts"),
    "a canvas of 1 GB": (webp_of_size(7000, 7000), "7000 × 7000 pixels"),
    "a text of 25 megapixels": (b"P2 5000 5000 255 " + b"1 " * 50, "5000 × 5000 pixels"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_what_would_cost_much_is_refused_before_it_is_decoded(name, monkeypatch):
    data, reason = COSTLY[name]
    for reader in {reader for _, reader in READERS}:
        monkeypatch.setattr(reader, "load", lambda image: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=reason):
        open_rgb_bytes(data)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "I;16", "F", "CMYK"])
def test_a_larger_image_is_reduced_as_the_whole_one_would_be(monkeypatch, mode, orientation):
    """Square by square, which is seen where a square ends within the picture."""
    monkeypatch.setattr(images, "TILE", 16)
    ramp = np.add.outer(np.arange(60), np.arange(100)) * 1.6
    made = {"I;16": lambda: Image.fromarray((ramp * 257).astype(np.uint16)), "F": lambda: Image.fromarray(ramp / 255)}
    image = made.get(mode, lambda: Image.fromarray(ramp.astype(np.uint8)).convert("RGB").convert(mode))()
    data = encoded(image, "TIFF" if mode in ("CMYK", "F") else "PNG", exif=exif_of(orientation))
    whole, small = open_rgb_bytes(data), images.open_rgb(io.BytesIO(data), side=25)
    assert max(small.size) == 25
    expected = np.asarray(whole.resize(small.size, Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(small) - expected).max() <= 8


def test_a_digest_stands_for_the_pixels_and_the_size_and_nothing_else(tmp_path):
    image = photo()
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.png", compress_level=0, exif=exif_of(1))
    image.save(tmp_path / "c.bmp")
    same = {examine(path).digest for path in tmp_path.iterdir()}
    assert same == {pixels_digest(image)}
    other = image.copy()
    other.putpixel((3, 4), (1, 2, 3))
    reshaped = Image.frombytes("RGB", image.size[::-1], image.tobytes())
    assert len({pixels_digest(other), pixels_digest(reshaped), *same}) == 3


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")
def test_damaged_exif_does_not_matter_and_an_animation_gives_its_first_frame():
    for block in (b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*\0\0\0\x08\0\x09"):
        assert open_rgb_bytes(encoded(photo(), "JPEG", exif=block)).size == (96, 64)
    frames = [Image.new("RGB", (8, 4), colour) for colour in (RED, GREEN)]
    for format in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=100)
        assert np.abs(np.subtract(open_rgb_bytes(data).getpixel((2, 2)), RED)).max() < 10


@pytest.mark.parametrize("format", ["JPEG", "progressive JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_truncated_image_is_refused_by_the_cheap_check_too(tmp_path, format):
    options = {"progressive": True} if "progressive" in format else {}
    whole = encoded(photo(), format.split()[-1], **options)
    path = tmp_path / "half"
    for part in (0.05, 0.5, 0.95):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(ImageError, match=r"half: it is (truncated|damaged)"):
            open_rgb(path)
        assert examine(path).fault


NO_IMAGES = {
    b"": "the file is empty",
    b"this is a text, whatever its name says": "it is not an image",
    b"\xff": "it is not an image",
    b"<!doctype html><html>404</html>": "a web page",
    b" \n<html><script>alert(1)</script></html>": "",
    b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>": "",
    b"GIF89a=1;/*<script>*/": "",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n": "",
    b"\xd7\xcd\xc6\x9a" + bytes(40): "",
    b"\0\0\0\x18ftypheic\0\0\0\0": "a HEIC photo; export it as JPEG",
    b"version https://git-lfs.github.com/spec/v1\n": "git lfs pull",
    b"\xff\xd8\xff": "it is (truncated|damaged)",
    b"\x89PNG\r\n\x1a\n" + b"\0" * 40: "it is (truncated|damaged)",
    b"P9 2 2 255 " + b"\0" * 12: "not an image, or of a format",
}


@pytest.mark.parametrize("content", NO_IMAGES)
def test_what_is_no_image_is_refused_by_name_whatever_its_suffix(tmp_path, content):
    for suffix in ("png", "jpg", "svg"):
        path = tmp_path / f"odd.{suffix}"
        path.write_bytes(content)
        assert examine(path).fault
        with pytest.raises(ImageError, match=rf"odd\.{suffix}: .*{NO_IMAGES[content]}.*Expected"):
            open_rgb(path)
    with pytest.raises(ImageError, match=rf"upload: .*{NO_IMAGES[content]}"):
        open_rgb_bytes(content, "upload")


def test_too_many_pixels_are_refused_from_the_header_and_images_up_to_the_limit_decoded():
    """Also between Pillow's limits, where it would only warn (an error in these tests)."""
    for size in ((8000, 8000), (10_000, 12_000), (60_000, 60_000)):
        with pytest.raises(ImageError, match=f"{size[0]} × {size[1]} pixels.*at most 50 megapixels"):
            open_rgb_bytes(png_of_size(*size))
        assert size[0] * size[1] > MAX_PIXELS
    with pytest.raises(ImageError, match=r"truncated|damaged"):  # so it got as far as the pixels, which are missing
        open_rgb_bytes(png_of_size(5000, 10_000))


def test_missing_files_and_folders_are_told_apart(tmp_path):
    with pytest.raises(ImageError, match=r"none\.png: the file does not exist"):
        open_rgb(tmp_path / "none.png")
    with pytest.raises(ImageError, match="it is a folder"):
        open_rgb(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="not a regular file"):
        open_rgb(tmp_path / "pipe.png")


def test_open_file_is_read_from_its_start_and_stays_open(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(halves("RGB", RED, GREEN), "PNG"))
    with path.open("rb") as file:
        file.read(5)
        assert colours(open_rgb(file)) == (RED, GREEN)
        assert not file.closed
    path.write_bytes(b"no")
    with path.open("rb") as file, pytest.raises(ImageError, match=r"a\.png: it is not an image"):
        open_rgb(file)


# --- Files that no library wrote ------------------------------------------------------------------------------------


def png_by_hand(depth, kind, rows, *more):
    """A PNG of 2 × len(rows) pixels from the raw bytes of its rows."""
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return png_of(struct.pack(">IIBBBBB", 2, len(rows), depth, kind, 0, 0, 0), *more, (b"IDAT", pixels))


GRAY, COLOUR, PALETTE, GRAY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6

BY_HAND = {
    "16-bit gray": (16, GRAY, struct.pack(">2H", 257 * 10, 257 * 200), (), ((10,) * 3, (200,) * 3)),
    "16-bit colour": (16, COLOUR, struct.pack(">6H", 65535, 0, 0, 0, 257 * 90, 65535), (), (RED, (0, 90, 255))),
    "16-bit gray and alpha": (16, GRAY_ALPHA, struct.pack(">4H", 0, 65535, 0, 0), (), ((0, 0, 0), WHITE)),
    "16-bit colour and alpha": (16, COLOUR_ALPHA, struct.pack(">8H", 65535, 0, 0, 65535, 0, 0, 0, 0), (), (RED, WHITE)),
    "8-bit gray and alpha": (8, GRAY_ALPHA, bytes([40, 255, 40, 0]), (), ((40,) * 3, WHITE)),
    "2-bit palette, one transparent": (
        2,
        PALETTE,
        bytes([0b00_01_0000]),
        ((b"PLTE", bytes([*RED, *GREEN])), (b"tRNS", bytes([255, 0]))),
        (RED, WHITE),
    ),
    "palette, half transparent": (
        8,
        PALETTE,
        bytes([0, 1]),
        ((b"PLTE", bytes([*RED, *GREEN])), (b"tRNS", bytes([128, 255]))),
        ((255, 127, 127), GREEN),
    ),
    "8-bit colour and alpha": (8, COLOUR_ALPHA, bytes([*RED, 128, *GREEN, 255]), (), ((255, 127, 127), GREEN)),
    "8-bit gray": (8, GRAY, bytes([10, 200]), (), ((10,) * 3, (200,) * 3)),
    "one transparent gray": (8, GRAY, bytes([10, 200]), ((b"tRNS", b"\0\x0a"),), (WHITE, (200,) * 3)),
    "one transparent colour": (8, COLOUR, bytes([*RED, *GREEN]), ((b"tRNS", b"\0\0\0\xff\0\0"),), (RED, WHITE)),
    "1-bit": (1, GRAY, bytes([0b0100_0000]), (), ((0, 0, 0), WHITE)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_png_written_by_hand_shows_the_colours_of_its_numbers(name):
    depth, kind, row, more, expected = BY_HAND[name]
    image = open_rgb_bytes(png_by_hand(depth, kind, [row], *more))
    assert (image.mode, image.size) == ("RGB", (2, 1))
    assert (image.getpixel((0, 0)), image.getpixel((1, 0))) == expected


def test_bytes_that_unpack_to_more_than_the_header_says_cost_no_memory():
    """Rows beyond the last one are not decoded: 100 MB of them are a few kB here."""
    bomb = png_by_hand(8, GRAY, [bytes([7, 9])], (b"IDAT", zlib.compress(bytes(100_000_000), 9)))
    tracemalloc.start()
    with contextlib.suppress(ImageError):
        open_rgb_bytes(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_compressed_text_that_unpacks_to_gigabytes_is_refused_or_left_alone():
    text = b"Comment\0\0" + zlib.compress(bytes(80_000_000), 9)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(ImageError):
        open_rgb_bytes(png_by_hand(8, GRAY, [bytes([7, 9])], (b"zTXt", text)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # kB


def test_pillows_own_warnings_reach_nobody(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    png, chunk = (tmp_path / "a.png").read_bytes(), b"acTL" + bytes(8)  # an animation without frames
    (tmp_path / "a.png").write_bytes(
        png[:33] + struct.pack(">I", 8) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
    )
    code = "import sys; from pmsi.data.images import open_rgb; open_rgb(sys.argv[1])"
    command = [sys.executable, "-c", code, tmp_path / "a.png"]
    assert subprocess.run(command, capture_output=True, check=True).stderr == b""
