"""How commands write what they were asked for: whole or not at all, with an error that says what is in the way."""

import io
import os
from pathlib import Path
from typing import Any

from pmsi.base.errors import DataError, lookup
from pmsi.base.files import write_atomically

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF"}
"""Endings of the pictures that can be written; PNG, BMP and TIFF keep every pixel."""


def text_of(path: Path) -> str:
    """Return a path as text that JSON can hold, whatever bytes are in its name."""
    return os.fsencode(path).decode(errors="replace")


def write_output(path: Path, content: bytes | str) -> None:
    """Write a file that was asked for, and the folders above it, with a clear error where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        is_below_file = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = f"{path.parent} is no folder" if is_below_file else error.strerror or error
        raise DataError(f"{path} cannot be written: {reason}.") from error


def picture_format(path: Path) -> str:
    """Return Pillow's name of the format that a file's ending says."""
    return lookup("ending of a picture", PICTURES, path.suffix.lower())


def save_picture(picture: Any, path: Path) -> None:
    """Write a Pillow image, whole or not at all; the file's ending says the format."""
    buffer = io.BytesIO()
    try:
        picture.save(buffer, picture_format(path), quality=95)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be written as {picture_format(path)}: {error}. Try .png.") from error
    write_output(path, buffer.getvalue())
