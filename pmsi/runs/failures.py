"""FAILURES: known kinds of exceptions in a run, each with what to do about it.

torch's exceptions are recognised by name and text, so torch is not imported.
"""

import errno
from collections.abc import Callable
from dataclasses import dataclass

from pmsi.base.errors import PMSIError


@dataclass(frozen=True)
class Failure:
    """A kind of failure: its name, whether an exception is of this kind, and what to do about it."""

    kind: str
    applies: Callable[[BaseException], bool]
    remedy: str


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    hints = ("out of memory", "can't allocate memory", "cannot allocate memory")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, (RuntimeError, OSError)) and any(hint in text for hint in hints))
    )


def _is_disk_full(error: BaseException) -> bool:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "no space left on device" in str(error).lower()


FAILURES: tuple[Failure, ...] = (
    Failure(
        "OutOfMemory",
        _is_out_of_memory,
        "Lower batch_size or image_size, choose a smaller backbone, or stop other programs on this device.",
    ),
    Failure("DiskFull", _is_disk_full, "Free space on the disk of the runs folder, then resume the run."),
    Failure(
        "ReaderDied",
        lambda error: isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker"),
        "A process that reads images was killed, usually because memory ran out. Lower workers, or set it to 0.",
    ),
    Failure(
        "MissingFile",
        lambda error: isinstance(error, FileNotFoundError),
        "Check the paths in the config (data, weights). Relative paths start where the run was submitted.",
    ),
    Failure("NotPermitted", lambda error: isinstance(error, PermissionError), "Check the permissions of that path."),
    Failure(
        "NotInstalled",
        lambda error: isinstance(error, ImportError),
        "Install the missing package, then resume the run.",
    ),
)


def describe(error: BaseException) -> dict[str, str]:
    """Return ``kind``, ``message`` and ``remedy`` of an exception; a PMSIError's message contains its remedy."""
    name = type(error).__name__
    if isinstance(error, PMSIError):
        return {"kind": name, "message": str(error), "remedy": ""}
    message = str(error).strip() or name
    for failure in FAILURES:
        if failure.applies(error):
            return {"kind": failure.kind, "message": message, "remedy": failure.remedy}
    return {
        "kind": name,
        "message": message,
        "remedy": "This error is not known. The traceback is at the end of the log.",
    }
