"""What an answer costs on this machine: accuracy against milliseconds and megabytes, of runs side by side."""

import json
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from app.shared.access import read_only
from app.shared.cached_models import has_model, model_of
from app.shared.errors import error_panel
from app.shared.measuring import printed
from app.shared.memory import once
from app.shared.palette import CHART, NEUTRAL, styled
from app.shared.panels import run_colors, trained_runs
from app.shared.wording import name_of_run
from pmsi.base.errors import PMSIError
from pmsi.base.text import percent, short
from pmsi.runs import Run, default_root

MEASURED = "latency"
"""The session's key of the last measurement."""
MOST, ROUNDS, PATIENCE_S = 8, 30, 1800
SYMBOLS = {"torch": "circle-open", "ONNX Runtime": "circle"}
Row = dict[str, Any]


def latency(run: Run, beside: Run | None, output: str) -> None:
    """Show what the runs at hand cost an answer, and offer to measure that."""
    able = {one.id: one for one in trained_runs() if has_model(one)}
    given = [one.id for one in (run, beside) if one is not None]
    chosen = st.multiselect(
        "Runs", list(able), [*dict.fromkeys([*given, *able])][:MOST], format_func=lambda id: name_of_run(able[id]),
        max_selections=MOST, key="latency-runs",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        threads = st.segmented_control("Threads", (1, 2), default=1, key="latency-threads", required=True)
        pressed = st.button("Measure", icon=":material/timer:", type="primary", disabled=read_only() or not chosen)
    words = ["latency", *chosen, "--runs", str(default_root()), "--threads", str(threads), "--rounds", str(ROUNDS)]
    if pressed:
        key = (MEASURED, *words, *(model_of(able[id]) for id in chosen))
        try:
            with st.spinner("Each run answers in turn; graphs that are missing are made first…", show_time=True):
                st.session_state[MEASURED] = once(
                    key, lambda: printed([*words, "--json"], PATIENCE_S), line=None, ttl=3600
                )
        except PMSIError as error:
            error_panel(error)
    st.caption(f"One image at a time, in a process of its own: `python -m pmsi {' '.join(words)} --plot latency.png`")
    if MEASURED in st.session_state:
        _show([row for row in json.loads(st.session_state[MEASURED]) if row["name"] in able], able)


def _show(rows: list[Row], able: dict[str, Run]) -> None:
    colors = run_colors([able[id] for id in dict.fromkeys(row["name"] for row in rows)])
    alt = "Accuracy against milliseconds of an answer, by run and engine; the area of a mark is the model's size"
    st.plotly_chart(figure(rows, {id: name_of_run(able[id]) for id in able}, colors), key="latency", alt=alt, **CHART)
    table = [
        {
            "Run": name_of_run(able[row["name"]]), "Engine": row["engine"], "Pixels": row["side"],
            "Median (ms)": round(row["median_ms"], 1), "Quartiles (ms)": f"{row['low_ms']:.1f}–{row['high_ms']:.1f}",
            "MB": round(row["bytes"] / 1e6, 1), "Multiply-adds": short(row["macs"]),
            "Accuracy": "" if row["accuracy"] is None else f"{percent(row['accuracy'])} of {row['test_images']}",
        }
        for row in rows
    ]  # fmt: skip
    st.dataframe(table, hide_index=True)


def figure(rows: list[Row], titles: dict[str, str], colors: dict[str, str]) -> go.Figure:
    """Return the chart: a mark for each run and engine; those that were never tested are on the line of 0."""
    chart = go.Figure()
    for row in rows:
        id, megabytes = row["name"], row["bytes"] / 1e6
        name = f"{titles[id]} · {row['engine']}"
        spread = {"array": [row["high_ms"] - row["median_ms"]], "arrayminus": [row["median_ms"] - row["low_ms"]]}
        chart.add_scatter(
            x=[row["median_ms"]], y=[100 * (row["accuracy"] or 0)], mode="markers", name=name,
            error_x={"type": "data", "symmetric": False, **spread},
            marker={"color": colors.get(id, NEUTRAL), "size": 8 + megabytes**0.5 * 3, "symbol": SYMBOLS[row["engine"]]},
            hovertemplate=f"{{y:.1f}} % in {{x:.1f}} ms, {megabytes:.1f} MB".replace("{", "%{"),
        )  # fmt: skip
    chart.update_xaxes(title="milliseconds an image", type="log").update_yaxes(title="accuracy (%)")
    return styled(chart, height=380)
