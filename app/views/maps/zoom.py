"""One map, enlarged, with its numbers: prediction, pointing, deletion and insertion."""

from dataclasses import replace
from functools import partial

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from app.shared.cached_models import removal_once
from app.shared.errors import guarded, plain
from app.shared.images import download, picture
from app.shared.palette import CHART, NEUTRAL, head_color, styled
from app.shared.panels import Picked
from app.shared.session import choose, remember
from app.shared.wording import name_of_run
from app.views.maps.explained import OUTLINES, Rows, Seen, Wanted
from app.views.maps.grid import evidence, overlaid
from pmsi.explain.measures.deletion import Curve
from pmsi.explain.measures.pointing import RegionScores, region_scores, summary
from pmsi.pictures.encoding import jpeg, png
from pmsi.robustness.drawing import faded

ZOOM = "zoom"
"""The choice that says which map is open: "image.run.stage"."""
SIDE = 640
SOURCES = {"map": "This map", "random": "Random maps", "edges": "Edges of the image", "centre": "Middle of the image"}


def enlarge(rows: Rows, opened: str, wanted: Wanted) -> None:
    """Open the map that ``opened`` names, where there is such a one."""
    try:
        row, run, stage = opened.split(".")
        picked, one = rows[int(row)][0], rows[int(row)][1][int(run)]
        values = one.explanation.maps[stage]
    except (ValueError, IndexError, KeyError):
        choose(ZOOM, "")
        return
    title = f"{stage} · {plain(name_of_run(one.run))}"
    st.dialog(title, width="large", on_dismiss=lambda: choose(ZOOM, ""))(_contents)(picked, one, stage, values, wanted)


@guarded()
def _contents(picked: Picked, one: Seen, stage: str, values: np.ndarray, wanted: Wanted) -> None:
    left, right = st.columns(2, gap="medium")
    with right:
        _facts(picked, one, stage, values)
        region = _numbers(picked, one, stage, wanted)
    with left:
        alt = f"{picked.title}, {stage}: evidence for {evidence(one)}, enlarged"
        shown = overlaid(one, stage, float(values.max()) or 1.0, replace(wanted, outline=region), SIDE)
        picture(jpeg(shown), alt=alt, caption=f"Up to its own peak. Outlined: {title_of_region(region).lower()}.")
        with st.container(horizontal=True):
            download("Picture (PNG)", partial(png, shown), f"{stage}.png")
            download("Values (CSV)", partial(as_csv, values), f"{stage}.csv")
    if remember(st.toggle, "curves", False, "Deletion and insertion curves", help="Some eighty predictions: seconds."):
        _curves(picked, one, stage)


def as_csv(values: np.ndarray) -> str:
    """Return a map's values as CSV, a line for each row of the map."""
    return "".join(",".join(f"{value:.6g}" for value in row) + "\n" for row in values)


def title_of_region(region: str) -> str:
    """Return what a region is called."""
    return OUTLINES.get(region, region.capitalize())


def _facts(picked: Picked, one: Seen, stage: str, values: np.ndarray) -> None:
    about, best, of = one.explanation, one.explanation.prediction.best, summary(values)
    head = {guess.label: guess for guess in about.prediction.heads[about.head]}
    score = head.get(about.label)
    peak = "No positive evidence: the map is empty"
    if of.at is not None:
        peak = f"Peak at {of.at[0]:.0%} from the left, {of.at[1]:.0%} from the top"
    truth = f" (it is {plain(picked.label)})" if picked.label and best.name != picked.label else ""
    lines = [
        f"**{plain(picked.title)}**",
        f"Predicted: **{plain(best.name)}** {best.probability:.1%}{truth}",
        f"Explained: **{plain(evidence(one))}** at output **{plain(about.head)}**"
        + (f", which gives it {score.probability:.1%}" if score else ""),
        f"Map of {of.shape[0]} × {of.shape[1]}, from {of.least:.3g} to **{of.peak:.4g}**, mean {of.mean:.3g}",
        peak,
    ]
    st.markdown("\n\n".join(lines))


def _numbers(picked: Picked, one: Seen, stage: str, wanted: Wanted) -> str:
    """Show where the map points, beside the baselines; return the region that this is about."""
    if not one.regions:
        st.caption("The data set has no box or parts of this image, so there is no region to point at.")
        return ""
    first, second = st.columns([3, 2], gap="medium")
    names = list(one.regions)
    region = remember(
        first.selectbox,
        "region",
        wanted.outline if wanted.outline in names else names[0],
        "Where it ought to point",
        names,
        format_func=title_of_region,
    )
    tolerance = remember(
        second.slider,
        "tolerance",
        15,
        "Tolerance (px)",
        0,
        40,
        help=f"By how much a peak may miss, in pixels of the image of {one.picture.width} × {one.picture.height}.",
    )
    mask = one.regions[region]
    found = region_scores(
        one.explanation.maps[stage], np.asarray(one.picture), mask, tolerance=float(tolerance), key=picked.key
    )
    st.markdown(numbers_table(found, float(mask.mean())))
    st.caption(
        "Pointing game: does the peak lie in the region, or as near as the tolerance? Energy: the share of the map's "
        "sum inside. Chance is the region's share of the image. Of random maps, the mean of 32."
    )
    return str(region)


def numbers_table(found: dict[str, RegionScores], area: float) -> str:
    """Return the numbers of a map and of its baselines as a table in markdown."""
    lines = ["| | Pointing game | Energy inside |", "|---|---|---|"]
    for source, numbers in found.items():
        hit = {0.0: "miss", 1.0: "hit"}.get(numbers.pointing, f"{numbers.pointing:.0%}")
        words = (SOURCES[source], hit, f"{numbers.energy:.1%}")
        lines.append("| " + " | ".join(f"**{word}**" if source == "map" else word for word in words) + " |")
    return "\n".join([*lines, f"| Area of the region (chance) | | {area:.1%} |"])


def _curves(picked: Picked, one: Seen, stage: str) -> None:
    curves = removal_once(one.run, one.picture, picked.key, one.explanation, stage)
    for column, (name, by_source) in zip(st.columns(2, gap="medium"), curves.items(), strict=True):
        with column:
            better = "lower is better" if name == "deletion" else "higher is better"
            st.markdown(f"**{name.capitalize()}** · {better}")
            alt = f"{name}: probability of {one.explained} against the share of pixels"
            st.plotly_chart(removal_chart(by_source, head_color(stage), name), key=f"zoom-{name}", alt=alt, **CHART)


def removal_chart(curves: dict[str, Curve], color: str, name: str) -> go.Figure:
    """Return the curves of a map (in ``color``) and of a random one (grey); the legend gives their areas."""
    figure = go.Figure()
    for source, curve in curves.items():
        own = source == "map"
        figure.add_scatter(
            x=[100 * share for share in curve.shares],
            y=[100 * probability for probability in curve.probability],
            name=f"{'This map' if own else 'A random map'}: {curve.area:.3f}",
            line={"color": color if own else NEUTRAL, "width": 2.5, "dash": "solid" if own else "dot"},
            fill="tozeroy" if own else None,
            fillcolor=faded(color, 0.12) if own else None,
            hovertemplate="%{y:.1f} %",
        )
    styled(figure, height=260)
    figure.update_xaxes(title=f"Pixels {'taken away' if name == 'deletion' else 'shown'} (%)")
    figure.update_yaxes(title="Probability (%)", range=[0, 103])
    return figure
