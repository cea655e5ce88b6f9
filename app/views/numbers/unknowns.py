"""Whether runs tell images that are of none of their classes: scores of known and unknown images."""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from app.shared.errors import plain
from app.shared.palette import CATEGORICAL, CHART, NEUTRAL, styled
from app.shared.panels import say_differences
from app.shared.session import switch
from app.shared.wording import name_of_run
from app.views.numbers.reports import kept, measured
from pmsi.config import UnknownsConfig
from pmsi.runs import Run
from pmsi.uncertainty.measures import unpacked
from pmsi.uncertainty.scores import SAID_BY, SCORES
from pmsi.uncertainty.separation import SEPARATIONS
from pmsi.unknowns import SCORED, UNKNOWNS

Result = dict[str, Any]
BINS = 40


def unknowns(run: Run, beside: Run | None, output: str) -> None:
    """Show how one or two runs score known and unknown images, and offer to measure that."""
    found = measured(run, beside, UnknownsConfig, "some minutes")
    if found is None:
        return
    runs, job, result = found
    titles = {name: row.title for name, row in SCORES.items()}
    score = switch("score", SAID_BY, "Score", titles)
    scores = kept(job, SCORED, _scores)
    for place, each in zip(st.columns(len(runs), gap="medium"), runs, strict=True):
        name = name_of_run(each)
        figure = score_figure(scores[each.id], score, result["runs"][each.id]["limits"][score], name)
        place.plotly_chart(figure, key=f"scores-{each.id}", alt=f"{titles[score]} of known and unknown images", **CHART)
    rows = [row for each in runs for row in _rows(each, result["runs"][each.id], score)]
    st.table(rows, hide_index=True, border="horizontal")
    if len(runs) > 1:
        st.markdown(_differences(result, runs, score))
    say_differences(result, *runs)
    st.caption(
        f"{result['images']:,} known images: the test images. AUROC: the probability that a known image scores higher "
        f"than an unknown one; 50 % is chance. 95 % bootstrap intervals. {titles[score]}: {SCORES[score].help} "
        "Dotted: the threshold that goes with the run, above which 95 % of the images are that it is calibrated on."
    )


def _scores(kinds: dict[str, dict[str, str]]) -> dict[str, dict[str, np.ndarray]]:
    """Return a run's scores by kind of images and score."""
    return {kind: {name: unpacked(values) for name, values in each.items()} for kind, each in kinds.items()}


def title_of(kind: str) -> str:
    """Return what a kind of images is called."""
    return UNKNOWNS[kind].title if kind in UNKNOWNS else kind.capitalize()


def score_figure(kinds: dict[str, dict[str, np.ndarray]], score: str, limit: float, name: str) -> go.Figure:
    """Return the distribution of a score over known and unknown images, each in per cent of its own."""
    figure = go.Figure()
    edges = np.linspace(*np.quantile(np.concatenate([each[score] for each in kinds.values()]), [0, 1]), BINS + 1)
    for number, (kind, each) in enumerate(kinds.items()):
        shares = 100 * np.histogram(each[score], edges)[0] / len(each[score])
        figure.add_scatter(
            x=(edges[1:] + edges[:-1]) / 2, y=shares, mode="lines", name=title_of(kind),
            line={"shape": "hvh", "width": 2, "color": CATEGORICAL[number]},
            fill="tozeroy" if kind == "known" else None,
            hovertemplate="%{x:.2f}: %{y:.1f} %<extra>" + escape(title_of(kind)) + "</extra>",
        )  # fmt: skip
    figure.add_vline(limit, line={"dash": "dot", "color": NEUTRAL})
    styled(figure, height=330)
    figure.update_xaxes(title=f"{SCORES[score].title}: {escape(name)}")
    figure.update_yaxes(title="Images (%)", rangemode="tozero")
    return figure


def _rows(run: Run, about: Result, score: str) -> list[dict[str, str]]:
    name = name_of_run(run)
    return [
        {
            "Run": plain(name),
            "Unknown": f"{title_of(kind)} ({found[score]['images']:,})",
            **{row.title: _interval(found[score][key]) for key, row in SEPARATIONS.items()},
            "Pass the run's threshold": f"{found[score]['passed']:.0%} (known {about['kept'][score]:.0%})",
        }
        for kind, found in about["unknown"].items()
    ]


def _interval(value: dict[str, float]) -> str:
    return f"**{100 * value['value']:.1f} %** ({100 * value['low']:.1f} to {100 * value['high']:.1f})"


def _differences(result: Result, runs: Sequence[Run], score: str) -> str:
    """Say of each kind of unknown images whether the second run tells them better, by the paired interval."""
    ids, lines = [run.id for run in runs], []
    for found in result["differences"]:
        if found["score"] != score or {found["a"], found["b"]} != set(ids):
            continue
        sign = 1 if found["a"] == ids[0] else -1
        low, high = sorted(100 * sign * found["auroc"][end] for end in ("low", "high"))
        verdict = "tells them better" if low > 0 else "tells them worse" if high < 0 else "does not differ"
        lines.append(
            f"{title_of(found['unknown'])}: **{plain(name_of_run(runs[1]))} {verdict}**, AUROC "
            f"{100 * sign * found['auroc']['value']:+z.1f} points ({low:+z.1f} to {high:+z.1f}), "
            f"p = {found['auroc']['p']:.2g}."
        )
    return "  \n".join(lines)
