"""A sweep's numbers → figures: shares against a quantity, drops by class, confusions; pure functions."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from app.charts import sweep_curves
from app.palette import NEUTRAL, TRANSPARENT, styled

if TYPE_CHECKING:
    import numpy as np
    import plotly.graph_objects as go

Lines = Mapping[str, Sequence[Mapping[str, Any]]]
"""Points by the name of their line, as `app.charts.sweep_curves` takes them."""

FULLEST = 24
"""Classes at most whose names are written beside a matrix in full; more are numbered by the hover alone."""


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

    ``numbers`` are the classes shown; the diagonal is grey. A square's custom data is (row, column). The squares that
    are clicked are points over the heatmap, which itself answers no click.
    """
    import numpy as np
    import plotly.graph_objects as go

    part = matrix[np.ix_(numbers, numbers)].astype(float)
    off = np.where(np.eye(len(numbers), dtype=bool), np.nan, part)
    named, titles = [classes[number] for number in numbers], (escape(titles[0]), escape(titles[1]))
    figure = go.Figure()
    places = list(range(len(numbers)))
    figure.add_heatmap(
        z=off, x=places, y=places, colorscale=[[0, TRANSPARENT], [1, color]], showscale=False, hoverinfo="skip", zmin=0
    )
    cells = [(i, j) for i in places for j in places if part[i, j]]
    figure.add_scatter(
        x=[j for _, j in cells],
        y=[i for i, _ in cells],
        mode="markers+text" if len(numbers) <= FULLEST else "markers",
        text=[f"{part[i, j]:.0f}" for i, j in cells],
        marker={"symbol": "square", "size": 24 if len(numbers) <= FULLEST else 10, "color": TRANSPARENT},
        customdata=[[numbers[i], numbers[j], escape(named[i]), escape(named[j])] for i, j in cells],
        hovertemplate=f"%{{text}} images<br>{titles[0]}: %{{customdata[2]}}<br>{titles[1]}: %{{customdata[3]}}"
        "<extra></extra>",
        showlegend=False,
    )
    styled(figure, height=max(340, min(760, 150 + 26 * len(numbers))), legend=False)
    ticks = {"tickvals": places, "ticktext": [escape(_short(name)) for name in named]}
    figure.update_xaxes(title=titles[1], tickangle=-50, **ticks)
    figure.update_yaxes(title=titles[0], autorange="reversed", **ticks)
    return figure.update_layout(hovermode="closest", dragmode="zoom", clickmode="event+select")


def _short(name: str, length: int = 20) -> str:
    return name if len(name) <= length else name[: length - 1] + "…"
