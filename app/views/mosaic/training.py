"""One image of a training batch in every phase, as the network's input."""

import shlex

import streamlit as st

from app.shared.batch_pictures import SeenPhase, batch_once
from app.shared.cached_data import open_set
from app.shared.errors import plain
from app.shared.fields import title_of
from app.shared.glossary import meaning
from app.shared.images import Figure, figure_grid
from app.shared.palette import head_color
from app.shared.panels import trained_runs
from app.shared.session import choose, remember
from app.shared.wording import data_title, name_of_run
from app.views.mosaic.code import Scene, data_of
from pmsi.config import TrainConfig
from pmsi.data.dataset import Dataset
from pmsi.methods import METHODS
from pmsi.pictures.phases import batch_keys, place_of

SEEN = 256
"""Side of the pictures of a batch, in pixels, at most."""


def training(scene: Scene) -> None:
    """Draw the phases of one image of one batch, for a method or for a run."""
    config, settings = _config(scene.picked.place, scene.drawn.seed)
    if scene.picked.sample is None:
        st.caption(f"A picture of yours is in no batch: these images are those of {data_title(config)}.")
    dataset = open_set(config)
    epoch, batch, number = _which(config, dataset, scene.picked.key)
    phases = batch_once(config, epoch, batch, most=config.batch_size, side=SEEN)
    figures = (_figure(i, phase, number) for i, phase in enumerate(phases, start=1))
    st.html(figure_grid(figures, "max(150px, 22%)"))
    _words(config, phases, epoch, batch)
    words = ["pmsi", "phases", *settings, "--epoch", str(epoch + 1), "--batch", str(batch + 1), "--out", "batch.png"]
    st.code(shlex.join(words), language="bash", wrap_lines=True)


def _config(place: str, seed: int) -> tuple[TrainConfig, list[str]]:
    """Return the config that the visitor has chosen: a method's, on the data set of the image, or that of a run.

    Second, what names it on the command line.
    """
    runs = {run.id: run for run in trained_runs()}
    chosen = remember(
        st.selectbox,
        "like",
        "pmr",
        "Training as in",
        [*METHODS, *runs],
        format_func=lambda name: name_of_run(runs[name]) if name in runs else title_of(METHODS, name),
        help=f"A method with the paper's settings and this page's seed, or a run with its own. {meaning('phase')}",
        width=420,
    )
    if chosen in runs:
        return runs[chosen].config, [chosen]
    kind, data = data_of(place)
    words = ["--method", chosen, "--seed", str(seed), "--dataset", kind, *(["--data", data] if data else [])]
    return TrainConfig(dataset=kind, data=data, method=chosen, seed=seed), words


def _which(config: TrainConfig, dataset: Dataset, key: str) -> tuple[int, int, int]:
    """Return epoch, batch and place in the batch, which count from 0 (those on the page from 1)."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        epoch = int(remember(st.number_input, "epoch", 1, "Epoch", 1, config.epochs, width=130)) - 1
        batches = batch_keys(config, dataset, epoch)
        batch = remember(st.number_input, "nth", 1, f"Batch of {len(batches)}", 1, max(1, len(batches)), width=150)
        size = config.batch_size
        number = remember(st.number_input, "place", 1, f"Image of {size}", 1, size, width=150)
        found = place_of(key, batches)
        if found:
            st.button(
                "Find my image",
                icon=":material/my_location:",
                on_click=_go_to,
                args=found,
                help="It is a training image: show the batch of this epoch in which it comes.",
            )
    return epoch, int(batch) - 1, int(number) - 1


def _go_to(batch: int, number: int) -> None:
    choose("nth", str(batch + 1))
    choose("place", str(number + 1))


def _figure(phase_number: int, phase: SeenPhase, number: int) -> Figure:
    seen_as = "the whole image" if phase.r == 0 else f"r = {phase.r}"
    words = f"{seen_as} · {phase.words[number]}"
    alt = f"What phase {phase_number} shows to train {phase.head}, {words}"
    return Figure(phase.images[number], alt, f"Phase {phase_number} · {phase.head}", words, head_color(phase.head))


def _words(config: TrainConfig, phases: list[SeenPhase], epoch: int, batch: int) -> None:
    """Say what is seen, and what cannot be known before training."""
    text = (
        f"Seed {config.seed}, epoch {epoch + 1}, batch {batch + 1}, {config.image_size} × {config.image_size} px: "
        "resized, cropped at random, flipped and augmented as in training, before normalisation. Each phase is a step "
        "of its own, on the head whose name and colour it bears."
    )
    if any(not phase.weighed for phase in phases):
        text += " Pixels are exact; how much each label counts depends on where the network looks by then."
    st.caption(plain(text))
