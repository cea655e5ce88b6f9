"""The augmentations side by side: RMG, Jigsaw, CutMix, Mixup and SnapMix of one image."""

from collections.abc import Callable

import streamlit as st
import torch
from PIL.Image import Image
from torch import Tensor

from app.shared.cached_data import open_builtin, sample_image
from app.shared.cached_models import explain_once, predictor_of
from app.shared.errors import plain
from app.shared.images import Figure, figure_grid
from app.shared.panels import Picked, run_picker, trained_runs
from app.shared.session import remember
from app.shared.wording import name_of_run
from app.views.mosaic.code import Scene, beside_command
from pmsi.augment import AUGMENTATIONS
from pmsi.base.text import percent
from pmsi.data.dataset import Dataset, Sample
from pmsi.pictures.augmentations import ORDER, Augmented, augmented
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.mosaics import square as squared
from pmsi.runs import Run


def beside(scene: Scene) -> None:
    """Draw every augmentation of the image, its partner, and what each shows of the labels."""
    picked, square, shown = scene.picked, scene.square, scene.drawn
    dataset = picked.dataset or open_builtin()
    r, sample, run = _settings(dataset, picked)
    image, name = sample_image(dataset, sample), dataset.classes[sample.label]
    partner = squared(image, square.width)
    attention, asked = _attention(run, picked, image, name)
    figures = [Figure(jpeg(partner), f"The partner, {name}", "Partner", name)]
    for row in ORDER:
        look = attention if AUGMENTATIONS[row].attends else None
        made = augmented(row, square, partner, r, seed=shown.seed, permutation=shown.permutation, attention=look)
        title = AUGMENTATIONS[row].title
        words = f"r = {r}, its own label" if not made.partner else _shares(made, picked, name)
        figures.append(Figure(jpeg(made.picture), f"{picked.title} after {title}, {words}", title, words))
    st.html(figure_grid(figures, "max(140px, 14.5%)"))
    st.caption(
        "All five fill the phases before the last one, which always shows the raw image. CutMix and Mixup share the "
        f"labels by area and by weight; SnapMix by what a network sees in the two boxes: {plain(asked)}"
    )
    if picked.place:  # the command takes both images from one data set
        words = beside_command(shown, sample.key, r, run.id if run and attention else None)
        st.code(words, language="bash", wrap_lines=True)


def _settings(dataset: Dataset, picked: Picked) -> tuple[int, Sample, Run | None]:
    """Return r of the phase, the partner, and the run that SnapMix asks."""
    others = [name for name in dataset.classes if name != picked.label]
    first = {dataset.classes[sample.label]: sample for sample in (*dataset.train, *dataset.test)[::-1]}
    others = [name for name in others if name in first]
    runs = trained_runs()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        r = remember(st.segmented_control, "r", 2, "Recursions r", [1, 2, 3], required=True)
        name = remember(st.selectbox, "partner", others[0], "Mixed with", others, width=260)
        run = run_picker(runs, "SnapMix asks") if runs else None
    return int(r), first[name], run


def _shares(made: Augmented, picked: Picked, partner: str) -> str:
    return f"{percent(made.own)} {picked.label or 'this image'}, {percent(made.partner)} {partner}"


def _attention(run: Run | None, picked: Picked, other: Image, name: str) -> tuple[Callable[[], Tensor] | None, str]:
    """Return the function of a run's maps of both classes, and its source in words."""
    if run is None:
        return None, "no model is trained yet, so every place counts alike here."
    classes = predictor_of(run).classes
    if name not in classes or (picked.label is not None and picked.label not in classes):
        return None, f"{name_of_run(run)} was not trained on both classes, so every place counts alike here."
    pairs = ((picked.image, picked.label), (other, name))
    return lambda: _maps(run, pairs), f"here the Grad-CAM of S5 of {name_of_run(run)}."


def _maps(run: Run, pairs: tuple[tuple[Image, str | None], ...]) -> Tensor:
    """Return (2, h, w): the evidence for each image's own class; of an unknown one, for the class that is predicted."""
    predictor = predictor_of(run)
    found = []
    for image, label in pairs:
        number = None if label is None else predictor.class_number(label)
        seen = explain_once(run, predictor.prepare(image), predictor.primary, number)
        found.append(torch.from_numpy(seen.maps["S5"]))
    return torch.stack(found)
