"""Colours, the same on every page, and the common layout of figures. They are those of the sweep report."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from pmsi.robustness.drawing import COLORS as CATEGORICAL
from pmsi.robustness.drawing import GREY as NEUTRAL
from pmsi.robustness.drawing import layout

STAGES = {"S1": "#aec12a", "S2": "#67c657", "S3": "#7f984e", "S4": "#019b8d", "S5": "#0f6238"}
"""Greens, the deeper the darker: a stage has the colour of its output. No run has one of them."""
OUTPUTS = {"concat": "#fe6eff", "mix": "#9f15a0", "classifier": "#834074"}
"""Magentas: the outputs that are no stage's."""
HEADS = STAGES | OUTPUTS

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
