"""Pieces that several pages share: the error panel, the image picker, the run picker. show(…) → value.

They know widgets and the core's types; what a page does with the value is its own affair.
"""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st
from PIL import Image

from app.shared import session
from app.shared.access import LARGEST_UPLOAD
from app.shared.cached_data import open_builtin, open_folder, sample_image
from app.shared.cached_models import stamp_of
from app.shared.errors import error_panel, plain
from app.shared.wording import line_of_run
from pmsi.base.errors import ImageError, PMSIError, RunError

if TYPE_CHECKING:
    from pmsi.data.dataset import Dataset
    from pmsi.runs import Run


# Errors


# Pictures


@dataclass(frozen=True)
class Picked:
    """An image that was chosen. ``key`` is its identity for random draws; ``label`` its class, where that is known."""

    image: Image.Image
    key: str
    title: str
    label: str | None = None


SOURCES = {"sample": "Sample", "data": "Data set", "upload": "Upload"}
SUFFIXES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff")


def image_picker(source: str = "sample", folder: str = "") -> Picked | None:
    """Let the visitor choose an image, and return it; None while there is none.

    ``source`` and ``folder`` are what is offered first. The choice is kept from page to page.
    """
    chosen = session.remember(
        st.segmented_control,
        "source",
        source,
        "Image from",
        list(SOURCES),
        format_func=SOURCES.__getitem__,
        required=True,
        width="stretch",
    )
    if chosen == "upload":
        return _uploaded()
    if chosen == "data":
        return _from_folder(folder)
    dataset = open_builtin()
    return _from_dataset(dataset, "plumage", "Species")


def _uploaded() -> Picked | None:
    file = st.file_uploader(
        "A photo of yours",
        type=SUFFIXES,
        key="picker-upload",
        label_visibility="collapsed",
        max_upload_size=LARGEST_UPLOAD,
    )
    if file is not None:
        from pmsi.data.images import check_file_size, open_rgb_bytes

        data = file.getvalue()
        digest = hashlib.blake2b(data, digest_size=8).hexdigest()
        known = session.kept_upload()
        if known is None or known[2] != digest:
            try:
                check_file_size(len(data), file.name)
                session.keep_upload(file.name, open_rgb_bytes(data, file.name), digest)
            except ImageError as error:
                error_panel(error)
                return None
    known = session.kept_upload()
    if known is None:
        st.caption("JPEG, PNG, WebP, BMP, GIF or TIFF. It stays in this session and is not stored.")
        return None
    name, image, digest = known
    if file is None:
        st.caption(f"Still here: {plain(name)}")
    return Picked(image, f"upload:{digest}", name)


def _from_folder(folder: str) -> Picked | None:
    session.follow("data", "picker-data", folder, lambda value: isinstance(value, str))
    place = st.text_input(
        "Folder",
        key="picker-data",
        placeholder="/data/CUB_200_2011",
        help="A folder on the machine that runs the app: CUB-200-2011's layout, or a folder of images for each class.",
    ).strip()
    session.keep("data", place)
    if not place:
        st.caption("CUB-200-2011's layout, or one folder of images for each class.")
        return None
    try:
        return _from_dataset(open_folder(place), place, "Class")
    except PMSIError as error:
        error_panel(error)
        return None


def _from_dataset(dataset: "Dataset", place: str, kind: str) -> Picked | None:
    """Let the visitor choose a class, then one of its images; test images come first."""
    samples = {sample.key: sample for sample in (*dataset.test, *dataset.train)}
    wanted = samples.get(session.choice("image")) or next(iter(samples.values()))
    names = dataset.classes
    linked = session.moved("image")
    if linked or st.session_state.get("picker-class") not in names:
        st.session_state["picker-class"] = names[wanted.label]
    left, right = st.columns([3, 2], gap="small", wrap=False)
    name = left.selectbox(kind, names, key="picker-class")
    keys = [key for key, sample in samples.items() if names[sample.label] == name]
    if not keys:
        st.caption("This class has no images.")
        return None
    if linked or st.session_state.get("picker-image") not in keys:
        st.session_state["picker-image"] = wanted.key if wanted.key in keys else keys[0]
    numbers = {key: i + 1 for i, key in enumerate(keys)}
    key = right.selectbox("Image", keys, key="picker-image", format_func=lambda key: f"{numbers[key]} of {len(keys)}")
    session.keep("image", key)
    image = sample_image(dataset, place, key)
    return Picked(image, key, f"{name}, image {numbers[key]}", name)


# Runs


def trained_runs() -> "list[Run]":
    """Return the training runs that have a checkpoint, newest first; those that came with the program come last."""
    from pmsi.config import TrainConfig
    from pmsi.runs import default_root, known_runs

    found = []
    for run in known_runs(default_root()):
        with contextlib.suppress(RunError):
            if isinstance(run.config, TrainConfig) and stamp_of(run):
                found.append(run)
    return found


def run_picker(runs: "Sequence[Run]", label: str = "Run", name: str = "run", none: str = "") -> "Run | None":
    """Let the visitor choose one of ``runs``; with ``none`` (its label) also no run."""
    by_id = {run.id: run for run in runs}
    titles = {run.id: line_of_run(run, st.context.timezone) for run in runs}
    options = ["", *by_id] if none else list(by_id)
    wanted = session.choice(name)
    if wanted and wanted not in by_id:
        st.caption(f"Run {plain(wanted)} has no checkpoint here; another one is shown.")
    chosen = session.remember(
        st.selectbox, name, options[0], label, options, format_func=lambda id: titles.get(id, none)
    )
    session.keep(name, chosen)
    return by_id.get(chosen)


def run_colors(runs: "Sequence[Run]") -> dict[str, str]:
    """Return the colour of each of ``runs`` by id: the same on every page, and different as long as ten suffice.

    A run's colour goes by its place among all runs, the oldest first, so that a new run changes nobody's. Of two that
    meet, the later one takes the next that is free.
    """
    from app.shared.palette import spread
    from pmsi.runs import default_root, known_runs

    order = [run.id for run in reversed(known_runs(default_root()))]
    return spread({run.id: order.index(run.id) if run.id in order else len(order) for run in runs})


def start_of_picker(run: "Run | None") -> tuple[str, str]:
    """Return the source and the folder that `image_picker` offers first beside a run: its own data set."""
    config = getattr(run, "config", None)
    folder = getattr(config, "data", None)
    return ("data", folder) if folder else ("sample", "")


def no_runs_yet(what: str, title: str = "No trained model yet") -> None:
    """Say calmly that there is nothing to show yet, with the way to a trained model."""
    from app.shared.run_session import page_of

    live = _training_run()
    with st.container(border=True, horizontal_alignment="center", gap="medium"):
        st.subheader(title, anchor=False, text_alignment="center")
        if live is not None:
            words = f"{what} One is being trained now, and can be used here after its first epoch."
            st.markdown(words, text_alignment="center")
            st.page_link(page_of("runs"), label="Watch it", icon=":material/monitoring:", query_params={"run": live.id})
            return
        words = f"{what} The quick preset trains a model on the built-in birds in about three minutes."
        st.markdown(words, text_alignment="center")
        if st.button("Train a model", type="primary", icon=":material/model_training:"):
            st.switch_page(page_of("train"))


def _training_run() -> "Run | None":
    """Return the training run that is worked on, or will be next."""
    from pmsi.config import TrainConfig
    from pmsi.runs import default_root, list_runs

    for run in reversed(list_runs(default_root())):
        with contextlib.suppress(RunError):
            if run.state.is_live and isinstance(run.config, TrainConfig):
                return run
    return None
