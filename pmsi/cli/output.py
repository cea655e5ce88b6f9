"""Writing the files that commands produce: atomically, with a clear error if that fails."""

import io
import os
from pathlib import Path
from typing import Any, TextIO, cast

from pmsi.base.errors import DataError, DiskFull, lookup
from pmsi.base.files import write_atomically
from pmsi.base.text import printable

CLEAR = "\r\033[K"
"""Terminal code that clears the current line."""

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF"}
"""Formats of pictures by file ending; PNG, BMP and TIFF are lossless."""


class _Escaped:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(text if text == CLEAR else printable(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def escaped(stream: TextIO) -> TextIO:
    """Return a stream that writes control characters and marks of direction as JSON does, but for `CLEAR` alone.

    Names of files, runs and classes may hold them, and would move a terminal's cursor or turn its lines around.
    """
    return cast(TextIO, _Escaped(stream)) if stream else stream


def text_of(path: Path) -> str:
    """Return a path as valid Unicode text, for JSON."""
    return os.fsencode(path).decode(errors="replace")


def write_output(path: Path, content: bytes | str) -> None:
    """Write a file and create its folder; raises DataError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except DiskFull:
        raise
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
