"""Decoding of image files: from data sets, the command line and uploads.

The result is an upright 8-bit RGB image, with transparency over white. Unsupported formats and images that would take
too much memory are refused by their header, damaged ones by an ImageError.
"""

import contextlib
import hashlib
import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile

from pmsi.base.errors import ImageError
from pmsi.data.dataset import Box
from pmsi.data.duplicates import SIDE as LOOK
from pmsi.data.duplicates import look_of
from pmsi.data.image_header import (
    DEEP_MODES,
    MAX_BYTES,
    MAX_JPEG_PIXELS,
    MAX_PIXELS,
    START,
    Refused,
    begins_as_image,
    memory_needed,
    read_header,
)

LARGE_BYTES = 100_000_000
"""Images that take more memory are decoded one at a time, whatever the number of threads."""

MAX_FILE_BYTES = 25 * 2**20
"""Largest file of an uploaded picture. A JPEG of `MAX_PIXELS` at high quality is smaller."""

EXPECTED = (
    f"Expected a whole JPEG, PNG, WebP, BMP, GIF, TIFF or PPM image of at most {MAX_PIXELS // 10**6} megapixels "
    f"(a JPEG: {MAX_JPEG_PIXELS // 10**6})."
)

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
        return _with_file(source, lambda file: _upright(*_decode(file, side, most)[:2]))
    except Refused as error:
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
    except Refused as error:
        raise ImageError(f"{path}: {error}. {EXPECTED}") from error.__cause__


def examine(path: str | Path, most: int = MAX_BYTES) -> Examined:
    """Return the result of decoding an image file, with the reason if `open_rgb` would refuse it."""
    try:
        return _with_file(path, lambda file: _examine(file, most))
    except Refused as error:
        return Examined(str(error))


def pixels_digest(image: Image.Image, orientation: int = 1) -> str:
    """Return 32 hexadecimal digits: BLAKE2b of the size and RGB pixels of a picture that is turned upright.

    It is turned strip by strip: the pixels of a large photo are not held twice.
    """
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    width, height = rgb.size if orientation < 5 else rgb.size[::-1]
    digest = hashlib.blake2b(repr((width, height)).encode(), digest_size=16)
    for top in range(0, height, TILE):
        first, last = top, min(top + TILE, height)
        if orientation in (3, 4, 7, 8):
            first, last = height - last, height - first
        box = (0, first, width, last) if orientation < 5 else (first, 0, last, width)
        digest.update(_upright(rgb.crop(box), orientation).tobytes())
    return digest.hexdigest()


def is_image(path: Path) -> bool:
    """Return whether a file begins like an image, of a supported format or not."""
    try:
        with _existing(path).open("rb") as file:
            start = file.read(START)
    except (OSError, Refused):
        return False
    return begins_as_image(start)


def _with_file(source: str | Path | BinaryIO, use: Callable[[BinaryIO], Result]) -> Result:
    """Return ``use(file)``; raises Refused for any error."""
    try:
        if not isinstance(source, (str, Path)):
            return use(source)
        with _existing(Path(source)).open("rb") as file:
            return use(file)
    except Refused:
        raise
    except Exception as error:  # decoders of damaged bytes raise nearly anything
        raise Refused(_reason(error)) from error


def _existing(path: Path) -> Path:
    if not path.exists():
        raise Refused("the file does not exist")
    if not path.is_file():
        raise Refused("it is a folder" if path.is_dir() else "it is not a regular file")
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


def _examine(file: BinaryIO, most: int) -> Examined:
    rgb, turned, orientation, reduction = _decode(file, most=most)
    width, height = rgb.size if turned < 5 else rgb.size[::-1]
    look = look_of(_upright(rgb.resize((LOOK, LOOK), Image.Resampling.BOX), turned))
    digest = pixels_digest(rgb, turned)
    return Examined("", digest, width, height, orientation, reduction, look, _bits(file, rgb))


def _bits(file: BinaryIO, rgb: Image.Image) -> int:
    """Return the bits that the values of a decoded picture use: 8, or from 9 to 16 if its file has 16 for each."""
    tiles = read_header(file, MAX_BYTES).tile
    if not tiles or ";16" not in str(tiles[0].args):
        return 8
    most = max(value % 256 for value, count in enumerate(rgb.histogram()) if count)
    return max(9, int((most - 0.5) * 257).bit_length())  # half a step less: most has been rounded


def _geometry(file: BinaryIO) -> Examined:
    image = read_header(file, MAX_BYTES)
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


def _decode(file: BinaryIO, side: int | None = None, most: int = MAX_BYTES) -> tuple[Image.Image, int, int, float]:
    """Return the RGB image, what turns it upright, its EXIF orientation, and stored pixels per decoded pixel."""
    image = read_header(file, most)
    stored = image.size
    reduction = _reduce(image, side)
    needed = memory_needed(image, stored, file)
    if needed > most:
        raise Refused(f"it takes {needed / 10**6:,.0f} MB of memory to decode, above the limit of {most // 10**6}")
    with _LARGE if needed > LARGE_BYTES else contextlib.nullcontext():
        orientation = _orientation(image)
        image.load()
        turned = _orientation(image)  # 1 for a TIFF, which Pillow has turned by now
        rgb = _to_rgb(image, max(1, max(image.size) // side) if side else 1)
        del image  # its pixels
        if side:
            rgb.thumbnail((side, side))
        return rgb, turned, orientation, reduction


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image of its own, turned upright by its EXIF orientation."""
    if orientation > 1:
        return image.transpose(UPRIGHT[orientation])
    return image.copy() if isinstance(image, ImageFile) else image


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


def _to_rgb(image: Image.Image, factor: int = 1) -> Image.Image:
    """Return a decoded image of any of `MODES` as RGB, with transparency over white, and a ``factor`` smaller."""
    if image.mode in DEEP_MODES:
        convert = _to_8_bits(image)
    elif image.has_transparency_data:
        convert = _over_white
    elif factor == 1:
        return image if image.mode == "RGB" else image.convert("RGB")
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
