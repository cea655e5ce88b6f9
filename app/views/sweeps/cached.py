"""Cached results of sweeps, and their perturbed images."""

from app.shared.cached_data import open_set
from app.shared.memory import once
from pmsi.base.files import stamp
from pmsi.pictures.encoding import jpeg
from pmsi.robustness import Cell
from pmsi.robustness.results import SweepResults, read_results
from pmsi.runs import Run


def results_once(run: Run) -> SweepResults:
    """Return a sweep as far as it is finished, read once for all visitors."""
    files = (run.folder / name for name in ("metrics.jsonl", "report.json"))
    return once(("sweep", str(run.folder), *map(stamp, files)), lambda: read_results(run), line=None)


def sweep_picture_once(results: SweepResults, index: int, name: str | None = None, severity: float = 0.0) -> bytes:
    """Return what the runs of a sweep were shown of an image in a cell, as JPEG, made once for all visitors."""
    dataset, key = open_set(results.trained), results.report["keys"][index]
    about = ("swept", index, name, severity, str(results.run.folder), key, results.digests.get(key))
    return once(about, lambda: jpeg(results.picture(dataset, index, Cell(name, severity))), line=None)
