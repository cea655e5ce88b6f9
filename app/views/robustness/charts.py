"""A sweep's numbers → figures: shares against a quantity, drops by class, confusions; pure functions."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from app.shared.charts import sweep_curves
from app.shared.palette import NEUTRAL, TRANSPARENT, faded, styled

if TYPE_CHECKING:
    import numpy as np
    import plotly.graph_objects as go

Lines = Mapping[str, Sequence[Mapping[str, Any]]]
"""Points by the name of their line, as `app.shared.charts.sweep_curves` takes them."""

FULLEST, NAMES = 24, 20
"""Classes of a matrix at most that are all named beside it, with their numbers in it; names beside a larger one (below
it, half as many), whose places say the rest when one points at them."""

PLOT = 480
"""About how many pixels wide a matrix is drawn."""


def shares(lines: Lines, x_title: str, y_title: str, colors: Mapping[str, str]) -> "go.Figure":
    """Return curves of any share with bands; y is ``accuracy`` of a point, a fraction."""
    figure = sweep_curves(lines, x_title, colors)
    figure.update_yaxes(title=y_title, range=[0, 103])
    return figure


def class_drops(drops: Mapping[str, Sequence[float]], classes: Sequence[str], colors: Mapping[str, str]) -> "go.Figure":
    """Return bars of what each class lost, in points, by run; the classes from the top down."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, values in drops.items():
        figure.add_bar(
            y=[escape(name) for name in classes],
            x=[100 * value for value in values],
            name=escape(name),
            orientation="h",
            marker={"color": colors.get(name, NEUTRAL)},
            hovertemplate="%{x:.1f} points<extra>" + escape(name) + "</extra>",
        )
    styled(figure, height=110 + 18 * len(classes) * max(1, len(drops)))
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="Accuracy lost (points)")
    return figure.update_layout(hovermode="closest")


def confusion_figure(
    matrix: "np.ndarray", numbers: Sequence[int], classes: Sequence[str], titles: tuple[str, str], color: str
) -> "go.Figure":
    """Return a matrix of images, rows down and columns across, as squares that can be clicked.

    ``numbers`` are the classes shown; what is on the diagonal has no colour of its own. A square's custom data begins
    with (row, column). Of few classes, the numbers stand in a heatmap; it answers no click, so the squares are points
    over it. Of many, a heatmap's places would be too small to be seen: the points themselves are coloured.
    """
    import numpy as np
    import plotly.graph_objects as go

    part = matrix[np.ix_(numbers, numbers)]
    off = part * (1 - np.eye(len(numbers), dtype=part.dtype))
    named, titles = [classes[number] for number in numbers], (escape(titles[0]), escape(titles[1]))
    few, most = len(numbers) <= FULLEST, max(1, int(off.max(initial=0)))
    figure = go.Figure()
    if few:
        shades = [[0, TRANSPARENT], [0.5 / most, faded(color, 0.15)], [1, faded(color, 0.5)]]
        figure.add_heatmap(z=off, colorscale=shades, zmin=0, zmax=most, showscale=False, hoverinfo="skip")
    marker = {"size": 24, "color": TRANSPARENT} if few else _shaded(off[np.nonzero(part)], most, len(numbers), color)
    figure.add_scatter(
        **_squares(part, numbers, named, titles),
        mode="markers+text" if few else "markers",
        marker=marker | {"symbol": "square", "line": {"width": 0}},
        showlegend=False,
    )
    styled(figure, height=max(340, min(760, 150 + 26 * len(numbers))), legend=False)
    _name_axes(figure, named, titles)
    return figure.update_layout(hovermode="closest", dragmode="zoom", clickmode="event+select")


def _shaded(counts: "np.ndarray", most: int, classes: int, color: str) -> dict[str, Any]:
    """Return points coloured by their number of images, those of the diagonal (0) grey, and large enough to be seen."""
    shades = [[0, faded(NEUTRAL, 0.3)], [0.5 / most, faded(color, 0.55)], [1, color]]
    return {"size": max(5, PLOT // classes), "color": counts, "colorscale": shades, "cmin": 0, "cmax": most}


def _squares(
    part: "np.ndarray", numbers: Sequence[int], named: Sequence[str], titles: tuple[str, str]
) -> dict[str, Any]:
    """Return where the points are, over the places that hold an image, and what they say."""
    import numpy as np

    rows, columns = np.nonzero(part)
    cells = [*zip(rows.tolist(), columns.tolist(), strict=True)]
    return {
        "x": columns,
        "y": rows,
        "text": [str(part[place]) for place in cells],
        "customdata": [[numbers[i], numbers[j], escape(named[i]), escape(named[j])] for i, j in cells],
        "hovertemplate": f"Images: %{{text}}<br>{titles[0]}: %{{customdata[2]}}<br>{titles[1]}: %{{customdata[3]}}"
        "<extra></extra>",
    }


def _name_axes(figure: "go.Figure", named: Sequence[str], titles: tuple[str, str]) -> None:
    """Write the classes beside the matrix; of many, as many as can be read."""
    start, end = -0.5, len(named) - 0.5
    frame = {"showgrid": False, "showline": True, "mirror": True}
    figure.update_xaxes(title=titles[1], tickangle=-50, range=[start, end], **_ticks(named, NAMES // 2), **frame)
    figure.update_yaxes(title=titles[0], range=[end, start], **_ticks(named, NAMES), **frame)


def _ticks(named: Sequence[str], most: int) -> dict[str, Any]:
    every = 1 if len(named) <= FULLEST else -(-len(named) // most)
    places = list(range(0, len(named), every))
    return {"tickvals": places, "ticktext": [escape(_short(named[place])) for place in places]}


def _short(name: str, length: int = 20) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
