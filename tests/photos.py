"""Small pictures in files, of which no two are alike, and in zips."""

import io
import zipfile
import zlib

import numpy as np
from PIL import Image


def photo(path, size=(12, 10), seed=None):
    """Write noise of this (width, height) and return the path; without a seed, the last two names decide."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32("/".join(path.parts[-2:]).encode()) if seed is None else seed
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def picture(shade=0, size=(12, 10)):
    """Return a PNG's bytes, of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 90, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def make_zip(path, files, compression=zipfile.ZIP_DEFLATED):
    """Write a zip of these contents by name and return its path."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
