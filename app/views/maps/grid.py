"""The grid of the Maps page: a row for each image, a map for each stage of each run; a click opens a map.

It is a component, because pictures of Streamlit cannot be clicked and say no values under the pointer.
"""

import base64
from typing import Any

import numpy as np
from PIL.Image import Image

from app.shared.cached_models import explain_once
from app.shared.components import part
from app.shared.palette import head_color
from app.shared.panels import Picked, run_colors
from app.shared.wording import name_of_run
from app.views.maps.explained import SIDE, Rows, Seen, Wanted, verdict
from pmsi.pictures.encoding import data_uri, jpeg
from pmsi.pictures.overlays import ceilings, outlined, overlay, peak_words
from pmsi.pictures.phases import phase_mosaic, recursions_of_stages
from pmsi.pictures.sheets import enlarged


def show_grid(rows: Rows, wanted: Wanted, key: str = "maps-grid") -> str:
    """Show the grid; return the map that was just clicked as "image.run.stage" (two numbers, a name), else ""."""
    result = part("maps_grid")(data=grid_data(rows, wanted), key=key, on_opened_change=lambda: None)
    return str(result.get("opened") or "")


def grid_data(rows: Rows, wanted: Wanted) -> dict[str, Any]:
    """Return what the component draws: texts and encoded pictures."""
    runs = [one.run for one in rows[0][1]]
    colors = run_colors(runs)
    tops = ceilings([[one.explanation.maps for one in sights] for _, sights in rows], wanted.scale)
    stages = list(rows[0][1][0].explanation.maps)
    return {
        "runs": [{"title": name_of_run(run), "color": colors[run.id]} for run in runs],
        "stages": [{"name": stage, "color": head_color(stage)} for stage in stages],
        "rows": [
            {
                "title": picked.title,
                "image": _encoded(outlined_picture(sights[0], wanted), f"{picked.title}, as the network sees it"),
                "sights": [
                    {
                        "verdict": f"{one.explanation.head} says {verdict(one, picked.label)}{_why(one)}{one.note}",
                        "cells": [_cell(one, picked, (i, j), stage, tops[i, j, stage], wanted) for stage in stages],
                    }
                    for j, one in enumerate(sights)
                ],
            }
            for i, (picked, sights) in enumerate(rows)
        ],
    }


def _why(one: Seen) -> str:
    return f" · why {one.explained}, not {one.against}" if one.against else ""


def evidence(one: Seen) -> str:
    """Return what a map is of: a class, or a class against its rival."""
    return f"{one.explained} against {one.against}" if one.against else one.explained


def _cell(one: Seen, picked: Picked, place: tuple[int, int], stage: str, top: float, wanted: Wanted) -> dict[str, Any]:
    values = one.explanation.maps[stage]
    note = peak_words(values)
    alt = f"{picked.title}, {name_of_run(one.run)}, {stage}: evidence for {evidence(one)}, {note}"
    cell = {
        "id": f"{place[0]}.{place[1]}.{stage}",
        "image": _encoded(overlaid(one, stage, top, wanted), alt),
        "note": note,
        "values": under_pointer(values),
    }
    return cell | _mosaic(one, picked, stage, wanted) if wanted.mosaic else cell


def under_pointer(values: np.ndarray) -> dict[str, Any]:
    """Return a map's values as the browser reads them: a byte each, in shares of the peak, row by row."""
    peak = float(values.max(initial=0.0))
    levels = np.rint(values * (255 / (peak or 1.0))).astype(np.uint8)
    return {"levels": base64.b64encode(levels.tobytes()).decode(), "shape": values.shape, "peak": peak}


def overlaid(one: Seen, stage: str, top: float, wanted: Wanted, side: int = SIDE) -> Image:
    """Return a map, whose colours end at ``top``, over its image, with the outline that is wanted."""
    shown = overlay(enlarged(one.picture, side), one.explanation.maps[stage], top, wanted.strength)
    return outlined(shown, one.region(wanted.outline))


def outlined_picture(one: Seen, wanted: Wanted) -> Image:
    """Return what the run sees, with the outline that is wanted."""
    return outlined(enlarged(one.picture, SIDE), one.region(wanted.outline))


def _mosaic(one: Seen, picked: Picked, stage: str, wanted: Wanted) -> dict[str, Any]:
    """Return the image as the stage's phase was shown it, or why there is none."""
    config = one.predictor.config
    cut = phase_mosaic(one.picture, config, stage, seed=wanted.layout, key=picked.key)
    if cut is None:
        return {"without": "trained on whole images"}
    r = recursions_of_stages(config)[stage]
    shown, note = enlarged(cut, SIDE), f"r = {r}"
    if wanted.mosaic == "map":
        about = one.explanation
        values = explain_once(one.run, cut, about.head, about.label, about.method, about.rival).maps[stage]
        shown, note = overlay(shown, values, strength=wanted.strength), f"r = {r}, own scale"
    return {"mosaic": _encoded(shown, f"{picked.title}, mosaic of the phase of {stage}") | {"note": note}}


def _encoded(picture: Image, alt: str) -> dict[str, str]:
    return {"src": data_uri(jpeg(picture, 84)), "alt": alt}
