"""Hostile zips and tars, and the check of an import."""

import io
import random
import tarfile
import zipfile
from pathlib import Path

from app.views.data.import_form import ZIP_LIMITS
from benchmarks.abuse.kind import MB, Kind
from benchmarks.abuse.mutation import mutated
from pmsi.data.readers.archive import contents


def archive(draw: random.Random, folder: Path) -> Path:
    """Write a zip or tar: with many entries, folders, links or deep paths, with bombs, or mutated."""
    kind = draw.choice(("entries", "folders", "deep", "long", "bomb", "unnamed", "lists"))
    form = draw.choice((*PACKINGS, *TAR_MODES))
    quick = form not in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    many = draw.choice((10, 1000, 20_000, 60_000) if quick else (10, 1000))
    files = {}
    for i in range(many if kind in ("entries", "unnamed", "folders") else 20):
        path = {
            "entries": f"class {i % 50}/{i}.jpg", "unnamed": f"class {i % 50}/{i}", "lists": f"{i}/labels.csv",
            "folders": f"{i}/{i}/{i}/1.jpg", "deep": "a/" * (2 ** draw.randrange(15)) + f"{i}.png",
            "long": "x" * draw.randrange(60_000) + ".jpg", "bomb": f"a/{i}.bmp",
        }[kind]  # fmt: skip
        files[path] = bytes(20 * MB) if kind == "bomb" and i < 5 else b"\xff\xd8\xff" + bytes(9)
    data = zipped(files, form) if isinstance(form, int) else tarred(draw, files, form)
    path = folder / f"{kind}-{many}-{form}"
    path.write_bytes(mutated(draw, data) if draw.random() < 0.4 else data)
    return path


PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
TAR_MODES = ("w", "w:gz", "w:bz2", "w:xz")


def zipped(files: dict[str, bytes], packing: int) -> bytes:
    """Return a zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packing) as packed:
        for path, content in files.items():
            packed.writestr(path, content)
    return buffer.getvalue()


def tarred(draw: random.Random, files: dict[str, bytes], mode: str) -> bytes:
    """Return a tar, in which one file of fifty is a link, to another file or out of the archive."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode=mode, format=draw.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    ) as packed:
        for path, content in files.items():
            about = tarfile.TarInfo(path)
            if draw.randrange(50) == 0:
                about.type, about.linkname = draw.choice((tarfile.SYMTYPE, tarfile.LNKTYPE)), draw.choice(LINKED)
            else:
                about.size = len(content)
            packed.addfile(about, io.BytesIO(content))
    return buffer.getvalue()


LINKED = ("class 1/1.jpg", "../x.jpg", "/etc/passwd", "a/0.bmp")


ARCHIVES = Kind(300, archive, lambda path: contents(path, ZIP_LIMITS), 100 * MB, 2)
