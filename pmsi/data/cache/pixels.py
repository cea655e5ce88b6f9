"""The resized images of a list of samples: each is decoded once, for all processes and runs that read the same files.

Images of files are cached in one memory-mapped file for each list, in a folder that all runs share. Drawn images, and
all images if that folder cannot be used, are cached in the memory of each process. The pixels are the same.

Never stale: a cache file's name is a digest of everything its pixels depend on (`_key`), and an image is stored only if
its own file was the same before and after decoding.
Never torn: each image has a checksum, and is used only if it matches. So the order of writes does not matter: after
kill -9 or a power cut, and with any number of writers, an invalid image is decoded and written again.
Never too large: before a file is made, the longest unused ones are removed, except those that a process has open.
"""

import contextlib
import hashlib
import inspect
import mmap
import os
import shutil
import struct
import time
import weakref
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import features

from pmsi.base.locks import locked
from pmsi.data import images
from pmsi.data.cache.disk import CacheEntry, make_room, mark_in_use
from pmsi.data.checking import SETTLED_S, FileStamp, cache_folder, open_sample, stamp_of
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.preprocessing import resize

KEPT_BYTES = 2**30
"""Limit of the images that each reading process caches in memory, for each list of samples: 1 GiB holds 1,365 of the
paper's 512 × 512, or 5,461 of 256 × 256."""

LIMIT_BYTES = 32 * 2**30
"""Limit of all cache files together: the paper's three data sets at 512 × 512 need 28 GiB."""

SPARE_BYTES = 2 * 2**30
"""Bytes to leave free on the disk, for checkpoints and other files."""

SUFFIX = ".pixels"


class Pixels:
    """The resized images (side, side, 3) uint8 of a list of samples, each decoded once as far as there is room.

    ``[index]`` returns a shared array; callers must not write to it.
    """

    def __init__(self, dataset: Dataset, samples: Sequence[Sample], side: int) -> None:
        self.dataset, self.samples, self.side = dataset, samples, side
        self._marks = _marks(dataset, samples)
        self._file = _open_file(samples, self._marks, side) if self._marks else None
        self._kept: dict[int, np.ndarray] = {}
        self._room = KEPT_BYTES // (side * side * 3)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> np.ndarray:
        pixels = self._kept.get(index)
        if pixels is None and self._file is not None:
            pixels = self._file.read(index)
        return self._decode(index) if pixels is None else pixels

    def _decode(self, index: int) -> np.ndarray:
        began = time.time()
        pixels = resize(self.dataset.open_image(self.samples[index]), self.side)
        if not self._store(index, pixels, began) and len(self._kept) < self._room:
            self._kept[index] = pixels
        return pixels

    def _store(self, index: int, pixels: np.ndarray, began: float) -> bool:
        """Store an image whose decoding began at ``began``, unless its file may have changed; return whether stored."""
        path = self.samples[index].path
        if self._file is None or path is None:
            return False
        mark = self._marks[index]
        settled = began - mark[2] / 1e9 >= SETTLED_S
        return settled and stamp_of(path) == mark and self._file.write(index, pixels)


class PixelFile:
    """``count`` images (side, side, 3) uint8 in the file ``path``, after a table of their checksums.

    The file is created if it is missing. It is marked as in use until this object, its copies in forked children and
    the images that it returned are gone. Raises OSError if the file cannot be opened or mapped.
    """

    def __init__(self, path: Path, count: int, side: int) -> None:
        self._size = side * side * 3
        self._start = -(-4 * count // mmap.PAGESIZE) * mmap.PAGESIZE
        self._file = mark_in_use(path)
        self._close = weakref.finalize(self, os.close, self._file)
        end = self._start + count * self._size
        if os.fstat(self._file).st_size < end:  # new, or truncated: missing images are invalid, and written again
            os.ftruncate(self._file, end)
        table = mmap.mmap(self._file, end, prot=mmap.PROT_READ)
        self._checksums = np.frombuffer(table, "<u4", count)
        self._images = np.frombuffer(table, np.uint8, offset=self._start).reshape(count, side, side, 3)
        self._sound = np.zeros(count, bool)

    def read(self, index: int) -> np.ndarray | None:
        """Return an image as a read-only view, or None if no valid one is stored; a valid one is checked only once."""
        pixels: np.ndarray = self._images[index]
        if not self._sound[index]:
            stored = self._checksums[index]
            self._sound[index] = stored != 0 and stored == checksum(pixels.data)
        return pixels if self._sound[index] else None

    def write(self, index: int, pixels: np.ndarray) -> bool:
        """Store an image and return True; return False if the disk is full or fails.

        By system calls, which report a full disk as an error; writing through the memory map would kill the process.
        """
        data = pixels.tobytes()
        with contextlib.suppress(OSError):
            if _free(self._file) < SPARE_BYTES + self._size:
                return False
            written = os.pwrite(self._file, data, self._start + index * self._size)
            return written == self._size and os.pwrite(self._file, struct.pack("<I", checksum(data)), 4 * index) == 4
        return False


def checksum(pixels: bytes | memoryview) -> int:
    """Return the CRC-32 of an image's bytes, with 1 in place of 0, which means "no image"."""
    return zlib.crc32(pixels) or 1


def _marks(dataset: Dataset, samples: Sequence[Sample]) -> tuple[FileStamp, ...]:
    """Return the stamp of each sample's file; an empty tuple if the images are not read from files."""
    if dataset.open_image is not open_sample:
        return ()
    marks = [stamp_of(sample.path) for sample in samples if sample.path is not None]
    known = tuple(mark for mark in marks if mark is not None)
    return known if len(known) == len(samples) else ()


def _open_file(samples: Sequence[Sample], marks: Sequence[FileStamp], side: int) -> PixelFile | None:
    """Return the cache file of these images at this side, new or with images of earlier runs; None if impossible."""
    # The folder may be read-only, no folder, too small, …: then images are cached in memory.
    with contextlib.suppress(OSError, ValueError, OverflowError):
        path = cache_folder() / "pixels" / (_key(samples, marks, side) + SUFFIX)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Under this lock no process removes a file between its opening and its marking.
        with locked(path.parent / "lock"):
            if path.exists() or _make_room(path.parent, len(samples) * side * side * 3):
                return PixelFile(path, len(samples), side)
    return None


def _key(samples: Sequence[Sample], marks: Sequence[FileStamp], side: int) -> str:
    """Return a digest of what the pixels depend on: each file's path and stamp, the side, and the code."""
    paths = [os.path.abspath(sample.path or "") for sample in samples]  # noqa: PTH100
    digest = hashlib.blake2b(repr((_code(), side, paths, list(marks))).encode(), digest_size=16)
    return digest.hexdigest()


@cache
def _code() -> str:
    """Return what identifies the code that makes pixels: the versions of the decoders, and our own source."""
    versions = [f"{name} {features.version(name)}" for name in ("pil", "jpg", "webp")]
    return "\n".join((*versions, inspect.getsource(images), inspect.getsource(resize)))


def _make_room(folder: Path, size: int) -> bool:
    """Remove unused files, the longest unused first, until one of ``size`` bytes fits; return whether it does.

    Removes nothing if no removal could help. The caller holds the lock.
    """

    def fits(taken: int) -> bool:
        return taken + size <= LIMIT_BYTES and _free(folder) >= SPARE_BYTES + size

    return size <= LIMIT_BYTES and make_room(pixel_entries(folder), fits)


def pixel_entries(folder: Path) -> list[CacheEntry]:
    """Return the cache files in a folder."""
    return [CacheEntry.file(path) for path in folder.glob(f"*{SUFFIX}")]


def _free(place: Path | int) -> int:
    """Return the bytes free on the disk of a path or an open file."""
    return shutil.disk_usage(place).free
