"""Figures and tables of metrics records, of one run by phase and head, or of several runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from app.shared.palette import CATEGORICAL, head_color, styled
from pmsi.base.text import percent

Record = Mapping[str, Any]

MOST_POINTS = 400
"""Points in a line: more cannot be distinguished on a screen, and would be sent again with every update."""

HEIGHT = 320

TICKS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
"""Epochs between two ticks: whole ones."""

MOST_HOVERED = 6
"""Runs whose values are all shown at the pointer; of more, the nearest one's."""

DASHES = ("solid", "dot", "dash")
"""Lines of runs whose colours have been used up: the eleventh run is dotted."""


def series(records: Iterable[Record], kind: str, field: str) -> dict[str, tuple[list[float], list[float]]]:
    """Return by head the epochs and values of one field of the records of one kind, without those that are null."""
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for record in records:
        if record.get("kind") != kind:
            continue
        for head, value in (record.get(field) or {}).items():
            if value is not None:
                epochs, values = lines.setdefault(head, ([], []))
                epochs.append(record["epoch"])
                values.append(value)
    return lines


def thinned(line: tuple[list[float], list[float]], most: int = MOST_POINTS) -> tuple[list[float], list[float]]:
    """Return a line of at most ``most`` points: means over neighbours, the last point's place kept."""
    epochs, values = line
    step = -(-len(values) // most)
    if step <= 1:
        return line
    starts = range(0, len(values), step)
    means = [sum(values[i : i + step]) / len(values[i : i + step]) for i in starts]
    return [epochs[min(i + step, len(epochs)) - 1] for i in starts], means


SMOOTHED = "Each point becomes a mean of the points up to it, which forgets them by this share at each step; 0 is none."


def smoothed(values: Sequence[float], share: float) -> list[float]:
    """Return the exponential moving average of values, without the bias of its start; ``share`` (0–1) is what stays."""
    found, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = share * total + (1 - share) * value, share * weight + (1 - share)
        found.append(total / weight)
    return found


def curves_csv(records: Sequence[Record]) -> str:
    """Return the losses and accuracies of a run as CSV, unsmoothed: what, of which output, epoch, value."""
    rows = [
        f"{what},{head},{epoch:g},{value!r}"
        for what, kind, field in (("training loss", "loss", "losses"), ("test accuracy", "epoch", "accuracy"))
        for head, line in series(records, kind, field).items()
        for epoch, value in zip(*line, strict=True)
    ]
    return "\n".join(["curve,output,epoch,value", *rows]) + "\n"


def loss_figure(records: Sequence[Record], smooth: float = 0.0) -> go.Figure:
    """Return the training loss of each phase over the epochs."""
    figure = go.Figure()
    for head, line in series(records, "loss", "losses").items():
        epochs, values = thinned((line[0], smoothed(line[1], smooth)))
        figure.add_scatter(
            x=epochs, y=values, name=head, line={"color": head_color(head), "width": 2}, hovertemplate="%{y:.3f}"
        )
    return _axes(figure, records, "cross-entropy", ".3~g")


def accuracy_figure(records: Sequence[Record], primary: str | None = None, smooth: float = 0.0) -> go.Figure:
    """Return the test accuracy of each head over the epochs, in per cent; the head that decides is drawn wider."""
    figure, most = go.Figure(), 0.0
    for head, (epochs, values) in series(records, "epoch", "accuracy").items():
        wide, most = head == primary, max(most, *values)
        figure.add_scatter(
            x=epochs,
            y=[100 * value for value in smoothed(values, smooth)],
            name=head,
            mode="lines+markers",
            line={"color": head_color(head), "width": 3 if wide else 2, "dash": "solid"},
            marker={"size": 7 if wide else 5},
            hovertemplate="%{y:.1f} %",
        )
    _axes(figure, records, "accuracy (%)", "~g")
    top = 20 * min(5, math.floor(5 * most) + 1)  # the next fifth: it seldom changes while values come in
    return figure.update_yaxes(range=[0, top * 1.005])


def runs_figure(
    lines: Mapping[str, tuple[list[float], list[float]]], colors: Mapping[str, str], names: Mapping[str, str], what: str
) -> go.Figure:
    """Return one line for each run, by id, over the epochs: accuracies 0–1 where ``what`` is that, else losses."""
    figure, used = go.Figure(), list[str]()
    share = what == "accuracy"
    for id, line in lines.items():
        epochs, values = thinned(line)
        dash = DASHES[min(used.count(colors[id]), len(DASHES) - 1)]
        used.append(colors[id])
        figure.add_scatter(
            x=epochs,
            y=[100 * value for value in values] if share else values,
            name=escape(names[id]),
            mode="lines+markers" if share and len(values) <= 40 else "lines",
            line={"color": colors[id], "width": 2, "dash": dash},
            marker={"size": 5},
            hovertemplate="%{y:.1f} %" if share else "%{y:.3f}",
        )
    reached = [{"epoch": epochs[-1]} for epochs, _ in lines.values() if epochs]
    _axes(figure, reached, "accuracy (%)" if share else "cross-entropy", "~g" if share else ".3~g")
    hover = "closest" if len(lines) > MOST_HOVERED else "x unified"
    return figure.update_layout(showlegend=False, margin={"t": 12}, hovermode=hover)


def _axes(figure: go.Figure, records: Sequence[Record], y_title: str, y_format: str) -> go.Figure:
    styled(figure, height=HEIGHT)
    reached = max((record["epoch"] for record in records if "epoch" in record), default=1)
    tick = next(step for step in TICKS if reached / step <= 10)
    figure.update_xaxes(
        title="epoch", dtick=tick, range=[0, max(1, reached) * 1.02], hoverformat=".4~g", rangemode="tozero"
    )
    figure.update_yaxes(title=y_title, tickformat=y_format, rangemode="tozero")
    return figure


def accuracy_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a head: its accuracy in per cent at the last epoch, and at the best epoch of the deciding head."""
    last, best = result["last"]["accuracy"], result["best"]["accuracy"]
    return [{"Output": head, "Last epoch": percent(last[head]), "Best epoch": percent(best.get(head))} for head in last]


def bar_figure(values: Mapping[str, float], title: str) -> go.Figure:
    """Return accuracies by name (of classes, say) as horizontal bars, in per cent, the first on top."""
    names = list(values)[::-1]
    figure = go.Figure()
    figure.add_bar(
        x=[100 * values[name] for name in names],
        y=names,
        orientation="h",
        marker_color=CATEGORICAL[0],
        hovertemplate="%{y}: %{x:.1f} %<extra></extra>",
    )
    styled(figure, height=60 + 22 * len(names), legend=False)
    figure.update_xaxes(title=title, range=[0, 100.5])
    return figure.update_layout(hovermode="closest", bargap=0.3)
