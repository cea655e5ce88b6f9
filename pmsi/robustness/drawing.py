"""A curve with its band as inline SVG, in the text colour of the page around it. Numbers in, text out.

It knows no sweep: a curve is points with ``x``, ``y``, ``low`` and ``high``, the last three as fractions.
"""

from collections.abc import Mapping, Sequence
from html import escape

Point = Mapping[str, float]

WIDTH, HEIGHT = 460, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 42
"""Space around the plot for ticks and titles, in the units of the view box."""

TICKS = (0, 25, 50, 75, 100)
"""Per cent."""


def curves(lines: Mapping[str, Sequence[Point]], colors: Mapping[str, str], x_title: str, y_title: str) -> str:
    """Return accuracy (or another share) against severity for each named line, with a band from low to high."""
    xs = sorted({point["x"] for line in lines.values() for point in line})
    body = "".join(_grid()) + "".join(_x_ticks(xs))
    for name, line in lines.items():
        body += _line(line, xs, colors.get(name, "#7d8590"), name)
    middle = (LEFT + WIDTH - RIGHT) / 2
    body += f'<text x="{middle:.0f}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_title)}</text>'
    body += f'<text transform="translate(11 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)" text-anchor="middle">'
    body += f"{escape(y_title)}</text>"
    label = escape(f"{y_title} against {x_title}: {', '.join(lines)}")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{body}</svg>'


def _across(x: float, xs: Sequence[float]) -> float:
    width = (xs[-1] - xs[0]) or 1.0
    return LEFT + (WIDTH - LEFT - RIGHT) * (x - xs[0]) / width


def _down(share: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)


def _grid() -> list[str]:
    return [
        f'<path class="grid" d="M{LEFT} {_down(tick / 100):.1f}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 6}" y="{_down(tick / 100) + 4:.1f}" text-anchor="end">{tick}</text>'
        for tick in TICKS
    ]


def _x_ticks(xs: Sequence[float]) -> list[str]:
    """Return the severities that were measured, without those that would stand on one another."""
    found, last = [], -WIDTH
    for x in xs:
        if (at := _across(x, xs)) - last >= 26:
            found.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{x:g}</text>')
            last = round(at)
    return found


def _line(line: Sequence[Point], xs: Sequence[float], color: str, name: str) -> str:
    places = [(_across(point["x"], xs), _down(point["y"])) for point in line]
    high = [(_across(point["x"], xs), _down(point["high"])) for point in line]
    low = [(_across(point["x"], xs), _down(point["low"])) for point in line]
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"><title>{escape(name)}, {point["x"]:g}: '
        f"{100 * point['y']:.1f} % ({100 * point['low']:.1f} to {100 * point['high']:.1f})</title></circle>"
        for (x, y), point in zip(places, line, strict=True)
    )
    band = f'<polygon points="{_points([*high, *low[::-1]])}" fill="{color}" opacity=".14"/>'
    return f'{band}<polyline points="{_points(places)}" fill="none" stroke="{color}" stroke-width="2.2"/>{dots}'


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
