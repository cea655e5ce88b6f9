"""Maps under rising severity: frames that are computed once and played in the browser, without asking the server.

`player` shows what it is given; the frames are the maps of one class, that of the clean image, on perturbed pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app.images import enlarged
from app.maps_grid import data_uri
from app.maps_rows import Seen, Wanted
from app.palette import head_color
from app.panels import Picked, run_colors
from app.resources import explain_once, part
from app.session import remember
from app.wording import name_of_run

if TYPE_CHECKING:
    from PIL.Image import Image

    from pmsi.predictor import Explanation

FRAMES = 8
"""Steps from the clean image to the strongest one, where severities are not whole numbers."""
SIDE = 256


@dataclass(frozen=True)
class Frame:
    """One severity: by run the perturbed picture and what is explained of it."""

    severity: float
    sights: "tuple[tuple[Image, Explanation], ...]"


def motion(picked: Picked, sights: Sequence[Seen], wanted: Wanted) -> None:
    """Show the choice of a perturbation, the player, and the download."""
    from pmsi.perturbations import PERTURBATIONS

    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = remember(
            st.selectbox,
            "perturbation",
            "gaussian_noise",
            "Perturbation",
            list(PERTURBATIONS),
            format_func=lambda name: f"{PERTURBATIONS[name].title} · {PERTURBATIONS[name].family}",
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
    st.download_button(
        "Download GIF",
        lambda: gif(made, sights, name, wanted),
        file_name=f"maps-{name}.gif",
        mime="image/gif",
        icon=":material/animation:",
        on_click="ignore",
    )


def severities(name: str) -> list[float]:
    """Return the severities of the frames, from 0 (clean) to the strongest of a sweep."""
    from pmsi.perturbations import PERTURBATIONS

    row = PERTURBATIONS[name]
    strongest = max(row.levels)
    if row.whole:
        return [float(severity) for severity in np.unique(np.linspace(0, strongest, FRAMES + 1).round())]
    return [strongest * step / FRAMES for step in range(FRAMES + 1)]


def frames(picked: Picked, sights: Sequence[Seen], name: str, seed: int) -> list[Frame]:
    """Return what each run makes of an image at each severity, for the class that it explains on the clean one."""
    from pmsi.perturbations import perturb

    found = []
    for severity in severities(name):
        row = []
        for one in sights:
            pixels, _ = perturb(one.picture, name, severity, seed=seed, key=picked.key)
            about, key = one.explanation, repr((picked.key, name, severity, seed))
            row.append((pixels, explain_once(one.run, pixels, key, about.head, about.label, about.method)))
        found.append(Frame(severity, tuple(row)))
    return found


def drawn(made: Sequence[Frame], wanted: Wanted) -> "list[list[list[Image]]]":
    """Return by frame and run the pictures: the perturbed image, then its stages over it.

    Colours end at each map's own peak where the scale says so, else at a stage's largest peak over all frames.
    """
    from pmsi.explain.overlay import overlay

    tops = {
        (j, stage): max(float(frame.sights[j][1].maps[stage].max()) for frame in made) or 1.0
        for j, (_, about) in enumerate(made[0].sights)
        for stage in about.maps
    }
    found = []
    for frame in made:
        rows = []
        for j, (pixels, about) in enumerate(frame.sights):
            shown = enlarged(pixels, SIDE).resize((SIDE, SIDE))
            maps = [
                overlay(shown, values / (((values.max() or 1.0)) if wanted.scale == "map" else tops[j, stage]),
                        wanted.strength)
                for stage, values in about.maps.items()
            ]  # fmt: skip
            rows.append([shown, *maps])
        found.append(rows)
    return found


def label_of(name: str, severity: float) -> str:
    """Return a severity in words."""
    from pmsi.perturbations import PERTURBATIONS

    row = PERTURBATIONS[name]
    return f"{row.symbol} = {severity:g}" + ("" if severity else " (clean)")


def player_data(made: Sequence[Frame], sights: Sequence[Seen], name: str, wanted: Wanted) -> dict[str, Any]:
    """Return what the component draws."""
    colors = run_colors([one.run for one in sights])
    stages = list(sights[0].explanation.maps)
    return {
        "runs": [{"title": name_of_run(one.run), "color": colors[one.run.id]} for one in sights],
        "columns": [{"name": "Image", "color": ""}, *({"name": s, "color": head_color(s)} for s in stages)],
        "frames": [
            {
                "label": label_of(name, frame.severity),
                "runs": [
                    {"verdict": _says(about), "images": [data_uri(picture, 80) for picture in pictures]}
                    for (_, about), pictures in zip(frame.sights, rows, strict=True)
                ],
            }
            for frame, rows in zip(made, drawn(made, wanted), strict=True)
        ],
    }


def _says(about: "Explanation") -> str:
    best = about.prediction.best
    return f"says {best.name} {best.probability:.0%}"


def gif(made: Sequence[Frame], sights: Sequence[Seen], name: str, wanted: Wanted) -> bytes:
    """Return the frames as a GIF."""
    from pmsi.explain.motion import strip, to_gif
    from pmsi.perturbations import PERTURBATIONS

    title = PERTURBATIONS[name].title
    strips = [
        strip(rows, f"{title}, {label_of(name, frame.severity)}")
        for frame, rows in zip(made, drawn(made, wanted), strict=True)
    ]
    return to_gif(strips)
