"""The image that the pages are about: which one is chosen, and the dialog in which another is.

A choice is its source and its key, in the session and in the address. Uploads and photos are in the session alone.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st
from PIL.Image import Image

from app.shared import session
from app.shared.access import LARGEST_UPLOAD
from app.shared.cached_data import data_of_run, open_builtin, open_folder, thumbnail_once
from app.shared.errors import guarded, plain
from app.shared.panels import BUILT_IN, OF_RUN, Picked, own_source
from app.shared.wording import with_names
from pmsi.base.errors import DataError, PMSIError
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.uploads import open_upload
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.sheets import thumbnail
from pmsi.runs import Run

UPLOADS, MOST_UPLOADS = "uploads", 24
"""The session's key of the visitor's own pictures, by digest, the newest last; and how many are kept."""
TAKEN = "uploads-taken"
"""The session's key of the files that were taken from a field: one that is removed does not come back from it."""
PREFIX = "upload:"
"""How the key of an upload begins."""
SUFFIXES = ("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff")
PER_PAGE = 24
SIDE, WIDTH = 224, 104
"""Pixels of a small picture, for screens with two for each, and how wide it is shown."""
EVERY = ""
EXAMPLES = 8


@dataclass(frozen=True)
class Source:
    """Where images come from: its title, its data set with a place and query parameters, and what chooses in it."""

    title: str
    find: Callable[[Run | None], tuple[Dataset, str, dict[str, str]] | None]
    choose: Callable[[Run | None], None]


def picked_image(run: Run | None) -> Picked | None:
    """Return the image that is chosen, else the first one there is; None, with the reason said, where there is none.

    Beside a ``run`` whose images no other source has, these come first.
    """
    source = session.choice("source")
    if source not in SOURCES or (source == OF_RUN and _own(run) is None):
        source = OF_RUN if _own(run) else "sample"
    if source in ("upload", "camera"):
        return _uploaded()
    with guarded():
        if found := SOURCES[source].find(run):
            dataset, place, query = found
            if sample := _sample(dataset):
                take(source, sample.key)
                return Picked.of(dataset, sample, place=place, **query)
    return None


def linked_label(runs: Sequence[Run]) -> str | None:
    """Return the class of the image that the link or another page names, where it is one of a data set."""
    source, key = SOURCES.get(session.choice("source", "sample")), session.choice("image")
    run = next((run for run in runs if run.id == session.choice("run")), None)
    with contextlib.suppress(PMSIError):
        if source is not None and key and (found := source.find(run)):
            return found[0].classes[found[0].find(key).label]
    return None


def take(source: str, key: str) -> None:
    """Choose an image; always in the address, so that the way back leads to this very one."""
    session.keep("source", source)
    session.keep("image", key)


def uploads() -> dict[str, tuple[str, Image]]:
    """Return the visitor's own pictures, (name, image) by digest, the newest last."""
    found: dict[str, tuple[str, Image]] = st.session_state.setdefault(UPLOADS, {})
    return found


def keep_upload(name: str, data: bytes) -> str:
    """Keep a file of the visitor, and return its key; raises ImageError for what is no picture."""
    digest = hashlib.blake2b(data, digest_size=8).hexdigest()
    kept = uploads()
    kept[digest] = kept.pop(digest, None) or (name, open_upload(data, name))
    for old in list(kept)[:-MOST_UPLOADS]:
        del kept[old]
    return PREFIX + digest


def as_picked(digest: str) -> Picked:
    """Return one of the visitor's own pictures."""
    name, image = uploads()[digest]
    return Picked(image, PREFIX + digest, name, query={"source": "upload", "image": PREFIX + digest})


def _uploaded() -> Picked | None:
    digest = session.choice("image").removeprefix(PREFIX)
    gone = session.choice("image").startswith(PREFIX) and digest not in uploads()
    if gone:
        st.info("Your upload is gone: it was in this page's memory alone. Choose it again.", icon=":material/image:")
        return None
    if not uploads():
        return None
    return as_picked(digest if digest in uploads() else next(reversed(uploads())))


def _sample(dataset: Dataset) -> Sample | None:
    """Return the chosen sample of a data set, or the first one, which is said where a link names another."""
    wanted, linked = session.choice("image"), session.moved("image")
    if wanted:
        try:
            return dataset.find(wanted)
        except DataError:
            if linked:
                st.caption("The image that the link names is not among these; another one is shown.")
    return next(iter(dataset.samples), None)


# What is chosen from


def _own(run: Run | None) -> Run | None:
    return own_source(run) if run is not None else None


def _of_run(run: Run | None) -> tuple[Dataset, str, dict[str, str]] | None:
    if (own := _own(run)) is None:
        return None
    return data_of_run(own).dataset, own.config.data or "", {"source": OF_RUN, "run": own.id}


def _of_folder(run: Run | None) -> tuple[Dataset, str, dict[str, str]] | None:
    place = session.choice("data")
    return (_folder(place), place, {"source": "data", "data": place}) if place else None


def _folder(place: str) -> Dataset:
    """Return the data set in a folder, read as the Data page was told to, where that is the folder there."""
    told = [
        session.choice(name) if place == session.choice("data") else "" for name in ("name_encoding", "label_column")
    ]
    return open_folder(place, *told)


def _choose_of_run(run: Run | None) -> None:
    assert run is not None
    found = data_of_run(run)
    if found.reasons:
        st.caption(plain(with_names(found.reasons, run)))
    _grid(OF_RUN, found.dataset)


def _choose_in_folder(run: Run | None) -> None:
    help = "A folder on the machine that runs the app: a published data set's layout, or a folder for each class."
    place = st.text_input("Folder", session.choice("data"), placeholder="/data/CUB_200_2011", help=help)
    if place.strip():
        dataset = _folder(place.strip())
        session.keep("data", place.strip())
        _grid("data", dataset)


def _choose_photo(run: Run | None) -> None:
    photo = st.camera_input("A photo", key="picker-camera", label_visibility="collapsed")
    if photo is not None:
        take("camera", keep_upload(photo.name, photo.getvalue()))
        st.rerun()


def _choose_upload(run: Run | None) -> None:
    if added := own_pictures("picker"):
        take("upload", added[0])
        st.rerun()


def own_pictures(place: str) -> list[str]:
    """Let the visitor add pictures and remove them; return the keys of new ones, if all of the files are pictures.

    ``place`` makes the widgets' keys differ.
    """
    files = st.file_uploader(
        "Pictures of yours",
        type=SUFFIXES,
        accept_multiple_files=True,
        key=f"{place}-upload",
        label_visibility="collapsed",
        max_upload_size=LARGEST_UPLOAD,
    )
    st.caption("JPEG, PNG, WebP, BMP, GIF or TIFF. They stay in this session and are not stored.")
    taken, added = st.session_state.setdefault(TAKEN, set()), []
    new = [file for file in files if file.file_id not in taken]
    for file in new:
        with guarded():
            added.append(keep_upload(file.name, file.getvalue()))
            taken.add(file.file_id)
    for digest in reversed(uploads()):
        _own_picture(digest, place)
    return added if len(added) == len(new) else []


def _own_picture(digest: str, place: str) -> None:
    name, image = uploads()[digest]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.image(small_once(image), width=40, output_format="JPEG", alt=name)
        if st.button(plain(name), key=f"{place}-use-{digest}", type="tertiary", help="Choose this one"):
            take("upload", PREFIX + digest)
            st.rerun()
        words = {"label": "Remove", "icon": ":material/delete:", "key": f"{place}-remove-{digest}"}
        st.button(type="tertiary", on_click=_remove, args=(digest,), **words)


def _remove(digest: str) -> None:
    uploads().pop(digest, None)
    if session.choice("image") == PREFIX + digest:
        take("sample", "")


SOURCES: dict[str, Source] = {
    OF_RUN: Source("The run's images", _of_run, _choose_of_run),
    "sample": Source(
        "Samples",
        lambda run: (open_builtin(), BUILT_IN, {"source": "sample"}),
        lambda run: _grid("sample", open_builtin()),
    ),
    "data": Source("Data set", _of_folder, _choose_in_folder),
    "camera": Source("Camera", lambda run: None, _choose_photo),
    "upload": Source("Upload", lambda run: None, _choose_upload),
}
"""Where images come from, by their name in the address."""


# The dialog


@st.dialog("Choose an image", width="large", icon=":material/image:")
def choose_image(run: Run | None) -> None:
    """Let the visitor choose an image: an example, a sample, one of a data set, a photo, or an upload."""
    _examples()
    titles = {name: source.title for name, source in SOURCES.items() if name != OF_RUN or _own(run)}
    now = session.choice("source")
    source = st.segmented_control(
        "Image from",
        list(titles),
        default=now if now in titles else next(iter(titles)),
        format_func=titles.get,
        required=True,
        key="picker-source",
        label_visibility="collapsed",
    )
    with guarded():
        SOURCES[source].choose(run)


@guarded()
def _examples() -> None:
    dataset = open_builtin()
    first = {sample.label: sample for sample in reversed(dataset.test)}
    st.caption("Examples")
    _tiles("sample", dataset, [first[label] for label in sorted(first)][:EXAMPLES], "example")


def _grid(source: str, dataset: Dataset) -> None:
    """Let the visitor choose a class, or see one image of each, and then an image; test images come first."""
    now = next((one.label for one in dataset.samples if one.key == session.choice("image")), None)
    names = [EVERY, *dataset.classes]
    start = names.index(dataset.classes[now]) if now is not None else 0
    title = f"One of each of {len(dataset.classes)} classes"
    left, right = st.columns([4, 1], wrap=False)
    name = left.selectbox("Class", names, start, format_func=lambda name: name or title, key=f"picker-class-{source}")
    if name == EVERY:
        shown: Sequence[Sample] = list({one.label: one for one in reversed(dataset.samples)}.values())[::-1]
    else:
        shown = [one for one in dataset.samples if dataset.classes[one.label] == name]
    pages = max(1, -(-len(shown) // PER_PAGE))
    number = 1
    if pages > 1:
        number = int(right.number_input(f"Page of {pages}", 1, pages, key=f"picker-page-{source}-{name}"))
    if not shown:
        st.caption("None of its images is there any more.")
    _tiles(source, dataset, shown[(number - 1) * PER_PAGE : number * PER_PAGE], "grid")


def _tiles(source: str, dataset: Dataset, samples: Sequence[Sample], group: str) -> None:
    """Show small pictures, of which a click chooses one."""
    with st.container(horizontal=True, gap="small"):
        for sample in samples:
            # The style sheet lays a tile's button over its picture.
            with st.container(width=WIDTH, gap="xsmall", key=f"tile-pick-{group}-{sample.key}"):
                name = dataset.classes[sample.label]
                with guarded():
                    small = thumbnail_once(dataset, sample, SIDE)
                    st.image(small, width=WIDTH, output_format="JPEG", alt=f"{name}, {sample.key}")
                if st.button(plain(name), key=f"pick-{group}-{sample.key}", type="tertiary", width="stretch"):
                    take(source, sample.key)
                    st.rerun()


def small_once(image: Any) -> bytes:
    """Return a small square of an image as JPEG, for the bar."""
    return jpeg(thumbnail(image, 80), quality=80)
