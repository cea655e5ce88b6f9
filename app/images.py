"""Pictures → encoded bytes, once, because Streamlit would encode arrays again and more slowly.

Nothing here knows of models or pages; maps become pictures in `pmsi.explain.overlay`.
"""

import io

from PIL import Image

JPEG_QUALITY = 88


def jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Return a picture as JPEG, for the screen."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def png(image: Image.Image) -> bytes:
    """Return a picture as PNG, for downloads: every pixel as it is."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=3)
    return file.getvalue()


def enlarged(image: Image.Image, side: int) -> Image.Image:
    """Return a square picture that is at least ``side`` pixels wide."""
    return image if image.width >= side else image.resize((side, side), Image.Resampling.BICUBIC)
