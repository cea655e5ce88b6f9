"""Colours, the same on every page, and the common layout of figures. They are those of the sweep report."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from pmsi.robustness.drawing import COLORS as CATEGORICAL
from pmsi.robustness.drawing import GREY as NEUTRAL
from pmsi.robustness.drawing import layout

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


CHART: dict[str, Any] = {"theme": "streamlit", "width": "stretch", "config": {"displayModeBar": False}}
"""Arguments of every st.plotly_chart: text takes the colour of the page's theme, and no toolbar hovers."""


def head_color(name: str) -> str:
    """Return the colour of a stage or head; a name that has none is grey."""
    return HEADS.get(name, NEUTRAL)


def spread(wanted: Mapping[str, int]) -> dict[str, str]:
    """Return a colour for each name: that of its wanted number, or if that is taken, the next free one."""
    free = list(range(len(CATEGORICAL)))
    found = {}
    for name, number in sorted(wanted.items(), key=lambda item: item[1]):
        free = free or list(range(len(CATEGORICAL)))
        nearest = min(free, key=lambda slot: (slot - number) % len(CATEGORICAL))
        free.remove(nearest)
        found[name] = CATEGORICAL[nearest]
    return {name: found[name] for name in wanted}


def styled(figure: go.Figure, *, height: int = 320, legend: bool = True) -> go.Figure:
    """Give a figure the shared layout and return it: transparent, a quiet grid, its legend above, a fixed height."""
    margin = {"l": 8, "r": 8, "t": 36 if legend else 12, "b": 8}
    more = {"margin": margin, "colorway": list(CATEGORICAL), "showlegend": legend, "uirevision": "keep"}
    return figure.update_layout(layout(height) | more)
