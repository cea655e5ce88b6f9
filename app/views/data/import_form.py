"""The form that imports pictures (files, an archive, or a folder of the server) as a new data set."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.shared.access import LARGEST_UPLOAD, check_place, is_private, may_read, read_only
from app.shared.errors import changing, plain
from app.shared.picking import SUFFIXES
from app.shared.session import choose, remember
from app.views.data.sources import MARK
from pmsi.base.errors import DataError
from pmsi.data.importing import Imported, Picture, import_dataset, import_files, import_pictures, safe_name
from pmsi.data.readers.archive import check_list
from pmsi.data.readers.archive_rules import LIMITS, Limits
from pmsi.data.uploads import apart

ZIP_LIMITS = Limits(
    entries=50_000, folders=10_000, looked_into=5_000, list_bytes=8 * 10**6, tar_bytes=400 * 10**6, tar_s=2,
    unpacked_bytes=4 * 10**9,
)  # fmt: skip
"""Limits of an uploaded zip; the command line takes larger ones."""

MOST_CLASSES = 50
NAMES = ("blue tit", "great tit", "coal tit", "marsh tit")
"""What names of classes may look like."""
DONE = "import"
"""The session's key of what was imported last."""
LISTED = 20
"""Pictures left out that are named."""

ARCHIVES = ("zip", "tar", "tgz", "gz", "bz2", "xz")
LISTS = ("csv", "tsv", "txt", "jsonl", "mat")
"""Suffixes of files that say the classes of pictures."""

WAYS = {"files": "Pictures", "folder": "A folder of mine", "zip": "A zip or tar", "server": "A folder on the server"}
Work = Callable[[str, Callable[[int, int], None]], Imported]
"""Given the name and what follows the progress, imports."""


def import_form() -> None:
    """Draw the form that makes a new data set."""
    if read_only():
        st.info("This app is read-only: nothing can be imported here.", icon=":material/lock:")
        return
    with st.container(border=True):
        st.markdown(
            "Pictures sorted by class become a data set that can be looked at here and trained on. Each one is opened "
            "once; what cannot be read is left out and listed. Nothing that is there is overwritten."
        )
        way = remember(st.segmented_control, "from", "files", "From", WAYS, required=True)
        work = FORMS[way]()
        name = st.text_input("Name of the new data set", key="import-name", max_chars=80, placeholder="garden-birds")
        ready = work is not None and bool(name.strip())
        if st.button("Import", type="primary", icon=":material/download:", disabled=not ready) and work is not None:
            _work(work, name)
    _last_imported()


def _files() -> Work | None:
    """Ask for the pictures of each class."""
    count = int(st.number_input("Classes", 2, MOST_CLASSES, 2, key="import-classes", width=160))
    given: list[tuple[str, list[UploadedFile]]] = []
    for i in range(count):
        left, right = st.columns([2, 5], vertical_alignment="bottom")
        name = left.text_input(f"Class {i + 1}", key=f"import-class-{i}", placeholder=NAMES[i % len(NAMES)]).strip()
        files = right.file_uploader(
            f"Pictures of class {i + 1}",
            type=SUFFIXES,
            accept_multiple_files=True,
            key=f"import-files-{i}",
            max_upload_size=LARGEST_UPLOAD,
            label_visibility="collapsed",
        )
        given.append((name, files))
    if not all(name and files for name, files in given):
        st.caption("Each class needs a name and two pictures or more.")
        return None
    if len({name.casefold() for name, _ in given}) < len(given):
        st.caption("Two classes have the same name.")
        return None
    return _writer((name, file.name, file) for name, files in given for file in files)


def _folder() -> Work | None:
    """Ask for a folder, which the browser sends file by file; it is read as one on the machine is."""
    files = st.file_uploader(
        "A folder with one folder of pictures for each class",
        type=[*SUFFIXES, *LISTS],
        accept_multiple_files="directory",
        key="import-directory",
        max_upload_size=LARGEST_UPLOAD,
    )
    if not files:
        return None
    column = _reading()["label_column"]

    def work(name: str, progress: Callable[[int, int], None]) -> Imported:
        for file in files:
            if PurePosixPath(file.name).suffix.lower().removeprefix(".") in LISTS:
                check_list(file.name, file.size, ZIP_LIMITS)
        given = ((file.name, file.getvalue()) for file in files)
        with apart(own=is_private()):
            return import_files(given, name, progress=progress, label_column=column)

    return work


def _writer(files: Iterator[tuple[str, str, UploadedFile]]) -> Work:
    given = list(files)

    def work(name: str, progress: Callable[[int, int], None]) -> Imported:
        pictures = (Picture(label, own, file.getvalue()) for label, own, file in given)
        with apart(own=is_private()):
            return import_pictures(pictures, name, progress=progress)

    return work


def _zip() -> Work | None:
    file = st.file_uploader(
        "A zip or tar of class folders: CLASS/*.jpg, or train/CLASS and test/CLASS", type=ARCHIVES, key="import-zip"
    )
    if file is None:
        return None
    reading = _reading()

    def work(name: str, progress: Callable[[int, int], None]) -> Imported:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / (safe_name(file.name) or "upload.zip")
            place.write_bytes(file.getbuffer())
            try:
                with apart(own=is_private()):
                    return import_dataset(place, name, progress=progress, limits=ZIP_LIMITS, **reading)
            except DataError as error:
                raise DataError(str(error).replace(f"{folder}/", "")) from error

    return work


def _reading() -> dict[str, str | None]:
    """Ask for what the files do not say themselves; few need it."""
    left, right = st.columns(2)
    encoding = left.text_input("Encoding of names", key="import-encoding", placeholder="as the files say")
    column = right.text_input("Column of classes", key="import-column", placeholder="by its name, in a list of images")
    return {"encoding": encoding.strip() or None, "label_column": column.strip() or None}


def _server() -> Work | None:
    typed = st.text_input(
        "Folder or zip on the machine that runs the app", key="import-place", placeholder="/data/flowers"
    ).strip()
    if not typed:
        return None
    reading = _reading()

    def work(name: str, progress: Callable[[int, int], None]) -> Imported:
        place = check_place(typed)
        return import_dataset(
            place,
            name,
            progress=progress,
            limits=replace(ZIP_LIMITS, list_bytes=LIMITS.list_bytes, tar_bytes=LIMITS.tar_bytes, tar_s=LIMITS.tar_s),
            allows=may_read,
            **reading,
        )

    return work


FORMS: dict[str, Callable[[], Work | None]] = {"files": _files, "folder": _folder, "zip": _zip, "server": _server}
"""How each of `WAYS` asks for pictures."""


def _work(work: Work, name: str) -> None:
    """Import with a progress bar; the next run of the page shows the result."""
    bar = st.progress(0.0, "Reading …")

    def progress(done: int, total: int) -> None:
        if done == total or done % 10 == 0:
            bar.progress(done / max(total, 1), f"{done:,} of {total:,} images")

    with changing():
        st.session_state[DONE] = work(name, progress)
        st.rerun()
    bar.empty()


def _last_imported() -> None:
    """Show what was imported last, with the way to it and with what was left out."""
    done: Imported | None = st.session_state.get(DONE)
    if done is None:
        return
    st.success(f"{plain(done.folder.name)}: {done.classes} classes, {done.images:,} images.", icon=":material/check:")
    st.caption(plain(f"Read as: {done.read_as}."))
    st.button("Look at it", icon=":material/arrow_forward:", on_click=_look_at, args=(done.folder.name,))
    if done.problems:
        lines = [f"- {plain(problem.key)}: {plain(problem.reason)}" for problem in done.problems[:LISTED]]
        more = len(done.problems) - LISTED
        lines += [f"- and {more:,} more"] if more > 0 else []
        st.warning(f"{len(done.problems):,} left out:\n" + "\n".join(lines), icon=":material/warning:")
    if done.passed_over:
        counts = (f"{count:,} {reason}" for reason, count in sorted(done.passed_over.items()))
        st.caption(plain(f"Other files that were passed over: {', '.join(counts)}."))


def _look_at(name: str) -> None:
    choose("set", MARK + name)
    choose("show", "")
