"""Steps of a minute's work, told as they begin, and how long is left of it."""

import logging
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TextIO

_LOG = logging.getLogger(__name__)
_LINE = re.compile(r"(\d+) % done: (.+)")


def begin(done: int, step: str) -> None:
    """Tell that a step begins once so many per cent of the time have usually passed."""
    _LOG.info("%d %% done: %s", done, step)


@contextmanager
def written_to(out: TextIO) -> Iterator[None]:
    """Write each step as a line while the body works."""
    handler = logging.StreamHandler(out)
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(logging.NOTSET)


class Step(NamedTuple):
    """When a step began (time.monotonic), the per cent that were done then, and its name."""

    at: float
    done: int
    name: str


def parsed(line: str) -> Step | None:
    """Return the step that begins with a line; None for another line."""
    found = _LINE.fullmatch(line.strip())
    return Step(time.monotonic(), int(found[1]), found[2]) if found else None


def seconds_left(begun: Sequence[Step]) -> float | None:
    """Return how long work still takes at the speed that it had so far; None where it had none yet."""
    if len(begun) < 2 or begun[-1].done <= begun[0].done:
        return None
    first, last = begun[0], begun[-1]
    each = (last.at - first.at) / (last.done - first.done)
    return max(0.0, each * (100 - last.done) - (time.monotonic() - last.at))
