"""Pictures that visitors send: decoded in processes of their own, which are killed where they take too much.

python -m pmsi.data.uploads MEMORY CPU_S NAME < FILE > PIXELS
python -m pmsi.data.uploads MEMORY CPU_S < PATHS > RESULTS      (one a line, as JSON)
"""

import contextlib
import io
import json
import os
import resource
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import astuple
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from PIL import Image

from pmsi.base.errors import DataError, ImageError
from pmsi.data.checking import EXAMINER, in_threads
from pmsi.data.duplicates import look_of
from pmsi.data.images import MAX_BYTES, Examined, check_file_size, examine, open_rgb

SIDE = 2048
"""Longer side, in pixels, to which a picture is reduced: no network sees more, and no page shows more."""

MEMORY = 250_000_000
"""Bytes that decoding may take, beside those of the process itself."""
CPU_S, PATIENCE_S = 5, 120
"""Seconds of CPU that decoding may take, and seconds that a busy machine may need for that."""
EACH_S, MEGABYTE_S = 0.02, 1.0
"""Seconds of CPU that many pictures may take beside the first: for each, and for each megabyte of their files."""

PLACES = 2
"""Pictures that are decoded at the same time, whatever the number of visitors."""
_PLACES = threading.BoundedSemaphore(PLACES)

SIZE = struct.Struct("<II")
REFUSED = 3
"""Exit status where the picture is refused; the reason is in stderr."""


def open_upload(data: bytes, name: str) -> Image.Image:
    """Return an uploaded picture as upright RGB of at most `SIDE` pixels; raises ImageError."""
    check_file_size(len(data), name)
    command = _command(MEMORY, CPU_S, name)
    try:
        with _PLACES:
            done = subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"{name} could not be decoded within {PATIENCE_S} s: the machine is busy.") from error
    if done.returncode == REFUSED:
        raise ImageError(done.stderr.decode(errors="replace"))
    if done.returncode:
        raise ImageError(
            f"{name} {_too_much(MEMORY, CPU_S)}. Expected a picture as cameras and phones make them: open it and save "
            "it as JPEG."
        )
    return Image.frombytes("RGB", SIZE.unpack_from(done.stdout), memoryview(done.stdout)[SIZE.size :])


def _command(memory: int, cpu_s: int, *name: str) -> list[str]:
    return [sys.executable, "-m", __spec__.name, str(memory), str(cpu_s), *name]


def _too_much(memory: int, cpu_s: int) -> str:
    return f"takes more than {memory // 10**6} MB or {cpu_s} s to decode, or stops the decoder"


# Many pictures


@contextlib.contextmanager
def apart(own: bool = False) -> Iterator[None]:
    """Let the files of the data sets that are read here be decoded in processes of their own, under limits.

    For what visitors send. Those that are one's ``own``, or were taken before, are refused for no more than elsewhere.
    Folders of those who run the program are decoded in their own process, which is theirs to fill: limits would only
    turn away large photos that they have the memory for.
    """
    before = EXAMINER.set(partial(_examined_apart, own=own))
    try:
        yield
    finally:
        EXAMINER.reset(before)


def _examined_apart(paths: Sequence[Path], own: bool) -> Generator[Examined]:
    """Yield the result of decoding each file; DataError where all together take too long."""
    allowed = CPU_S + EACH_S * len(paths) + MEGABYTE_S * sum(map(_size, paths)) / 10**6
    limits = (MAX_BYTES, PATIENCE_S) if own else (MEMORY, CPU_S)
    helpers = [Helper(*limits) for _ in range(PLACES)]
    free: SimpleQueue[Helper] = SimpleQueue()
    for helper in helpers:
        free.put(helper)

    def look(path: Path) -> Examined:
        helper = free.get()
        try:
            with _PLACES:
                return helper.examine(path)
        finally:
            free.put(helper)

    try:
        with contextlib.closing(in_threads(paths, look, PLACES)) as results:
            for about in results:
                if sum(helper.took_s for helper in helpers) > allowed and not own:
                    raise DataError(
                        f"The {len(paths):,} pictures take more than {allowed:.0f} s to decode. Expected pictures as "
                        "cameras and phones make them; `pmsi data import` takes others."
                    )
                yield about
    finally:
        for helper in helpers:
            helper.close()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


class Helper:
    """A process that examines files one after the other under limits; where it is ended, the next file gets a new one.

    ``took_s`` counts its seconds of CPU.
    """

    def __init__(self, memory: int, cpu_s: int) -> None:
        self.took_s = 0.0
        self._limits = (memory, cpu_s)
        self._process: subprocess.Popen[bytes] | None = None

    def examine(self, path: Path) -> Examined:
        """Return the result of decoding a file."""
        if self._process is None:
            self._process = subprocess.Popen(_command(*self._limits), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        asking, answering = self._process.stdin, self._process.stdout
        assert asking is not None
        assert answering is not None
        with contextlib.suppress(BrokenPipeError):  # then it answers nothing
            asking.write(json.dumps(os.fspath(path)).encode() + b"\n")
            asking.flush()
        answer = answering.readline() if select.select([answering], [], [], PATIENCE_S)[0] else b""
        if not answer:
            self.close()
            self.took_s += self._limits[1]
            return Examined(f"it {_too_much(*self._limits)}")
        took_s, about = json.loads(answer)
        self.took_s += took_s
        return Examined(*about)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


# In the process


def main(memory: int, cpu_s: int, name: str | None = None) -> int:
    """Decode what the standard input names or holds under the limits, and write the results."""
    data = b"" if name is None else sys.stdin.buffer.read()
    look_of(Image.linear_gradient("L").convert("RGB"))  # BLAS takes its memory at its first use
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return _examine_lines(memory, cpu_s) if name is None else _decode(data, name, memory, cpu_s)


def _decode(data: bytes, name: str, memory: int, cpu_s: int) -> int:
    """Decode a picture; write its size and its pixels."""
    _limit_time(cpu_s)
    try:
        image = open_rgb(io.BytesIO(data), name, side=SIDE, most=memory)
    except ImageError as error:
        sys.stderr.write(str(error))
        return REFUSED
    sys.stdout.buffer.write(SIZE.pack(*image.size) + image.tobytes())
    return 0


def _examine_lines(memory: int, cpu_s: int) -> int:
    """Examine the files that the lines name; write the seconds of each and its result."""
    for line in sys.stdin.buffer:
        _limit_time(cpu_s)
        began = time.process_time()
        about = examine(Path(json.loads(line)), most=memory)
        sys.stdout.write(json.dumps([time.process_time() - began, astuple(about)]) + "\n")
        sys.stdout.flush()
    return 0


def _limit_time(cpu_s: int) -> None:
    """Let the system end this process where it takes so many seconds of CPU more."""
    until = int(time.process_time()) + cpu_s
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
