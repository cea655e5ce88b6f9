"""The header of an image file: its format by its content, and what decoding it would cost, before that is paid."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import BinaryIO, Literal

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

MAX_PIXELS = 50_000_000
"""Limit of an image's pixels: 150 MB. It is checked in the header, because a PNG of 500 kB can decode to 700 MB."""

MAX_JPEG_PIXELS = 200_000_000
"""Limit of a JPEG's pixels: above `MAX_PIXELS`, it is decoded at half its size."""

MAX_BYTES = 700_000_000
"""Memory that decoding an image may take, by its header (`memory_needed`)."""

MAX_SCANNED = 2_000_000_000
"""Limit of a JPEG's pixels times its scans, each of which goes over all pixels: some seconds. Ten scans are usual."""

MAX_PARTS = 50_000
"""Limit of a JPEG's segments and a PNG's chunks, of each of which Pillow makes objects. PNGs have many of 8 kB."""

MAX_PIECES = 250_000
"""Limit of a TIFF's strips or tiles. Tiles of 16 × 16 in an image of `MAX_PIXELS` are 200,000."""

TILE_PIXELS = 2**22
"""Limit of a tile's pixels in a smaller image."""

SLOW, MAX_SLOW_PIXELS = ("ppm", "ppm_plain"), 4_000_000
"""Pillow's decoders that are written in Python (of PPM in text or with 16 bits), and their limit of pixels."""

COLOR_MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"))
DEEP_MODES = frozenset(("I", "I;16", "I;16B", "I;16L", "F"))
MODES = COLOR_MODES | DEEP_MODES
"""Pillow's image modes that are converted to RGB."""

Reader = Callable[[BinaryIO], ImageFile]
READERS: tuple[tuple[bytes, Reader], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"GIF87a", GifImageFile),
    (b"GIF89a", GifImageFile),
    (b"RIFF....WEBP", WebPImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),
    (b"MM\0+", TiffImageFile),
    *((b"P%d%c" % (kind, space), PpmImageFile) for kind in range(1, 7) for space in b" \n\r\t"),
)
"""The first bytes of each format ("." is any byte), and its reader. `Image.open` is not used: it would try thirty more
formats, and limits the size of images too late."""

FOREIGN = (
    (b"....ftyphe", "a HEIC photo; export it as JPEG"),
    (b"....ftypmif1", "a HEIF photo; export it as JPEG"),
    (b"....ftypavif", "an AVIF image; export it as JPEG"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image; export it as JPEG"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"<!DOCTYPE", "a web page (a download that went wrong?)"),
    (b"<html", "a web page (a download that went wrong?)"),
    (b"<svg", "an SVG drawing"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with git lfs pull"),
)
"""Other files that often have an image's name, by their first bytes."""

TILE_WIDTH, TILE_LENGTH = 322, 323
OFFSETS = (273, 324)
"""Tags of a TIFF: a tile's sides, which may be larger than the image's, and where its strips or tiles are."""

START = 32
"""Number of first bytes that identify a format."""


class Refused(Exception):
    """The reason why an image is refused, without the image's name."""


def begins_as_image(start: bytes) -> bool:
    """Return whether the first `START` bytes of a file are those of an image, of a supported format or not."""
    patterns = (*(pattern for pattern, _ in READERS), *(pattern for pattern, what in FOREIGN if "export it" in what))
    return any(_begins(start, pattern) for pattern in patterns)


def read_header(file: BinaryIO, most: int) -> ImageFile:
    """Return the image with only its header decoded; raises Refused if that is not acceptable."""
    file.seek(0)
    start = file.read(START)
    file.seek(0)
    if not start:
        raise Refused("the file is empty")
    reader = _reader(start)
    if reader is TiffImageFile and (pieces := _pieces(file)) > MAX_PIECES:
        raise Refused(f"it has {pieces:,} strips or tiles, too many to open safely")
    if reader is WebPImageFile:
        _check_pixels(_webp_size(start), min(MAX_PIXELS, most // WEBP_BYTES))  # its reader takes all memory at once
    if reader in PARTS:
        many = any(True for _ in islice(PARTS[reader](file), MAX_PARTS, None))
        file.seek(0)
        if many:
            raise Refused(f"it has more than {MAX_PARTS:,} parts, too many to open safely")
    image = reader(file)
    width, height = image.size
    largest = MAX_JPEG_PIXELS if isinstance(image, JpegImageFile) else MAX_PIXELS
    _check_pixels(image.size, MAX_SLOW_PIXELS if image.tile and image.tile[0][0] in SLOW else largest)
    tile = getattr(image, "tag_v2", {})
    if tile.get(TILE_WIDTH, 1) * tile.get(TILE_LENGTH, 1) > max(width * height, TILE_PIXELS):
        raise Refused(f"it has tiles of {tile[TILE_WIDTH]} × {tile[TILE_LENGTH]} pixels, too many to open safely")
    if image.mode not in MODES:
        raise Refused(f"its colour mode {image.mode} is not supported")
    return image


def _check_pixels(size: tuple[int, int], most: int) -> None:
    if size[0] * size[1] > most:
        raise Refused(f"it has {size[0]} × {size[1]} pixels, too many to open safely")


def _webp_size(start: bytes) -> tuple[int, int]:
    """Return the size of a WebP of any of its three kinds, from its first bytes."""
    kind, number = start[12:16], lambda at, bytes: int.from_bytes(start[at : at + bytes], "little")
    if kind == b"VP8X":
        return number(24, 3) + 1, number(27, 3) + 1
    if kind == b"VP8L":
        return (number(21, 4) & 0x3FFF) + 1, (number(21, 4) >> 14 & 0x3FFF) + 1
    return number(26, 2) & 0x3FFF, number(28, 2) & 0x3FFF


BYTES_PER_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Of a decoded image in memory, by mode; others take 4."""
WEBP_BYTES = 20
"""Memory per pixel of a WebP's decoder, which composes animations."""


def memory_needed(image: ImageFile, stored: tuple[int, int], file: BinaryIO) -> int:
    """Return about how many bytes it takes to decode an image; ``stored`` is its size in the file."""
    pixels = image.width * image.height
    if isinstance(image, WebPImageFile):
        return WEBP_BYTES * pixels
    needed = BYTES_PER_PIXEL.get(image.mode, 4) * pixels
    if isinstance(image, JpegImageFile) and (scans := _scans(file)) > 1:  # then all coefficients are held
        pixels = stored[0] * stored[1]
        if scans * pixels > MAX_SCANNED:
            raise Refused(f"it has {scans:,} scans over {stored[0]} × {stored[1]} pixels, too many to open safely")
        sampling = [h * v for _, h, v, _ in image.layer]
        needed += 2 * pixels * sum(sampling) // max(sampling)
    return needed


def _jpeg_segments(file: BinaryIO) -> Iterator[None]:
    """Yield for each segment before the first scan, and for each byte that is between them: Pillow takes any."""
    file.seek(2)
    while len(start := file.read(4)) == 4 and start[:2] != bytes((0xFF, SCAN)):
        if start[0] != 0xFF or start[1] == 0xFF:
            file.seek(-3, 1)
        elif start[1] in ALONE:
            file.seek(-2, 1)
        else:
            file.seek(int.from_bytes(start[2:]) - 2, 1)
        yield


ALONE = (0x00, 0x01, *range(0xD0, 0xDA))
"""Markers that nothing follows."""


def _png_chunks(file: BinaryIO) -> Iterator[None]:
    """Yield for each chunk."""
    file.seek(8)
    while len(start := file.read(8)) == 8:
        file.seek(int.from_bytes(start[:4]) + 4, 1)
        yield


PARTS: dict[Reader, Callable[[BinaryIO], Iterator[None]]] = {JpegImageFile: _jpeg_segments, PngImageFile: _png_chunks}
"""What goes through the parts of a file, by its reader."""


MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends the compressed pixels of a JPEG's scan."""
SCAN, LAST = 0xDA, 0xD9


def _scans(file: BinaryIO) -> int:
    """Return the number of scans of a JPEG, without decoding it."""
    at = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(at)
    scans, place = 0, 2
    while found := MARKER.search(data, place):
        kind, place = data[found.start() + 1], found.end()
        if kind == LAST:
            break
        scans += kind == SCAN
        place += int.from_bytes(data[place : place + 2])
    return scans


def _pieces(file: BinaryIO) -> int:
    """Return how many strips or tiles the first image of a TIFF has, before lists are made of them."""
    start = file.read(16)
    order: Literal["little", "big"] = "little" if start[:2] == b"II" else "big"
    width, counted = (8, 8) if b"+" in start[2:4] else (4, 2)  # bytes of an offset, and of the number of tags
    file.seek(int.from_bytes(start[width : 2 * width], order))
    entries, entry = int.from_bytes(file.read(counted), order), 4 + 2 * width
    table = file.read(min(entries, 2**16) * entry)
    file.seek(0)
    counts = (
        int.from_bytes(table[at + 4 : at + 4 + width], order)
        for at in range(0, len(table), entry)
        if int.from_bytes(table[at : at + 2], order) in OFFSETS
    )
    return max(counts, default=0)


def _reader(start: bytes) -> Reader:
    for pattern, reader in READERS:
        if _begins(start, pattern):
            return reader
    for pattern, what in FOREIGN:
        if _begins(start.lower(), pattern.lower()):
            raise Refused(f"it is {what}")
    raise Refused("it is not an image, or of a format that is not supported")


def _begins(start: bytes, pattern: bytes) -> bool:
    return len(start) >= len(pattern) and all(
        want in (b"."[0], have) for have, want in zip(start, pattern, strict=False)
    )
