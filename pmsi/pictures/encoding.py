"""Pictures as bytes: JPEG, PNG and GIF files in memory, and data URIs for web pages."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from PIL import Image, ImageColor

JPEG_QUALITY = 88

SAMPLED = 4
"""A palette is chosen from every fourth row and column of each frame, to save time."""


def jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Return a picture as a JPEG file, for the screen."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file, for downloads: lossless."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()


def data_uri(content: bytes, kind: str = "image/jpeg") -> str:
    """Return an encoded picture as a data URI; ``kind`` is its media type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of an animation and its duration in milliseconds."""

    picture: Image.Image
    held_ms: int


def gif(frames: Sequence[Frame], colors: Sequence[str] = ()) -> bytes:
    """Return frames of the same size as a GIF that repeats forever.

    All frames share one palette of 256 colours, which contains ``colors`` (such as "#ff8e00") exactly.
    """
    palette = _palette([frame.picture for frame in frames], colors)
    file = io.BytesIO()
    first, *rest = (frame.picture.quantize(palette=palette) for frame in frames)
    held = [frame.held_ms for frame in frames]
    first.save(file, "GIF", save_all=True, append_images=rest, duration=held, loop=0, optimize=False)
    return file.getvalue()


def _palette(pictures: Sequence[Image.Image], colors: Sequence[str]) -> Image.Image:
    """Return an image with a palette for all pictures, which have the same size, that contains ``colors``."""
    exact = [ImageColor.getrgb(color) for color in colors]
    samples = [np.asarray(picture)[::SAMPLED, ::SAMPLED] for picture in pictures]
    found = Image.fromarray(np.concatenate(samples, axis=1)).quantize(256 - len(exact)).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*found, *chain.from_iterable(exact)])
    return palette
