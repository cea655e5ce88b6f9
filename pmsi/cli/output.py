"""Writing the files that commands produce: atomically, with a clear error if that fails."""

import io
import os
from pathlib import Path
from typing import Any

from pmsi.base.errors import DataError, lookup
from pmsi.base.files import write_atomically

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF"}
"""Formats of pictures by file ending; PNG, BMP and TIFF are lossless."""


def text_of(path: Path) -> str:
    """Return a path as valid Unicode text, for JSON."""
    return os.fsencode(path).decode(errors="replace")


def printable(text: str) -> str:
    """Return text with escapes for what a terminal acts on: control characters, and those that turn text around."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def write_output(path: Path, content: bytes | str) -> None:
    """Write a file and create its folder; raises DataError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        is_below_file = isinstance(error, (FileExistsError, NotADirectoryError))
        reason = f"{path.parent} is no folder" if is_below_file else error.strerror or error
        raise DataError(f"{path} cannot be written: {reason}.") from error


def picture_format(path: Path) -> str:
    """Return Pillow's format for a file's ending; raises UnknownName."""
    return lookup("ending of a picture", PICTURES, path.suffix.lower())


def save_picture(picture: Any, path: Path) -> None:
    """Write a Pillow image atomically, in the format of the file's ending; raises DataError if that fails."""
    buffer = io.BytesIO()
    try:
        picture.save(buffer, picture_format(path), quality=95)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be written as {picture_format(path)}: {error}. Try .png.") from error
    write_output(path, buffer.getvalue())
