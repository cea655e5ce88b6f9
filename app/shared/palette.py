"""Colours, the same on every page, and the common layout of figures.

Any two of the ten colours differ for people with normal vision, protanopia, deuteranopia and tritanopia, and each has
a contrast of at least 2.3 to a white and to a near-black page.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Figure = TypeVar("Figure")
"""A plotly figure."""

CATEGORICAL: tuple[str, ...] = (
    "#0f7fc2",  # blue
    "#ff8e00",  # orange
    "#8f2be8",  # violet
    "#be3a28",  # brick
    "#586d6e",  # slate
    "#0ab0ff",  # sky
    "#a2856f",  # clay
    "#ef570e",  # vermilion
    "#869ab9",  # mist
    "#c0a789",  # sand
)
"""For things without a colour of their own, such as runs, in this order."""

HEADS: dict[str, str] = {
    "S1": "#869ab9",
    "S2": "#a2856f",
    "S3": "#0f7fc2",
    "S4": "#ff8e00",
    "S5": "#be3a28",
    "concat": "#8f2be8",
    "mix": "#0ab0ff",
    "classifier": "#586d6e",
}
"""The colour of each stage, which is that of its head, and of the other heads."""

NEUTRAL = "#7d8590"
"""Grey for what carries no meaning; readable on light and on dark."""
GRID = "rgba(125, 133, 144, 0.22)"
TRANSPARENT = "rgba(0, 0, 0, 0)"

CHART: dict[str, Any] = {"theme": "streamlit", "width": "stretch", "config": {"displayModeBar": False}}
"""Arguments of every st.plotly_chart: text takes the colour of the page's theme, and no toolbar hovers."""


def head_color(name: str) -> str:
    """Return the colour of a stage or head; a name that has none is grey."""
    return HEADS.get(name, NEUTRAL)


def color_of(name: str, names: Sequence[str]) -> str:
    """Return the colour of one of ``names`` (of runs, say) by its place among them."""
    return CATEGORICAL[list(names).index(name) % len(CATEGORICAL)]


def spread(wanted: Mapping[str, int]) -> dict[str, str]:
    """Return a colour for each name, of the number that it wants or, where that is taken, of the next free one."""
    free = list(range(len(CATEGORICAL)))
    found = {}
    for name, number in sorted(wanted.items(), key=lambda item: item[1]):
        free = free or list(range(len(CATEGORICAL)))
        nearest = min(free, key=lambda slot: (slot - number) % len(CATEGORICAL))
        free.remove(nearest)
        found[name] = CATEGORICAL[nearest]
    return {name: found[name] for name in wanted}


def faded(color: str, opacity: float) -> str:
    """Return a hexadecimal colour as rgba with this opacity, for bands and fills."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"


def styled(figure: Figure, *, height: int = 320, legend: bool = True) -> Figure:
    """Give a figure the shared layout and return it: transparent, a quiet grid, its legend above, a fixed height."""
    figure.update_layout(  # type: ignore[attr-defined]
        height=height,
        margin={"l": 8, "r": 8, "t": 36 if legend else 12, "b": 8},
        paper_bgcolor=TRANSPARENT,
        plot_bgcolor=TRANSPARENT,
        colorway=list(CATEGORICAL),
        showlegend=legend,
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "title": None},
        hovermode="x unified",
        uirevision="keep",
    )
    axis = {"gridcolor": GRID, "linecolor": GRID, "zeroline": False, "automargin": True}
    figure.update_xaxes(**axis)  # type: ignore[attr-defined]
    figure.update_yaxes(**axis)  # type: ignore[attr-defined]
    return figure
