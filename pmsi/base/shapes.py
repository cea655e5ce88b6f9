"""Shapes of JSON values, and `misfit`, which says where a value is not of its shape.

A shape is a class (``str``, ``bool``), a `Number`, None, a tuple of shapes of which one must fit, ``[shape]`` for a
list of any length, ``{str: shape}`` for an object with any keys, or an object of named fields, of which those that end
in ``?`` may be missing: ``{"epoch": Number(), "text?": str}``. Fields that are not named may hold anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Shape = Any

UNBOUND = 1e15
"""No number that we count or measure is larger."""


@dataclass(frozen=True)
class Number:
    """The shape of a finite number between two bounds; ``whole`` takes integers alone."""

    low: float = -UNBOUND
    high: float = UNBOUND
    whole: bool = False

    def takes(self, value: Any) -> bool:
        """Return whether a value is such a number."""
        kinds = int if self.whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high

    def __str__(self) -> str:
        bounds = f" from {self.low:g} to {self.high:g}" if (self.low, self.high) != (-UNBOUND, UNBOUND) else ""
        return f"a whole number{bounds}" if self.whole else f"a number{bounds}"


def misfit(value: Any, shape: Shape) -> str | None:
    """Return what is wrong with a value and where, such as ``seed = 'x': expected text``; None if it fits."""
    return next(_misfits(value, shape, ""), None)


def _misfits(value: Any, shape: Shape, where: str) -> Iterator[str]:
    if isinstance(shape, tuple):
        found = [next(_misfits(value, each, where), None) for each in shape]
        if all(found):
            yield str(found[0])
    elif isinstance(shape, (dict, list)) and isinstance(value, type(shape)):
        yield from _inside(value, shape, where)
    elif not _is(value, shape):
        yield f"{where + ' = ' if where else ''}{_short(value)}: expected {_words(shape)}"


def _inside(value: Any, shape: Any, where: str) -> Iterator[str]:
    begin = f"{where}." if where else ""
    if isinstance(shape, list):
        for number, item in enumerate(value):
            yield from _misfits(item, shape[0], f"{where}[{number}]")
    elif str in shape:
        for key, item in value.items():
            yield from _misfits(item, shape[str], f"{begin}{key[:40]}")
    else:
        for name, inner in shape.items():
            key = name.removesuffix("?")
            if key in value:
                yield from _misfits(value[key], inner, f"{begin}{key}")
            elif not name.endswith("?"):
                yield f"{begin}{key} is missing"


def _is(value: Any, shape: Shape) -> bool:
    if isinstance(shape, Number):
        return shape.takes(value)
    return value is None if shape is None else isinstance(shape, type) and isinstance(value, shape)


def _short(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return _words(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _words(shape: Shape) -> str:
    if isinstance(shape, (list, dict)):
        return "a list" if isinstance(shape, list) else "an object"
    return {str: "text", bool: "true or false", None: "null"}.get(shape) or str(shape)
