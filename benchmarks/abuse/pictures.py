"""Hostile pictures, and what decodes an upload."""

import io
import os
import random
import struct
import zlib
from pathlib import Path

from PIL import Image

from benchmarks.abuse.kind import MB, Kind
from benchmarks.abuse.mutation import mutated
from pmsi.base.errors import PMSIError
from pmsi.data import uploads

MODES = {
    "JPEG": ("RGB", "L", "CMYK"), "PNG": ("RGB", "RGBA", "L", "P", "1", "I;16", "LA"), "WEBP": ("RGB", "RGBA"),
    "BMP": ("RGB", "L", "P", "1"), "GIF": ("P", "L"), "TIFF": ("RGB", "RGBA", "L", "F", "I", "I;16", "CMYK", "1"),
    "PPM": ("RGB", "L", "1", "I"),
}  # fmt: skip
OPTIONS: dict[str, list[dict[str, object]]] = {
    "JPEG": [{"quality": 30, "progressive": True}, {"quality": 95, "subsampling": 0}, {"progressive": True}, {}],
    "PNG": [{"compress_level": 1}, {"compress_level": 9}],
    "WEBP": [{"lossless": True}, {"quality": 10, "method": 0}, {"quality": 80, "method": 0}],
    "TIFF": [{"compression": name} for name in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "tiff_lzma", "zstd")],
}


LONGEST = 16_383
"""Side of the largest WebP."""


def picture(draw: random.Random, folder: Path) -> Path:
    """Write a picture of any size, mode and format: whole, mutated, or with something that multiplies its cost."""
    name = draw.choice(list(MODES))
    side = int(2 ** draw.uniform(0, 12.8))
    size = (side, max(1, min(60_000_000 // side, int(side * 2 ** draw.uniform(-3, 3)), LONGEST)))
    image = Image.new(draw.choice(MODES[name]), size)
    if draw.random() < 0.5 and image.mode in ("RGB", "L"):
        image = Image.effect_noise((min(size[0], 3000), min(size[1], 3000)), 90).convert(image.mode)
    buffer = io.BytesIO()
    image.save(buffer, name, **draw.choice(OPTIONS.get(name, [{}])), **_turned(draw, name))
    data = buffer.getvalue()
    trick = draw.choice(TRICKS) if draw.random() < 0.4 else None
    data = trick(draw, data) if trick else mutated(draw, data) if draw.random() < 0.7 else data
    path = folder / f"{name}-{image.mode}-{size[0]}x{size[1]}-{trick.__name__ if trick else 'plain'}"
    path.write_bytes(data)
    return path


def _turned(draw: random.Random, name: str) -> dict[str, object]:
    if name not in ("JPEG", "PNG", "WEBP") or draw.random() < 0.7:
        return {}
    exif = Image.Exif()
    exif[0x0112] = draw.randrange(10)
    return {"exif": exif}


def scans(draw: random.Random, data: bytes) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    buffer = io.BytesIO()
    side = draw.choice((64, 1000, 5000))
    Image.new("L", (side, side), 90).save(buffer, "JPEG", progressive=True)
    whole = buffer.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * draw.choice((30, 300, 3000)) + whole[-2:]


def tags(draw: random.Random, data: bytes) -> bytes:
    """A TIFF by hand, whose tiles, strips, bits or counts are extreme."""
    side = draw.choice((8, 500, 7000))
    numbers = [1, 2, 8, 16, 4096, 7000, 46336, 2**20, 2**31, 2**32 - 1]
    packing = draw.choice((1, 5, 7, 8, 32773, 34925))
    known = [(256, 1, side), (257, 1, side), (258, 1, 8), (259, 1, packing), (262, 1, 1)]
    extra = {draw.choice((258, 273, 277, 278, 279, 322, 323, 324, 325, 338, 34675)) for _ in range(5)}
    known += [(tag, draw.choice((1, 1, 4, 10**6)), draw.choice(numbers)) for tag in sorted(extra)]
    rows = b"".join(struct.pack("<HHII", tag, 4, count, value) for tag, count, value in sorted(known))
    return b"II*\0" + struct.pack("<IH", 8, len(known)) + rows + bytes(draw.choice((4, 4096, 2**20)))


def header(draw: random.Random, data: bytes) -> bytes:
    """A PNG that says any size, depth and kind, with rows of zeros."""
    width, height = (int(2 ** draw.uniform(0, 16)) for _ in range(2))
    about = struct.pack(">IIBBBBB", width, height, draw.choice((1, 8, 16)), draw.choice((0, 2, 3, 4, 6)), 0, 0,
                        draw.randrange(2))  # fmt: skip
    chunks = [(b"IHDR", about), (b"PLTE", bytes(768)), (b"IDAT", zlib.compress(bytes(min(width * height, 60 * MB)), 1))]
    if draw.random() < 0.3:
        chunks.insert(1, (draw.choice((b"zTXt", b"iCCP")), b"a\0\0" + zlib.compress(bytes(70 * MB), 9)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in [*chunks, (b"IEND", b"")]
    )


def canvas(draw: random.Random, data: bytes) -> bytes:
    """A WebP or GIF of a few bytes that says any size."""
    width, height = (draw.choice((1, 1000, 3500, 7000, 16383)) for _ in range(2))
    if draw.random() < 0.5:
        body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(9)
        return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body
    frame = struct.pack("<HHHHB", 0, 0, height, width, 0) + b"\x08\x01\0\0"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + b"," + frame + b";"


def letters(draw: random.Random, data: bytes) -> bytes:
    """A PPM in text, or with 16 bits."""
    width, height = draw.choice(((100, 100), (1900, 1900), (2500, 2500), (7000, 7000)))
    kind, most = draw.choice((("P2", 255), ("P3", 255), ("P5", 65535), ("P6", 65535), ("P1", 0)))
    start = f"{kind} {width} {height} {most or ''}\n".encode()
    return start + (b"1 " if kind in ("P1", "P2", "P3") else b"\0\1") * min(width * height * 3, 12 * MB)


def parts(draw: random.Random, data: bytes) -> bytes:
    """A JPEG or PNG of very many parts without content, or a GIF of comments."""
    many = draw.choice((1000, 60_000, 10**6))
    buffer = io.BytesIO()
    name, end, part = draw.choice((
        ("JPEG", 2, b"\xff\xfe\0\x02"), ("JPEG", 2, b"\xff"), ("PNG", 33, b"\0\0\0\x03tEXta\0bt\xdfe\xd2"),
        ("GIF", 13, b"!\xfe\x01a\0"),
    ))  # fmt: skip
    Image.new("L", (64, 64), 90).save(buffer, name)
    return buffer.getvalue()[:end] + part * many + buffer.getvalue()[end:]


def frames(draw: random.Random, data: bytes) -> bytes:
    """An animation, or a TIFF of pages."""
    buffer, image = io.BytesIO(), Image.effect_noise((64, 64), 90).convert("RGB")
    more = [image.rotate(angle) for angle in range(draw.choice((10, 200)))]
    image.save(buffer, draw.choice(("GIF", "PNG", "WEBP", "TIFF")), save_all=True, append_images=more)
    return buffer.getvalue()


TRICKS = (scans, tags, header, canvas, letters, parts, frames)


def decode(path: Path) -> None:
    """Do what the process does that decodes an upload; pixels go nowhere."""
    os.dup2(os.open(path, os.O_RDONLY), 0)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if uploads.main(uploads.MEMORY, uploads.CPU_S, "upload"):
        raise PMSIError("refused")


PICTURES = Kind(1000, picture, decode, 300 * MB, 5, by_signal=True)
