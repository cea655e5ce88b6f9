"""The size of a folder on disk, cached until something in it changes. Links are not followed."""

import os
from pathlib import Path

from pmsi.base import text
from pmsi.base.files import cached_by_files

in_words = text.size


@cached_by_files(lambda folder: (folder, folder / "checkpoints", folder / "metrics.jsonl"))
def size_of(folder: Path) -> int:
    """Return the bytes of all files in ``folder`` and below; 0 if it does not exist."""
    total, waiting = 0, [str(folder)]
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
