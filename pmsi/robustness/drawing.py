"""Figures of a sweep as Plotly JSON: dicts with ``data`` and ``layout``, for the report and for the app.

Shares are fractions in [0, 1], drawn in per cent. A trace's ``meta`` lists the choices of its figure's menu for which
it is visible. Names are escaped, because Plotly interprets tags in text.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from pmsi.base.text import shortened

Figure = dict[str, Any]
Trace = dict[str, Any]
Point = Mapping[str, float]
"""``x``, and ``y``, ``low`` and ``high`` as fractions."""

GREY, TRANSPARENT = "#7d8590", "rgba(0, 0, 0, 0)"
COLORS = ("#0f7fc2", "#ff8e00", "#8f2be8", "#be3a28", "#586d6e", "#0ab0ff", "#a2856f", "#ef570e", "#869ab9", "#c0a789")
"""Blue, orange, violet, brick, slate, sky, clay, vermilion, mist and sand. Any two differ for people with protanopia,
deuteranopia or tritanopia too, and each has a contrast of at least 2.3 to a white and to a near-black page."""

MOST_NUMBERED, MOST_NAMES = 24, 20
"""Up to MOST_NUMBERED classes, a matrix shows all names and numbers; a larger one shows MOST_NAMES names at its left
and half as many below, and no numbers."""

MATRIX_SIDE = 480
"""Approximate width of a matrix in pixels."""


def curves(lines: Mapping[str, Sequence[Point]], colors: Mapping[str, str], x_title: str, y_title: str) -> Figure:
    """Return the figure of shares against a quantity: a line with a band from low to high for each name."""
    data = [trace for name, line in lines.items() for trace in curve(name, line, colors.get(name, GREY))]
    return {"data": data, "layout": curve_layout(x_title, y_title)}


def curve_layout(x_title: str, y_title: str) -> dict[str, Any]:
    """Return the layout of curves of shares, in per cent."""
    return layout(330, xaxis={"title": {"text": x_title}}, yaxis={"title": {"text": y_title}, "range": [0, 103]})


def curve(name: str, line: Sequence[Point], color: str, choices: Sequence[str] = ()) -> list[Trace]:
    """Return the traces of one curve, its band and its line; ``choices`` are those of the menu that show it."""
    x = [point["x"] for point in line]
    y, low, high = ([100 * point[key] for point in line] for key in ("y", "low", "high"))
    both = {"type": "scatter", "name": escape(name), "legendgroup": name, "meta": [*choices]}
    band = {"x": [*x, *x[::-1]], "y": [*high, *low[::-1]], "fill": "toself", "fillcolor": faded(color, 0.15)}
    words = [f"{middle:.1f} % ({below:.1f}–{above:.1f})" for middle, below, above in zip(y, low, high, strict=True)]
    return [
        both | band | {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False},
        both
        | {"x": x, "y": y, "mode": "lines+markers", "line": {"color": color, "width": 2.5}, "marker": {"size": 7}}
        | {"text": words, "hovertemplate": f"%{{text}}<extra>{escape(name)}</extra>"},
    ]


def class_drops(drops: Mapping[str, Sequence[float]], classes: Sequence[str], colors: Mapping[str, str]) -> Figure:
    """Return the figure of the accuracy that each class lost, a fraction drawn in points, as bars for each name."""
    data = [drop_bars(name, values, classes, colors.get(name, GREY)) for name, values in drops.items()]
    return {"data": data, "layout": drop_layout(len(classes) * len(drops))}


def drop_layout(bars: int) -> dict[str, Any]:
    """Return the layout of a figure with this number of bars."""
    axes = {"xaxis": {"title": {"text": "Accuracy lost (points)"}}, "yaxis": {"autorange": "reversed"}}
    return layout(110 + 18 * bars, hovermode="closest", **axes)


def drop_bars(
    name: str, values: Sequence[float], classes: Sequence[str], color: str, choices: Sequence[str] = ()
) -> Trace:
    """Return the trace of one name's bars; ``choices`` are those of the menu that show it."""
    return {
        "type": "bar",
        "orientation": "h",
        "y": [escape(each) for each in classes],
        "x": [100 * value for value in values],
        "name": escape(name),
        "marker": {"color": color},
        "hovertext": [f"{100 * value:z.1f}".replace("-", "−") for value in values],
        "hovertemplate": f"%{{hovertext}} points<extra>{escape(name)}</extra>",
        "meta": [*choices],
    }


def confusion_figure(
    matrix: np.ndarray, numbers: Sequence[int], classes: Sequence[str], titles: tuple[str, str], color: str
) -> Figure:
    """Return a confusion matrix (classes, classes) of numbers of images as squares that can be clicked.

    ``numbers`` are the classes shown, rows from top to bottom; the diagonal has no colour. A square's custom data
    begins with (row, column). For few classes, the squares are transparent points over a heatmap, which itself has no
    click events. For many, the cells of a heatmap would be too small, so the points are coloured.
    """
    part = matrix[np.ix_(numbers, numbers)]
    off = part * (1 - np.eye(len(numbers), dtype=part.dtype))
    named, titles = [classes[number] for number in numbers], (escape(titles[0]), escape(titles[1]))
    few, most = len(numbers) <= MOST_NUMBERED, max(1, int(off.max(initial=0)))
    data: list[Trace] = []
    marker: dict[str, Any] = {"symbol": "square", "line": {"width": 0}}
    if few:
        marker |= {"size": 24, "color": TRANSPARENT}
        shades = [[0, TRANSPARENT], [0.5 / most, faded(color, 0.15)], [1, faded(color, 0.5)]]
        heat = {"type": "heatmap", "z": off.tolist(), "colorscale": shades, "zmin": 0, "zmax": most}
        data.append(heat | {"showscale": False, "hoverinfo": "skip"})
    else:
        marker |= _shaded(off[np.nonzero(part)], most, len(numbers), color)
    mode = "markers+text" if few else "markers"
    squares = {"type": "scatter", "mode": mode, "marker": marker, "showlegend": False}
    data.append(squares | _places(part, numbers, named, titles))
    height = max(340, min(760, 150 + 26 * len(numbers)))
    click = {"hovermode": "closest", "dragmode": False, "clickmode": "event", "showlegend": False}
    return {"data": data, "layout": layout(height, **click, **_named_axes(named, titles))}


def _shaded(counts: np.ndarray, most: int, classes: int, color: str) -> dict[str, Any]:
    """Return markers coloured by their number of images; 0, the diagonal, is grey."""
    shades = [[0, faded(GREY, 0.3)], [0.5 / most, faded(color, 0.55)], [1, color]]
    size = max(5, MATRIX_SIDE // classes)
    return {"size": size, "color": counts.tolist(), "colorscale": shades, "cmin": 0, "cmax": most}


def _places(part: np.ndarray, numbers: Sequence[int], named: Sequence[str], titles: tuple[str, str]) -> dict[str, Any]:
    """Return the places, texts and custom data of the squares with at least one image."""
    rows, columns = (places.tolist() for places in np.nonzero(part))
    cells = [*zip(rows, columns, strict=True)]
    return {
        "x": columns,
        "y": rows,
        "text": [str(part[place]) for place in cells],
        "customdata": [[int(numbers[i]), int(numbers[j]), escape(named[i]), escape(named[j])] for i, j in cells],
        "hovertemplate": f"Images: %{{text}}<br>{titles[0]}: %{{customdata[2]}}<br>{titles[1]}: %{{customdata[3]}}"
        "<extra></extra>",
    }


def _named_axes(named: Sequence[str], titles: tuple[str, str]) -> dict[str, Any]:
    """Return axes with the class names; of many classes, only as many names as can be read."""
    start, end = -0.5, len(named) - 0.5
    frame = {"showgrid": False, "showline": True, "mirror": True}
    across = frame | _ticks(named, MOST_NAMES // 2) | {"tickangle": -50, "range": [start, end]}
    down = frame | _ticks(named, MOST_NAMES) | {"range": [end, start]}
    return {"xaxis": across | {"title": {"text": titles[1]}}, "yaxis": down | {"title": {"text": titles[0]}}}


def _ticks(named: Sequence[str], most: int) -> dict[str, Any]:
    every = 1 if len(named) <= MOST_NUMBERED else -(-len(named) // most)
    places = list(range(0, len(named), every))
    return {"tickvals": places, "ticktext": [escape(shortened(named[place], 20)) for place in places]}


def faded(color: str, opacity: float) -> str:
    """Return a hexadecimal colour as CSS rgba with this opacity."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def layout(height: int, **more: Any) -> dict[str, Any]:
    """Return the layout of all figures: transparent, the legend above, a fixed height in pixels."""
    grid = {"gridcolor": faded(GREY, 0.22), "linecolor": faded(GREY, 0.22), "zeroline": False, "automargin": True}
    axes = {axis: grid | more.pop(axis, {}) for axis in ("xaxis", "yaxis")}
    legend = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
    shared = {
        "height": height,
        "margin": {"l": 8, "r": 8, "t": 36, "b": 8},
        "paper_bgcolor": TRANSPARENT,
        "plot_bgcolor": TRANSPARENT,
        "hovermode": "x unified",
        "legend": legend,
    }
    return shared | axes | more
