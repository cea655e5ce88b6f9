"""Maps under increasing severity, as frames that the browser plays."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import streamlit as st
from PIL.Image import Image

from app.shared.cached_models import explain_once
from app.shared.components import part
from app.shared.images import download
from app.shared.palette import head_color
from app.shared.panels import Picked, run_colors
from app.shared.session import remember
from app.shared.wording import name_of_run
from app.views.maps.explained import Rows, Seen, Wanted
from pmsi.perturbations import PERTURBATIONS, by_effect
from pmsi.pictures import severity
from pmsi.pictures.encoding import data_uri, jpeg
from pmsi.pictures.figure import MapCell
from pmsi.pictures.severity import Frame, animation, drawn, label_of


def motion(rows: Rows, wanted: Wanted) -> None:
    """Show the first image under a perturbation: its choice, the player, and the download."""
    picked, sights = rows[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = remember(
            st.selectbox,
            "perturbation",
            "gaussian_noise",
            "Perturbation",
            {
                name: f"{effect} · {PERTURBATIONS[name].title}"
                for effect, names in by_effect().items()
                for name in names
            },
            width=340,
        )
        seed = int(remember(st.number_input, "draw", 0, "Seed", 0, 9999, width=130))
    with st.spinner("Explaining the image at each severity…"):
        made = frames(picked, sights, name, seed)
    data = player_data(made, sights, name, wanted)
    part("maps_player")(data=data, key="maps-player")
    st.caption(
        f"{PERTURBATIONS[name].help} The class explained is that of the clean image, so that maps compare. Arrow keys "
        "step, space plays."
    )
    moving = partial(animation, made, name, scale=wanted.scale, strength=wanted.strength)
    download("Download GIF", moving, f"maps-{name}.gif", "animation")


def frames(picked: Picked, sights: Sequence[Seen], name: str, seed: int) -> list[Frame]:
    """Return what each run makes of an image at each severity, for the class that it explains on the clean one."""
    views = [severity.Subject(one.picture, picked.key, _look(one)) for one in sights]
    return severity.frames(views, name, seed=seed)


def _look(one: Seen) -> Callable[[Image, float], MapCell]:
    """Return what explains a perturbed picture, once for all visitors."""

    def look(pixels: Image, severity: float) -> MapCell:
        clean = one.explanation
        about = explain_once(one.run, pixels, clean.head, clean.label, clean.method, clean.rival)
        best = about.prediction.best
        return MapCell(pixels, about.maps, f"says {best.name} {best.probability:.0%}")

    return look


def player_data(made: Sequence[Frame], sights: Sequence[Seen], name: str, wanted: Wanted) -> dict[str, Any]:
    """Return what the component draws."""
    colors = run_colors([one.run for one in sights])
    stages = list(sights[0].explanation.maps)
    pictures = drawn(made, scale=wanted.scale, strength=wanted.strength)
    return {
        "runs": [{"title": name_of_run(one.run), "color": colors[one.run.id]} for one in sights],
        "columns": [{"name": "Image", "color": ""}, *({"name": s, "color": head_color(s)} for s in stages)],
        "frames": [
            {
                "label": label_of(name, frame.severity),
                "runs": [
                    {"verdict": sight.verdict, "images": [data_uri(jpeg(picture, 80)) for picture in row]}
                    for sight, row in zip(frame.cells, rows, strict=True)
                ],
            }
            for frame, rows in zip(made, pictures, strict=True)
        ],
    }
