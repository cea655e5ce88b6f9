"""Sweeps as they are told, and the pictures that they showed."""

from typing import TYPE_CHECKING

import streamlit as st

from app.shared.cached_data import open_set

if TYPE_CHECKING:
    from pmsi.robustness.reading import Told
    from pmsi.runs import Run


@st.cache_resource(show_spinner=False, max_entries=8)
def _told(_run: "Run", *of: object) -> "Told":
    from pmsi.robustness.reading import tell

    return tell(_run)


def told_once(run: "Run") -> "Told":
    """Return a sweep as far as it is finished, read once for all visitors."""
    files = (run.folder / name for name in ("metrics.jsonl", "report.json"))
    return _told(run, str(run.folder), *(file.stat().st_mtime_ns if file.exists() else 0 for file in files))


@st.cache_data(show_spinner=False, max_entries=2048)
def _sweep_picture(_told: "Told", folder: str, index: int, name: str | None, severity: float) -> bytes:
    from pmsi.pictures.encoding import jpeg
    from pmsi.robustness import Cell

    return jpeg(_told.shown(open_set(_told.trained), index, Cell(name, severity)))


def sweep_picture_once(told: "Told", index: int, name: str | None = None, severity: float = 0.0) -> bytes:
    """Return what the runs of a sweep were shown of an image in a cell, as JPEG, made once for all visitors."""
    return _sweep_picture(told, str(told.run.folder), index, name, severity)
