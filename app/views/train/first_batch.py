"""The first batch of a training run as the network's input, a row for each phase."""

from html import escape

import streamlit as st

from app.shared.batch_pictures import SeenPhase, batch_once
from app.shared.errors import guarded
from app.shared.palette import head_color
from app.shared.session import remember
from pmsi.config import TrainConfig
from pmsi.pictures.encoding import data_uri

MOST, SIDE = 8, 160
"""Images shown of each phase, and their side in pixels."""


@st.fragment
@guarded()
def first_batch_panel(config: TrainConfig, ready: bool) -> None:
    """Draw the switch, and below it what the first batch shows in each phase."""
    wanted = remember(
        st.toggle,
        "batch",
        False,
        "Show the first batch as the network sees it",
        help="The images of the first batch in every phase, with this seed's order, crops, flips and mosaics, before "
        "normalisation. Reads the data set.",
    )
    if not wanted:
        return
    if not ready:
        st.caption("The first batch is shown once the settings above are complete.")
        return
    phases = batch_once(config, most=MOST, side=SIDE)
    st.html("".join(map(_row, phases)))
    if len(phases[0].images) < config.batch_size:
        st.caption(f"{len(phases[0].images)} of the {config.batch_size} images of the batch.")
    st.caption("As a picture: the command below with `--first-batch FILE.png`.")


def _row(phase: SeenPhase) -> str:
    what = f"mosaics with r = {phase.r}" if phase.r else "the whole images"
    weight = f", loss × {phase.weight:g}" if phase.weight != 1 else ""
    figures = "".join(_figure(phase, image, word) for image, word in zip(phase.images, phase.words, strict=True))
    title = f"{escape(phase.head)} <span>· r = {phase.r}{weight}</span>"
    label = escape(f"Phase of {phase.head}: {what}", quote=True)
    return (
        f'<section class="phase" aria-label="{label}"><h4 style="border-color:{head_color(phase.head)}">{title}</h4>'
        f"<div>{figures}</div></section>"
    )


def _figure(phase: SeenPhase, image: bytes, word: str) -> str:
    alt = escape(f"{word}, as the phase of {phase.head} shows it", quote=True)
    return f'<figure><img src="{data_uri(image)}" alt="{alt}"><figcaption>{escape(word)}</figcaption></figure>'
