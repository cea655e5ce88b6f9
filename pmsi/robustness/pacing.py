"""How long a sweep will take on this machine: as an earlier one of these runs went, or by a trial on a few images.

An estimate, and no more: it does not know how busy the machine will be. Times are in seconds. Importing this imports
no torch; a trial (`pmsi.robustness.trial`) does.
"""

import contextlib
from collections import Counter
from pathlib import Path

from pmsi.base.errors import RunError
from pmsi.base.files import read_json
from pmsi.config import RobustnessConfig
from pmsi.robustness.cells import CLEAN, cells_of
from pmsi.runs import Run, State, list_runs

SPEED = ("device", "threads", "workers")
"""Settings that decide how fast the same work is done."""


def estimate(config: RobustnessConfig, root: Path) -> float:
    """Return how long a sweep takes from start to end: `known`, or else what a trial says, which takes seconds itself.

    Raises what the sweep itself would at its start: a run or a data set that is not there.
    """
    seconds = known(config, root)
    if seconds is not None:
        return seconds
    from pmsi.robustness.trial import tried

    return tried(config, root)


def known(config: RobustnessConfig, root: Path) -> float | None:
    """Return how long a sweep takes at the pace of the newest finished one that can tell; None where none can.

    It has to be of the same runs, computed on a device asked for in the same way, and know each of the perturbations.
    """
    for run in list_runs(root):
        with contextlib.suppress(RunError):  # a damaged one tells nothing
            earlier = run.config if run.state is State.FINISHED else None
            if isinstance(earlier, RobustnessConfig) and _tells(earlier, config):
                pace, images = _pace(run, earlier), _images(run, earlier, config.test_per_class)
                if pace is not None and images is not None:
                    return pace * images * len(cells_of(config))
    return None


def _tells(earlier: RobustnessConfig, config: RobustnessConfig) -> bool:
    alike = all(getattr(earlier, name) == getattr(config, name) for name in SPEED)
    return alike and {*earlier.of} == {*config.of} and _names(config) <= _names(earlier)


def _names(config: RobustnessConfig) -> set[str | None]:
    return {cell.perturbation for cell in cells_of(config)}


def _pace(run: Run, config: RobustnessConfig) -> float | None:
    """Return the seconds of a finished sweep for each image and cell, by its last heartbeat.

    Not by its beginning and end: a sweep that was stopped and resumed lay idle in between.
    """
    beat = read_json(run.folder / "progress.json") or {}
    labels = _labels(run)
    if not labels or not beat.get("rate") or not beat.get("total"):
        return None
    return float(beat["total"] / beat["rate"] / (len(labels) * len(cells_of(config))))


def _images(run: Run, earlier: RobustnessConfig, limit: int | None) -> int | None:
    """Return how many test images a sweep has under a limit for each class; None where an earlier one saw too few."""
    if earlier.test_per_class is not None and (limit is None or limit > earlier.test_per_class):
        return None
    return sum(count if limit is None else min(count, limit) for count in Counter(_labels(run)).values())


def _labels(run: Run) -> list[int]:
    return list((read_json(run.folder / CLEAN.file) or {}).get("labels", ()))
