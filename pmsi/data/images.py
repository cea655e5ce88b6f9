"""Decoding of image files: from data sets, the command line and uploads.

The result is an upright 8-bit RGB image, with transparency over white. Unsupported formats and images that would take
too much memory are refused by their header, damaged ones by an ImageError.
"""

import contextlib
import hashlib
import logging
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import numpy as np
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pmsi.base.errors import ImageError
from pmsi.data.dataset import Box
from pmsi.data.duplicates import look_of

MAX_PIXELS = 50_000_000
"""Limit of an image's pixels: 150 MB. It is checked in the header, because a PNG of 500 kB can decode to 700 MB."""

MAX_JPEG_PIXELS = 200_000_000
"""Limit of a JPEG's pixels: above `MAX_PIXELS`, it is decoded at half its size."""

MAX_BYTES = 700_000_000
"""Memory that decoding an image may take, by its header (`_needed`)."""

LARGE_BYTES = 100_000_000
"""Images that take more memory are decoded one at a time, whatever the number of threads."""

MAX_SCANNED = 2_000_000_000
"""Limit of a JPEG's pixels times its scans, each of which goes over all pixels: some seconds. Ten scans are usual."""

MAX_PIECES = 250_000
"""Limit of a TIFF's strips or tiles. Tiles of 16 × 16 in an image of `MAX_PIXELS` are 200,000."""

TILE_PIXELS = 2**22
"""Limit of a tile's pixels in a smaller image."""

SLOW, MAX_SLOW_PIXELS = ("ppm", "ppm_plain"), 4_000_000
"""Pillow's decoders that are written in Python (of PPM in text or with 16 bits), and their limit of pixels."""

MAX_FILE_BYTES = 25 * 2**20
"""Largest file of an uploaded picture. A JPEG of `MAX_PIXELS` at high quality is smaller."""

EXPECTED = (
    f"Expected a whole JPEG, PNG, WebP, BMP, GIF, TIFF or PPM image of at most {MAX_PIXELS // 10**6} megapixels "
    f"(a JPEG: {MAX_JPEG_PIXELS // 10**6})."
)

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

TILE = 512
"""Sides of the squares in which colours are converted, because that takes up to 20 times the memory of the result."""

# Pillow warns about damaged EXIF blocks, palettes and the like, which do not matter for the pixels.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)

_LARGE = threading.Lock()
"""Held while an image that takes more than `LARGE_BYTES` is decoded."""


def _renew_lock() -> None:
    global _LARGE
    _LARGE = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)  # another thread of the parent may hold it

Result = TypeVar("Result")


class _Refused(Exception):
    """The reason why an image is refused, without the image's name."""


def open_rgb(
    source: str | Path | BinaryIO, name: str | None = None, *, side: int | None = None, most: int = MAX_BYTES
) -> Image.Image:
    """Return the image in a file as upright 8-bit RGB, fully decoded; of an animation, the first frame.

    ``source`` is a path or an open binary file, which is read from its start and left open. ``name`` is its name in
    errors, by default the path. With ``side``, a larger image is reduced to that longer side. Raises ImageError if the
    file is missing, of another format, truncated or damaged, has more than `MAX_PIXELS`, or would take more than
    ``most`` bytes of memory.
    """
    label = name or str(source if isinstance(source, (str, Path)) else getattr(source, "name", "the image"))
    try:
        return _with_file(source, lambda file: _decode(file, side, most)[0])
    except _Refused as error:
        raise ImageError(f"{label}: {error}. {EXPECTED}") from error.__cause__


def check_file_size(size: int, name: str) -> None:
    """Raise ImageError if an uploaded picture has more than `MAX_FILE_BYTES`."""
    if size > MAX_FILE_BYTES:
        raise ImageError(
            f"{name} has {size / 2**20:.0f} MB. Expected a picture of at most {MAX_FILE_BYTES // 2**20} MB: save it as "
            "JPEG, or make it smaller."
        )


@dataclass(frozen=True, slots=True)
class Examined:
    """The result of decoding a file once: its ``fault`` ("" if none), its pixels' digest, and its geometry."""

    fault: str
    digest: str = ""
    width: int = 0
    height: int = 0
    """Of the upright image."""
    orientation: int = 1
    """The EXIF orientation, 1 to 8."""
    reduction: float = 1.0
    """Stored pixels for each decoded pixel along a side; 2 for a JPEG that is decoded at half its size."""
    look: str = ""
    bits: int = 8
    """Bits that the values use at most; 9 to 16 if the file has 16 for each, at least 9 then."""

    def upright_box(self, box: Box) -> Box:
        """Return a box in pixels of the upright image, given one in pixels of the stored image."""
        x, y, w, h = (value / self.reduction for value in box)
        width, height = (self.height, self.width) if self.orientation >= 5 else (self.width, self.height)
        left, top, right, bottom = x, y, width - x - w, height - y - h  # distances to the four sides, as stored
        return {
            2: (right, top, w, h),
            3: (right, bottom, w, h),
            4: (left, bottom, w, h),
            5: (top, left, h, w),
            6: (bottom, left, h, w),
            7: (bottom, right, h, w),
            8: (top, right, h, w),
        }.get(self.orientation, (x, y, w, h))


def geometry(path: str | Path) -> Examined:
    """Return the size, orientation and reduction of an image that `open_rgb` opens, from its header; no digest."""
    try:
        return _with_file(path, _geometry)
    except _Refused as error:
        raise ImageError(f"{path}: {error}. {EXPECTED}") from error.__cause__


def examine(path: str | Path) -> Examined:
    """Return the result of decoding an image file, with the reason if `open_rgb` would refuse it."""
    try:
        return _with_file(path, _examine)
    except _Refused as error:
        return Examined(str(error))


def pixels_digest(image: Image.Image) -> str:
    """Return 32 hexadecimal digits: BLAKE2b of a picture's size and RGB pixels."""
    rgb = image.convert("RGB")
    digest = hashlib.blake2b(repr(rgb.size).encode(), digest_size=16)
    for top in range(0, rgb.height, TILE):
        digest.update(rgb.crop((0, top, rgb.width, min(top + TILE, rgb.height))).tobytes())
    return digest.hexdigest()


def is_image(path: Path) -> bool:
    """Return whether a file begins like an image, of a supported format or not."""
    try:
        with _existing(path).open("rb") as file:
            start = file.read(START)
    except (OSError, _Refused):
        return False
    return begins_as_image(start)


def begins_as_image(start: bytes) -> bool:
    """Return whether the first `START` bytes of a file are those of an image, of a supported format or not."""
    patterns = (*(pattern for pattern, _ in READERS), *(pattern for pattern, what in FOREIGN if "export it" in what))
    return any(_begins(start, pattern) for pattern in patterns)


def _with_file(source: str | Path | BinaryIO, use: Callable[[BinaryIO], Result]) -> Result:
    """Return ``use(file)``; raises _Refused for any error."""
    try:
        if not isinstance(source, (str, Path)):
            return use(source)
        with _existing(Path(source)).open("rb") as file:
            return use(file)
    except _Refused:
        raise
    except Exception as error:  # decoders of damaged bytes raise nearly anything
        raise _Refused(_reason(error)) from error


def _existing(path: Path) -> Path:
    if not path.exists():
        raise _Refused("the file does not exist")
    if not path.is_file():
        raise _Refused("it is a folder" if path.is_dir() else "it is not a regular file")
    return path


def _reason(error: Exception) -> str:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return "its header gives it too many pixels to open safely"
    if isinstance(error, MemoryError):
        return "it takes more memory to decode than there is for it"
    if isinstance(error, OSError) and error.strerror is not None:
        return f"it cannot be read ({error.strerror})"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "it is truncated: the end of the file is missing"
    return f"it is damaged and cannot be decoded ({str(error) or type(error).__name__})"


def _examine(file: BinaryIO) -> Examined:
    rgb, orientation, reduction = _decode(file)
    return Examined("", pixels_digest(rgb), *rgb.size, orientation, reduction, look_of(rgb), _bits(file, rgb))


def _bits(file: BinaryIO, rgb: Image.Image) -> int:
    """Return the bits that the values of a decoded picture use: 8, or from 9 to 16 if its file has 16 for each."""
    tiles = _header(file, MAX_BYTES).tile
    if not tiles or ";16" not in str(tiles[0].args):
        return 8
    most = max(value % 256 for value, count in enumerate(rgb.histogram()) if count)
    return max(9, int((most - 0.5) * 257).bit_length())  # half a step less: most has been rounded


def _geometry(file: BinaryIO) -> Examined:
    image = _header(file, MAX_BYTES)
    reduction, orientation = _reduce(image), _orientation(image)
    width, height = image.size[::-1] if orientation >= 5 else image.size
    return Examined("", "", width, height, orientation, reduction)


def _reduce(image: ImageFile, side: int | None = None) -> float:
    """Have a JPEG be decoded at half its size where it has more than `MAX_PIXELS`, or smaller where ``side`` allows.

    Returns stored pixels for each decoded pixel.
    """
    width, height = image.size
    half = 2 if width * height > MAX_PIXELS else 1
    scale = max(half, max(width, height) // side) if side else half
    if scale > 1:
        image.draft(None, (width // scale, height // scale))
    return width / image.size[0]


def _decode(file: BinaryIO, side: int | None = None, most: int = MAX_BYTES) -> tuple[Image.Image, int, float]:
    """Return the upright RGB image, its EXIF orientation, and the stored pixels per decoded pixel along a side."""
    image = _header(file, most)
    stored = image.size
    reduction = _reduce(image, side)
    needed = _needed(image, stored, file)
    if needed > most:
        raise _Refused(f"it takes {needed / 10**6:,.0f} MB of memory to decode, above the limit of {most // 10**6}")
    with _LARGE if needed > LARGE_BYTES else contextlib.nullcontext():
        orientation = _orientation(image)
        image.load()
        turned = _orientation(image)  # 1 for a TIFF, which Pillow has turned by now
        rgb = _to_rgb(image, max(1, max(image.size) // side) if side else 1)
        del image  # its pixels
        if side:
            rgb.thumbnail((side, side))
        return (rgb.transpose(UPRIGHT[turned]) if turned > 1 else rgb), orientation, reduction


UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image upright, by its EXIF orientation."""


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none, or a damaged one."""
    with contextlib.suppress(Exception):  # as damaged as the block may be
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
        return orientation if orientation in range(1, 9) else 1
    return 1


def _header(file: BinaryIO, most: int) -> ImageFile:
    """Return the image with only its header decoded; raises _Refused if that is not acceptable."""
    file.seek(0)
    start = file.read(START)
    file.seek(0)
    if not start:
        raise _Refused("the file is empty")
    reader = _reader(start)
    if reader is TiffImageFile and (pieces := _pieces(file)) > MAX_PIECES:
        raise _Refused(f"it has {pieces:,} strips or tiles, too many to open safely")
    if reader is WebPImageFile:
        _check_pixels(_webp_size(start), min(MAX_PIXELS, most // WEBP_BYTES))  # its reader takes all memory at once
    image = reader(file)
    width, height = image.size
    largest = MAX_JPEG_PIXELS if isinstance(image, JpegImageFile) else MAX_PIXELS
    _check_pixels(image.size, MAX_SLOW_PIXELS if image.tile and image.tile[0][0] in SLOW else largest)
    tile = getattr(image, "tag_v2", {})
    if tile.get(TILE_WIDTH, 1) * tile.get(TILE_LENGTH, 1) > max(width * height, TILE_PIXELS):
        raise _Refused(f"it has tiles of {tile[TILE_WIDTH]} × {tile[TILE_LENGTH]} pixels, too many to open safely")
    if image.mode not in MODES:
        raise _Refused(f"its colour mode {image.mode} is not supported")
    return image


def _check_pixels(size: tuple[int, int], most: int) -> None:
    if size[0] * size[1] > most:
        raise _Refused(f"it has {size[0]} × {size[1]} pixels, too many to open safely")


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


def _needed(image: ImageFile, stored: tuple[int, int], file: BinaryIO) -> int:
    """Return about how many bytes it takes to decode an image; ``stored`` is its size in the file."""
    pixels = image.width * image.height
    if isinstance(image, WebPImageFile):
        return WEBP_BYTES * pixels
    needed = BYTES_PER_PIXEL.get(image.mode, 4) * pixels
    if isinstance(image, JpegImageFile) and (scans := _scans(file)) > 1:  # then all coefficients are held
        pixels = stored[0] * stored[1]
        if scans * pixels > MAX_SCANNED:
            raise _Refused(f"it has {scans:,} scans over {stored[0]} × {stored[1]} pixels, too many to open safely")
        sampling = [h * v for _, h, v, _ in image.layer]
        needed += 2 * pixels * sum(sampling) // max(sampling)
    return needed


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
            raise _Refused(f"it is {what}")
    raise _Refused("it is not an image, or of a format that is not supported")


def _begins(start: bytes, pattern: bytes) -> bool:
    return len(start) >= len(pattern) and all(
        want in (b"."[0], have) for have, want in zip(start, pattern, strict=False)
    )


def _to_rgb(image: Image.Image, factor: int = 1) -> Image.Image:
    """Return a decoded image of any of `MODES` as RGB, with transparency over white, and a ``factor`` smaller."""
    if image.mode in DEEP_MODES:
        convert = _to_8_bits(image)
    elif image.has_transparency_data:
        convert = _over_white
    elif factor == 1:
        return image.convert("RGB")
    else:
        convert = _plainly
    rgb = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for left, top, tile in _tiles(image, factor * max(1, TILE // factor)):
        rgb.paste(convert(tile).reduce(factor), (left // factor, top // factor))
    return rgb


def _tiles(image: Image.Image, side: int) -> Iterator[tuple[int, int, Image.Image]]:
    """Yield (left, top, tile) of an image."""
    for top in range(0, image.height, side):
        for left in range(0, image.width, side):
            box = (left, top, min(left + side, image.width), min(top + side, image.height))
            yield left, top, image.crop(box)


def _plainly(tile: Image.Image) -> Image.Image:
    return tile.convert("RGB")


def _over_white(tile: Image.Image) -> Image.Image:
    tile = tile.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", tile.size, "white"), tile).convert("RGB")


def _to_8_bits(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """Return what converts tiles of an image with grey values of 16 or 32 bits.

    16-bit integers are scaled by the range of their type, floats in [0, 1] by 255. For other values, the smallest
    becomes black and the largest white.
    """
    ranges = [(values.min(), values.max()) for values in (_finite(tile) for _, _, tile in _tiles(image, TILE))]
    low, high = min(float(least) for least, _ in ranges), max(float(largest) for _, largest in ranges)
    if low >= 0 and image.mode == "F" and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 65535 and image.mode != "F":
        low, high = 0.0, 65535.0
    scale = 255.0 / ((high - low) or 1.0)
    return lambda tile: Image.fromarray(np.round((_finite(tile) - low) * scale).astype(np.uint8)).convert("RGB")


def _finite(tile: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(tile).astype(np.float64))
