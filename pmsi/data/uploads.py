"""Pictures that visitors send: decoded in a process of their own, which is killed where it takes too much.

python -m pmsi.data.uploads < FILE > PIXELS
"""

import io
import resource
import struct
import subprocess
import sys
import threading
from pathlib import Path

from PIL import Image

from pmsi.base.errors import ImageError
from pmsi.data.images import check_file_size, open_rgb

SIDE = 2048
"""Longer side, in pixels, to which a picture is reduced: no network sees more, and no page shows more."""

MEMORY = 250_000_000
"""Bytes that decoding may take, beside those of the process itself."""
CPU_S, PATIENCE_S = 5, 120
"""Seconds of CPU that decoding may take, and seconds that a busy machine may need for that."""

_PLACES = threading.BoundedSemaphore(2)
"""One for each picture that is decoded at the same time, whatever the number of visitors."""

SIZE = struct.Struct("<II")
REFUSED = 3
"""Exit status where the picture is refused; the reason is in stderr."""


def open_upload(data: bytes, name: str) -> Image.Image:
    """Return an uploaded picture as upright RGB of at most `SIDE` pixels; raises ImageError."""
    check_file_size(len(data), name)
    command = [sys.executable, "-m", __spec__.name, name, str(MEMORY), str(CPU_S)]
    try:
        with _PLACES:
            done = subprocess.run(command, input=data, capture_output=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"{name} could not be decoded within {PATIENCE_S} s: the machine is busy.") from error
    if done.returncode == REFUSED:
        raise ImageError(done.stderr.decode(errors="replace"))
    if done.returncode:
        raise ImageError(
            f"{name} takes more than {MEMORY // 10**6} MB or {CPU_S} s to decode, or stops the decoder. Expected a "
            "picture as cameras and phones make them: open it and save it as JPEG."
        )
    return Image.frombytes("RGB", SIZE.unpack_from(done.stdout), memoryview(done.stdout)[SIZE.size :])


def main(name: str, memory: int, cpu_s: int) -> int:
    """Decode the picture in the standard input under the limits; write its size and its pixels."""
    data = sys.stdin.buffer.read()
    if sys.platform == "linux":
        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    try:
        image = open_rgb(io.BytesIO(data), name, side=SIDE, most=memory)
    except ImageError as error:
        sys.stderr.write(str(error))
        return REFUSED
    sys.stdout.buffer.write(SIZE.pack(*image.size) + image.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
