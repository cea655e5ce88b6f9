"""What a run answered for six test images while it was trained, and where its stages looked: a scrubber over epochs."""

import base64
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from app.shared.components import part
from app.shared.errors import plain
from app.shared.images import download
from app.shared.panels import run_colors
from app.shared.wording import name_of_run
from pmsi.pictures.encoding import data_uri
from pmsi.pictures.overlays import COLOR_SCALES, table
from pmsi.pictures.theatre import animation
from pmsi.runs import Run, default_root, known_runs
from pmsi.runs.comparison import baseline_for
from pmsi.runs.theatre import Moment, Theatre, theatre_of

OWN = "theatre-own"
"""The key of the switch for each map's own scale."""


def theatre_panel(run: Run) -> None:
    """Draw the theatre of a training run, beside a baseline's where there is a comparable one; nothing without one."""
    theatre = theatre_of(run)
    if theatre is None or not theatre.moments:
        return
    theatres = {run: theatre} | _baseline(run, theatre)
    own = bool(st.session_state.get(OWN))
    scale = "map" if own else "image"
    part("theatre")(data=_data(theatres, own), key="theatre")
    beside = "" if len(theatres) == 1 else f" Below, {plain(name_of_run([*theatres][1]))} at the same epoch."
    with st.container(horizontal=True, vertical_alignment="center"):
        st.toggle("Each map its own scale", key=OWN)
        titles = {name_of_run(one): shown for one, shown in theatres.items()}
        download("GIF", partial(animation, titles, scale), f"{run.id}.gif", "animation", key="theatre-gif")
        st.caption(
            f"Test images, chosen by their pixels, with maps of their true class: {COLOR_SCALES[scale].words}.{beside} "
            "Arrow keys step, space plays."
        )


def _baseline(run: Run, theatre: Theatre) -> dict[Run, Theatre]:
    """Return the theatre of a baseline that saw the same images."""
    beside = baseline_for(run, known_runs(default_root()))
    other = None if beside is None or beside == run else theatre_of(beside)
    if beside is None or other is None or not other.moments or other.keys != theatre.keys:
        return {}
    return {beside: other}


def _data(theatres: dict[Run, Theatre], own: bool) -> dict[str, Any]:
    """Return what the component draws."""
    colors, first = run_colors([*theatres]), next(iter(theatres.values()))
    return {
        "colors": _text(table().round().astype(np.uint8)),
        "own": own,
        "stages": [*first.moments[0].maps],
        "runs": [{"title": name_of_run(run), "color": colors[run.id]} for run in theatres],
        "images": [
            {"name": first.classes[label], "picture": data_uri(picture)}
            for label, picture in zip(first.labels, first.pictures, strict=True)
        ],
        "moments": [
            {
                "label": f"After epoch {moment.epoch}" if moment.epoch else "Before training",
                "runs": [_moment(one, one.at(moment.epoch)) for one in theatres.values()],
            }
            for moment in first.moments
        ],
    }


def _moment(theatre: Theatre, moment: Moment) -> dict[str, Any]:
    images = range(len(theatre.keys))
    score = f"{theatre.right(moment)} of {len(images)} right by {theatre.primary}"
    return {"score": score, "images": [_image(theatre, moment, image) for image in images]}


def _image(theatre: Theatre, moment: Moment, image: int) -> dict[str, Any]:
    name, right = theatre.said(moment, image)
    said = {head: theatre.said(moment, image, head) for head in moment.labels}
    return {
        "name": name,
        "right": right,
        "heads": [{"name": head, "said": each, "right": ok} for head, (each, ok) in said.items() if len(said) > 1],
        "maps": [
            {"values": _text(values[image]), "peak": moment.peaks[stage][image]}
            for stage, values in moment.maps.items()
        ],
    }


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode()
