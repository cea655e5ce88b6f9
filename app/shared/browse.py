"""A browser of the folders that visitors may read, which fills in the text field of a path."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

import streamlit as st

from app.shared.access import check_place, may_read, starting_places
from app.shared.errors import guarded, plain

MOST, MOST_LOOKED_AT = 200, 5000
"""Entries of a folder that are listed, and that are looked at: a folder of a million photos opens at once."""

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
"""Suffixes of the files that can be chosen as data."""


def browse(key: str, suffixes: Sequence[str] = (), folders: bool = True) -> None:
    """Draw the button that opens the browser; what is chosen there becomes the value of the text field ``key``.

    ``suffixes`` are those of files that can be chosen; without ``folders``, folders only lead to files. To be drawn
    before the field.
    """
    with st.popover("Browse …", icon=":material/folder_open:"), guarded():
        at = f"{key}-at"
        start = st.session_state.get(at) or _near(st.session_state.get(key) or "")
        if start is None:
            st.write("Choose where to begin.")
        else:
            _folder(key, at, check_place(start), suffixes, folders)
        for place in starting_places():
            _step(at, place, f"{place.name or place} :small[{plain(str(place.parent))}]", ":material/home_storage:")


def _near(path: str) -> str | None:
    """Return the folder of a path that was typed, if there is one."""
    place = Path(path).expanduser() if path.startswith("~") else Path(path)
    found = place if place.is_dir() else place.parent
    return str(found) if path and found.is_absolute() and found.is_dir() else None


def _folder(key: str, at: str, place: Path, suffixes: Sequence[str], folders: bool) -> None:
    names, files, pictures, more = _listed(place, suffixes)
    st.markdown(f"**{plain(str(place))}**")
    about = [f"{len(names)} folders", f"{pictures} pictures"]
    st.caption(" · ".join(about) + (f" · only the first {MOST_LOOKED_AT} entries were looked at" if more else ""))
    if folders:
        st.button(
            "Use this folder",
            type="primary",
            key=f"{at}-use",
            on_click=_choose,
            args=(key, str(place)),
            width="stretch",
        )
    with st.container(height=260, gap="xxsmall"):
        if place != place.parent and may_read(place.parent):
            _step(at, place.parent, "One up", ":material/arrow_upward:")
        for name in names[:MOST]:
            _step(at, place / name, plain(name), ":material/folder:")
        for name in files[:MOST]:
            st.button(
                plain(name),
                key=f"{at}-file-{name}",
                icon=":material/draft:",
                type="tertiary",
                on_click=_choose,
                args=(key, str(place / name)),
            )


def _listed(place: Path, suffixes: Collection[str]) -> tuple[list[str], list[str], int, bool]:
    """Return a folder's folders, its files to choose, its number of pictures, and whether it has more."""
    names, files, pictures = [], [], 0
    with os.scandir(place) as entries:
        for count, entry in enumerate(entries):
            if count == MOST_LOOKED_AT:
                return sorted(names), sorted(files), pictures, True
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                names.append(entry.name)
            elif entry.name.lower().endswith(tuple(suffixes) or "/"):
                files.append(entry.name)
            pictures += entry.name.lower().endswith(PICTURES)
    return sorted(names), sorted(files), pictures, False


def _step(at: str, place: Path, label: str, icon: str) -> None:
    def go() -> None:
        st.session_state[at] = str(place)

    st.button(label, key=f"{at}-{place}-{icon}", icon=icon, type="tertiary", on_click=go)


def _choose(key: str, value: str) -> None:
    st.session_state[key] = value
