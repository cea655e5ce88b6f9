"""Numbers, counts and strange texts, written the same way on the command line and in the app."""

import json
import unicodedata
from collections.abc import Sequence

JOINERS = "\u200c\u200d"
"""Format characters of ordinary words and emoji, which turn nothing around."""


def printable(text: str, keep: str = "\n\t") -> str:
    """Return text with control characters, marks of direction and lone surrogates written as JSON writes them.

    File names and files may hold them; on a terminal they would move the cursor, or turn the rest of the line around.
    """
    return "".join(c if c.isprintable() or c in keep or not _is_unsafe(c) else json.dumps(c)[1:-1] for c in text)


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS


def shortened(text: str, most: int = 80) -> str:
    """Return at most so many characters of a text, with an ellipsis where it goes on."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


UNITS = ("B", "kB", "MB", "GB", "TB")


def percent(fraction: float | None) -> str:
    """Return a fraction in [0, 1] as per cent: 0.8314 as "83.1 %", None as a dash."""
    return "–" if fraction is None else f"{100 * fraction:.1f} %"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: "1 run", "2 runs", "0 runs"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def aligned(rows: Sequence[Sequence[str]], left: int | None = None) -> list[str]:
    """Return the lines of a table in columns two spaces apart; those after the first ``left`` are aligned right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<" if left is None or number < left else ">" for number in range(len(widths))]
    return ["  ".join(map("{:{}{}}".format, row, sides, widths)).rstrip() for row in rows]


def duration(seconds: float) -> str:
    """Return a duration in two units at most: 45 s, 3 min 05 s, 2 h 10 min, 3 d 4 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(count: int) -> str:
    """Return a number of bytes with a fitting unit: 950 B, 18.1 MB, 2.4 GB."""
    amount, unit = float(count), 0
    while amount >= 999.5 and unit < len(UNITS) - 1:
        amount, unit = amount / 1000, unit + 1
    return f"{amount:.1f} {UNITS[unit]}" if unit and amount < 99.95 else f"{amount:.0f} {UNITS[unit]}"


def short(number: float) -> str:
    """Return a large number in three digits, 10.5 M or 640 k, so that a unit can follow at once."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return f"{_three_digits(number / size)} {prefix}"
    return f"{number:.0f} "


def _three_digits(number: float) -> str:
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"
