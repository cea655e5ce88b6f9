"""Cached results of sweeps, and their perturbed images."""

import streamlit as st

from app.shared.cached_data import open_set
from pmsi.base.files import stamp
from pmsi.pictures.encoding import jpeg
from pmsi.robustness import Cell
from pmsi.robustness.results import SweepResults, read_results
from pmsi.runs import Run


@st.cache_resource(show_spinner=False, max_entries=8)
def _results(_run: Run, *of: object) -> SweepResults:
    return read_results(_run)


def results_once(run: Run) -> SweepResults:
    """Return a sweep as far as it is finished, read once for all visitors."""
    files = (run.folder / name for name in ("metrics.jsonl", "report.json"))
    return _results(run, str(run.folder), *map(stamp, files))


@st.cache_data(show_spinner=False, max_entries=2048)
def _sweep_picture(_results: SweepResults, index: int, name: str | None, severity: float, *of: object) -> bytes:
    return jpeg(_results.picture(open_set(_results.trained), index, Cell(name, severity)))


def sweep_picture_once(results: SweepResults, index: int, name: str | None = None, severity: float = 0.0) -> bytes:
    """Return what the runs of a sweep were shown of an image in a cell, as JPEG, made once for all visitors."""
    key = results.report["keys"][index]
    return _sweep_picture(results, index, name, severity, str(results.run.folder), key, results.digests.get(key))
