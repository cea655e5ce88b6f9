"""`Kind`: a kind of hostile input."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MB = 10**6

Make = Callable[[random.Random, Path], Path]
"""Writes a hostile thing into a folder."""


@dataclass(frozen=True)
class Kind:
    """A kind of input: how many are tried, what makes one, what takes it, and the most that it may cost.

    Where what takes it ends itself ``by_signal``, that is a refusal. ``learn`` is called where it was tried.
    """

    count: int
    make: Make
    take: Callable[[Path], object]
    bytes: int
    cpu_s: float
    by_signal: bool = False
    learn: Callable[[Path], None] = lambda path: None
