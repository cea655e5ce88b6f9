"""The one door for image files: every picture of a data set, a command line or an upload comes in through here.

What comes out is always a plain 8-bit RGB image, upright, with transparency laid over white. What is foreign, damaged
or too large is refused before it costs memory. This module does not know what the pictures are for.
"""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pmsi.base.errors import ImageError

MAX_PIXELS = 50_000_000
"""Enough for the photos of phones and cameras, and 150 MB once decoded. A PNG of 500 kB can decode to 700 MB, so the
size is read off the header before a pixel is decoded."""

MAX_FILE_BYTES = 25 * 2**20
"""Largest file of a picture that somebody sends. A JPEG of `MAX_PIXELS` at high quality is smaller."""

EXPECTED = f"Expected a whole JPEG, PNG, WebP, BMP, GIF or TIFF image of at most {MAX_PIXELS // 10**6} megapixels."

COLOR_MODES = frozenset(("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"))
DEEP_MODES = frozenset(("I", "I;16", "I;16B", "I;16L", "F"))
MODES = COLOR_MODES | DEEP_MODES
"""Pillow's colour modes that have a meaning in RGB here."""


class _Jpeg(JpegImageFile):
    """A JPEG whose EXIF block is left alone: Pillow looks for a resolution in it, and warns where it is damaged."""

    def _read_dpi_from_exif(self) -> None:
        return


Reader = Callable[[BinaryIO], ImageFile]
READERS: tuple[tuple[bytes, Reader], ...] = (
    (b"\xff\xd8\xff", _Jpeg),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"GIF87a", GifImageFile),
    (b"GIF89a", GifImageFile),
    (b"RIFF....WEBP", WebPImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),
    (b"MM\0+", TiffImageFile),
)
"""How each format begins ("." stands for any byte), and who reads it. `Image.open` is not used: it would try thirty
more formats, and its warning about large images comes later than `MAX_PIXELS`."""

FOREIGN = (
    (b"....ftyphe", "a HEIC photo; export it as JPEG"),
    (b"....ftypmif1", "a HEIF photo; export it as JPEG"),
    (b"....ftypavif", "an AVIF image; export it as JPEG"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive"),
    (b"<!DOCTYPE", "a web page (a download that went wrong?)"),
    (b"<html", "a web page (a download that went wrong?)"),
    (b"<svg", "an SVG drawing"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with git lfs pull"),
)
"""What is often found under an image's name, by how it begins."""

TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation."""

ORIENTATION = 0x0112
INTEGERS = {3: "H", 4: "I"}


Result = TypeVar("Result")


class _Refused(Exception):
    """Why an image is refused, without its name."""


def open_rgb(source: str | Path | BinaryIO, name: str | None = None) -> Image.Image:
    """Return the image in a file as upright 8-bit RGB, fully decoded; of an animation, the first frame.

    ``source`` is a path or an open binary file, which is read from its start and left open. ``name`` is what errors
    call it, by default its path or the file's own name. Raises ImageError where it is missing, foreign, truncated,
    damaged or has more than `MAX_PIXELS`.
    """
    label = name or str(source if isinstance(source, (str, Path)) else getattr(source, "name", "the image"))
    try:
        return _with_file(source, _read_rgb)
    except _Refused as error:
        raise ImageError(f"{label}: {error}. {EXPECTED}") from error.__cause__


def open_rgb_bytes(data: bytes, name: str = "the image") -> Image.Image:
    """Return `open_rgb` of an image held in memory, an upload say."""
    return open_rgb(io.BytesIO(data), name)


def check_file_size(size: int, name: str) -> None:
    """Raise ImageError where a picture that somebody sends has more than `MAX_FILE_BYTES`."""
    if size > MAX_FILE_BYTES:
        raise ImageError(
            f"{name} has {size / 2**20:.0f} MB. Expected a picture of at most {MAX_FILE_BYTES // 2**20} MB: save it as "
            "JPEG, or make it smaller."
        )


def fault(path: str | Path) -> str | None:
    """Return what `open_rgb` would find wrong with an image file, or None; a JPEG costs less than opening it does."""
    try:
        _with_file(path, _decode_cheaply)
    except _Refused as error:
        return str(error)
    return None


def _with_file(source: str | Path | BinaryIO, use: Callable[[BinaryIO], Result]) -> Result:
    """Return ``use(file)``; whatever goes wrong becomes _Refused."""
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
    image = _header(file)
    image.load()
    upright = TRANSPOSES.get(_orientation(image))
    rgb = _to_rgb(image)
    return rgb if upright is None else rgb.transpose(upright)


def _decode_cheaply(file: BinaryIO) -> None:
    image = _header(file)
    image.draft(None, (1, 1))  # every bit of a JPEG is still read, but pixels are made for an eighth of it only
    image.load()


def _header(file: BinaryIO) -> ImageFile:
    """Return the image with its header read and found acceptable, no pixel decoded yet."""
    file.seek(0)
    start = file.read(32)
    file.seek(0)
    if not start:
        raise _Refused("the file is empty")
    image = _reader(start)(file)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _Refused(f"it has {width} × {height} pixels, too many to open safely")
    if image.mode not in MODES:
        raise _Refused(f"its colour mode {image.mode} is not supported")
    return image


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


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none to be found. (Pillow turns a TIFF by itself.)"""
    block = image.info.get("exif", b"").removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (first,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, first)
        for entry in range(first + 2, first + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", block, entry)
            if tag == ORIENTATION:
                return int(struct.unpack_from(order + INTEGERS.get(kind, "H"), block, entry + 8)[0])
    except struct.error:
        return 1
    return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return a decoded image of any of `MODES` as RGB, with whatever is transparent laid over white."""
    if image.mode in DEEP_MODES:
        return _to_8_bits(np.asarray(image)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(values: np.ndarray) -> Image.Image:
    """Return gray values (h, w) of 16 or 32 bits as an 8-bit image that keeps their range.

    16-bit integers are scaled by the range of their type, floats in [0, 1] by 255; for what has no agreed range, the
    smallest value becomes black and the largest white.
    """
    grays = np.nan_to_num(values.astype(np.float64))
    low, high = float(grays.min()), float(grays.max())
    if low >= 0 and values.dtype.kind == "f" and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 65535 and values.dtype.kind in "iu":
        low, high = 0.0, 65535.0
    return Image.fromarray(np.round((grays - low) * (255.0 / ((high - low) or 1.0))).astype(np.uint8))
