"""Decoding of image files: from data sets, the command line and uploads.

The result is an upright 8-bit RGB image, with transparency over white. Unsupported formats and images that would take
too much memory are refused by their header, damaged ones by an ImageError.
"""

import contextlib
import hashlib
import io
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps
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

MAX_PIXELS = 50_000_000
"""Limit of an image's pixels: 150 MB. It is checked in the header, because a PNG of 500 kB can decode to 700 MB."""

MAX_JPEG_PIXELS = 200_000_000
MAX_PROGRESSIVE_PIXELS = 100_000_000
"""Limits of a JPEG's pixels: above `MAX_PIXELS`, it is decoded at half its size. The decoder holds all of a progressive
one in memory, with 3 to 6 bytes per pixel."""

LARGE_PIXELS = 12_000_000
"""Images with more pixels are decoded one at a time, whatever the number of threads."""

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
"""Tags of a TIFF; a tile may be larger than the whole image."""

START = 32
"""Number of first bytes that identify a format."""

STRIP_PIXELS = 2**20
"""Greys of more than 8 bits are converted in strips, because that takes 20 times the memory of the result."""

# Pillow warns about damaged EXIF blocks, which do not matter for the pixels.
warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")

_LARGE = threading.Lock()
"""Held while an image of more than `LARGE_PIXELS` is decoded."""


def _renew_lock() -> None:
    global _LARGE
    _LARGE = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)  # another thread of the parent may hold it

Result = TypeVar("Result")


class _Refused(Exception):
    """The reason why an image is refused, without the image's name."""


def open_rgb(source: str | Path | BinaryIO, name: str | None = None) -> Image.Image:
    """Return the image in a file as upright 8-bit RGB, fully decoded; of an animation, the first frame.

    ``source`` is a path or an open binary file, which is read from its start and left open. ``name`` is its name in
    errors, by default the path. Raises ImageError if the file is missing, of another format, truncated or damaged, or
    has more than `MAX_PIXELS`.
    """
    label = name or str(source if isinstance(source, (str, Path)) else getattr(source, "name", "the image"))
    try:
        return _with_file(source, _read_rgb)
    except _Refused as error:
        raise ImageError(f"{label}: {error}. {EXPECTED}") from error.__cause__


def open_rgb_bytes(data: bytes, name: str = "the image") -> Image.Image:
    """Return `open_rgb` of an image in memory, such as an upload."""
    return open_rgb(io.BytesIO(data), name)


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
    digest.update(rgb.tobytes())
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
    if isinstance(error, OSError) and error.strerror is not None:
        return f"it cannot be read ({error.strerror})"
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "it is truncated: the end of the file is missing"
    return f"it is damaged and cannot be decoded ({str(error) or type(error).__name__})"


def _read_rgb(file: BinaryIO) -> Image.Image:
    return _decode(file)[0]


def _examine(file: BinaryIO) -> Examined:
    rgb, orientation, reduction = _decode(file)
    return Examined("", pixels_digest(rgb), *rgb.size, orientation, reduction)


def _geometry(file: BinaryIO) -> Examined:
    image = _header(file)
    reduction, orientation = _reduce(image), _orientation(image)
    width, height = image.size[::-1] if orientation >= 5 else image.size
    return Examined("", "", width, height, orientation, reduction)


def _reduce(image: ImageFile) -> float:
    """Have a JPEG of more than `MAX_PIXELS` decoded at half its size; return stored pixels for each decoded pixel."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.draft(None, (width // 2, height // 2))
    return width / image.size[0]


def _decode(file: BinaryIO) -> tuple[Image.Image, int, float]:
    """Return the upright RGB image, its EXIF orientation, and the stored pixels per decoded pixel along a side."""
    image = _header(file)
    width, height = image.size
    with _LARGE if width * height > LARGE_PIXELS else contextlib.nullcontext():
        reduction = _reduce(image)
        orientation = _orientation(image)
        image.load()
        with contextlib.suppress(Exception):  # a damaged EXIF block; the pixels are whole
            ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image), orientation, reduction


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none, or a damaged one."""
    with contextlib.suppress(Exception):  # as damaged as the block may be
        orientation = int(image.getexif().get(ExifTags.Base.Orientation, 1))
        return orientation if orientation in range(1, 9) else 1
    return 1


def _header(file: BinaryIO) -> ImageFile:
    """Return the image with only its header decoded; raises _Refused if that is not acceptable."""
    file.seek(0)
    start = file.read(START)
    file.seek(0)
    if not start:
        raise _Refused("the file is empty")
    image = _reader(start)(file)
    width, height = image.size
    if width * height > _most_pixels(image):
        raise _Refused(f"it has {width} × {height} pixels, too many to open safely")
    tile = getattr(image, "tag_v2", {})
    if tile.get(TILE_WIDTH, 1) * tile.get(TILE_LENGTH, 1) > MAX_PIXELS:
        raise _Refused(f"it has tiles of {tile[TILE_WIDTH]} × {tile[TILE_LENGTH]} pixels, too many to open safely")
    if image.mode not in MODES:
        raise _Refused(f"its colour mode {image.mode} is not supported")
    return image


def _most_pixels(image: ImageFile) -> int:
    if not isinstance(image, JpegImageFile):
        return MAX_PIXELS
    return MAX_PROGRESSIVE_PIXELS if image.info.get("progressive") else MAX_JPEG_PIXELS


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


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return a decoded image of any of `MODES` as RGB, with transparency over white."""
    if image.mode in DEEP_MODES:
        return _to_8_bits(np.asarray(image)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(values: np.ndarray) -> Image.Image:
    """Return grey values (h, w) of 16 or 32 bits as an 8-bit image.

    16-bit integers are scaled by the range of their type, floats in [0, 1] by 255. For other values, the smallest
    becomes black and the largest white.
    """
    strips = [*np.array_split(values, -(-values.size // STRIP_PIXELS))] if values.size else [values]
    low = min(float(_finite(strip).min()) for strip in strips)
    high = max(float(_finite(strip).max()) for strip in strips)
    if low >= 0 and values.dtype.kind == "f" and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 65535 and values.dtype.kind in "iu":
        low, high = 0.0, 65535.0
    scale = 255.0 / ((high - low) or 1.0)
    return Image.fromarray(np.concatenate([np.round((_finite(s) - low) * scale).astype(np.uint8) for s in strips]))


def _finite(strip: np.ndarray) -> np.ndarray:
    return np.nan_to_num(strip.astype(np.float64))
