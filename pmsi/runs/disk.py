"""The size of a folder on disk, cached until something in it changes. Links are not followed."""

import os
from pathlib import Path

from pmsi.base.files import cached_by_files

UNITS = ("B", "kB", "MB", "GB", "TB")


def in_words(size: int) -> str:
    """Return a number of bytes as text with a fitting unit: 950 B, 18.1 MB, 2.4 GB."""
    amount, unit = float(size), 0
    while amount >= 999.5 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.1f} {UNITS[unit]}" if unit and amount < 99.95 else f"{amount:.0f} {UNITS[unit]}"


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
