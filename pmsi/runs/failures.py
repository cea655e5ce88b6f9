"""FAILURES: known kinds of exceptions in a run, each with what to do about it, by the place where it arose.

torch's exceptions are recognised by name and text, so torch is not imported.
"""

import errno
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pmsi.base.errors import DiskFull, PMSIError
from pmsi.base.files import free_at, mount_of
from pmsi.base.text import size


@dataclass(frozen=True)
class Failure:
    """A kind of failure: its name, whether an exception is of this kind, and what to do about it.

    ``remedy`` is text, or a function of the exception and the run's folder. ``final`` says that the run can never
    succeed.
    """

    kind: str
    applies: Callable[[BaseException], bool]
    remedy: str | Callable[[BaseException, Path | None], str]
    final: bool = False


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    hints = ("out of memory", "can't allocate memory", "cannot allocate memory")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, (RuntimeError, OSError)) and any(hint in text for hint in hints))
    )


SHARED_MEMORY = ("shared memory", "(shm)", "</torch_", "bus error")
"""Words of torch's errors about /dev/shm, which say "No space left on device" as those about disks do."""

COMPILER = ("c++ compiler", "c compiler", "cppcompileerror", "invalidcxxcompiler", "python.h: no such file")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that caused it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__  # type: ignore[assignment]


def _says(error: BaseException, hints: tuple[str, ...]) -> bool:
    text = " ".join(f"{type(each).__name__}: {each}" for each in _chain(error)).lower()
    return any(hint in text for hint in hints)


def _is_shared_memory(error: BaseException) -> bool:
    return isinstance(error, (RuntimeError, OSError)) and _says(error, SHARED_MEMORY)


def _is_disk_full(error: BaseException) -> bool:
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "no space left on device" in str(error).lower()


def _make_shared_memory(error: BaseException, folder: Path | None) -> str:
    place = Path("/dev/shm")
    room = f" ({size(shutil.disk_usage(place).total)} in all)" if place.is_dir() else ""
    return (
        f"The processes that read images hand them over in {place}{room}, and it is full. Make it larger (docker run "
        "--shm-size=2g, or mount -o remount,size=2g /dev/shm) and resume the run, or start a new one with workers = 0."
    )


def _free_disk(error: BaseException, folder: Path | None) -> str:
    named = getattr(error, "filename", None)
    place = Path(named) if isinstance(named, str) and named else folder or Path.cwd()
    disk = mount_of(place)
    return f"Free space on the disk at {disk}, which has {size(free_at(place))} free, then resume the run."


FAILURES: tuple[Failure, ...] = (
    Failure(
        "OutOfMemory",
        lambda error: _is_out_of_memory(error) and not _is_shared_memory(error),
        "Lower batch_size or image_size, choose a smaller backbone, or stop other programs on this device.",
    ),
    Failure("SharedMemoryFull", _is_shared_memory, _make_shared_memory),
    Failure("DiskFull", _is_disk_full, _free_disk),
    Failure(
        "NoCompiler",
        lambda error: _says(error, COMPILER),
        "torch.compile needs a C++ compiler and Python's headers. Install them (on Debian, apt install g++ "
        "python3-dev) and resume the run, or start a new one without compile.",
    ),
    Failure(
        "BatchOfOne",
        lambda error: isinstance(error, ValueError) and "more than 1 value per channel" in str(error),
        "BatchNorm cannot learn from one image: start a new run with a larger batch_size, or fewer devices.",
        final=True,
    ),
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


def describe(error: BaseException, folder: Path | None = None) -> dict[str, Any]:
    """Return ``kind``, ``message``, ``remedy`` and ``final`` of an exception; a PMSIError's message has its remedy.

    ``folder`` is that of the run. ``final`` says that resuming the run cannot help.
    """
    name = type(error).__name__
    if isinstance(error, PMSIError):
        remedy = "Then resume the run." if isinstance(error, DiskFull) else ""
        return {"kind": name, "message": str(error), "remedy": remedy, "final": error.final}
    message = str(error).strip() or name
    for failure in FAILURES:
        if failure.applies(error):
            remedy = failure.remedy if isinstance(failure.remedy, str) else failure.remedy(error, folder)
            return {"kind": failure.kind, "message": message, "remedy": remedy, "final": failure.final}
    return {
        "kind": name,
        "message": message,
        "remedy": "This error is not known. The traceback is at the end of the log.",
        "final": False,
    }
