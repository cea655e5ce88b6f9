"""The size of a folder on disk, cached until something in it changes. Links are not followed."""

import os
from functools import lru_cache
from pathlib import Path

from pmsi.base import text
from pmsi.base.files import stamp

in_words = text.size


def size_of(folder: Path) -> int:
    """Return the bytes of all files in ``folder`` and below; 0 if it does not exist."""
    return _size(str(folder), _stamp(folder))


def _stamp(folder: Path) -> tuple[int, ...]:
    """Return what changes whenever a file is added, removed or replaced; one that only grows is seen a little later."""
    return tuple(stamp(place)[0] for place in (folder, folder / "checkpoints", folder / "metrics.jsonl"))


@lru_cache(maxsize=4096)
def _size(folder: str, stamp: tuple[int, ...]) -> int:
    total, waiting = 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_size
        except OSError:  # removed just now
            continue
    return total
