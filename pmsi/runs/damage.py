"""What the files of a run folder look like, and what is wrong with a folder in which one does not.

Anybody may write into a run folder, and a disk may fail. A damaged run is listed with its reason, can be looked at,
deleted and restored, and takes part in nothing else: `pmsi.runs.run.known_runs` leaves it out.
"""

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from pmsi.base.errors import ConfigError
from pmsi.base.files import LARGE, Stamp, open_regular, parse_json, read_file, read_json, stamp, unpack
from pmsi.base.shapes import Number, Shape, misfit
from pmsi.base.text import shortened
from pmsi.config import Config, from_json

MOMENT = Number(0, 4e9)
"""Seconds since 1970; the year 2096 is the last one."""

COUNT, SHARE, NUMBER = Number(0, whole=True), (Number(0, 1), None), Number()
HEADS = {str: SHARE}
LAUNCHED = {"at?": MOMENT, "first?": MOMENT, "launcher?": (str, None), "cwd?": (str, None), "needs?": COUNT}
FAILED = {"at?": MOMENT, "kind?": str, "message?": str, "remedy?": str, "final?": bool, "launch?": str}

RESULT: Shape = {
    "last?": {"epoch": COUNT, "accuracy": HEADS},
    "best?": {"epoch": COUNT, "accuracy": HEADS, "by": str, "on?": str},
    "accuracy?": (HEADS, None),
    "class_accuracy?": {str: SHARE},
    "classes?": [str],
    "passed_over?": {str: COUNT},
    "data?": ([str], {str: [str]}),
    "weights?": (str, None),
    "primary?": (str, {str: str}),
    "stages?": [str],
    "seconds?": NUMBER,
    "tolerance?": NUMBER,
} | {
    f"{name}?": COUNT
    for name in (
        "train_images", "test_images", "validation_images", "skipped_images", "skipped", "images", "parameters"
    )
}  # fmt: skip
"""The fields of a task's result that more than the view of that task reads."""

SHAPES: dict[str, Shape] = {
    "queued": LAUNCHED,
    "started": LAUNCHED,
    "stop": {"at?": MOMENT, "grace_s?": Number(0), "back_to?": (str, None)},
    "progress.json": {
        "done?": COUNT, "total?": COUNT, "text?": str, "at?": MOMENT, "rate?": Number(0), "pause?": (Number(0), None)
    },
    "result.json": {"at?": MOMENT, "result?": RESULT},
    "stopped.json": {"at?": MOMENT, "hard?": bool},
    "error.json": FAILED,
    "labels.json": {"name?": str, "tags?": [str], "note?": str},
    "deleted.json": {"at": MOMENT},
    "calibration.json": {
        "model": str, "on": str, "images": COUNT, "temperatures": {str: Number(1e-3, 1e3)},
        "thresholds": {str: {str: NUMBER}},
    },
    "slurm.json": {"job": str, "at": MOMENT, "uid": COUNT},
}  # fmt: skip

CELL = {"accuracy": SHARE, "low": SHARE, "high": SHARE}
RECORDS: dict[str, Shape] = {
    "loss": {"epoch": NUMBER, "losses": {str: (NUMBER, None)}},
    "epoch": {"epoch": NUMBER, "accuracy": HEADS, "seconds?": NUMBER, "validation?": {"accuracy": HEADS}},
    "cell": {
        "perturbation": (str, None),
        "severity": NUMBER,
        "runs": {str: {"primary": str, "heads": {str: CELL}, "mcnemar?": SHARE}},
    },
}
"""The shapes of metrics records, by kind; other kinds may hold anything."""

METRICS, CHECKPOINT = "metrics.jsonl", "checkpoints/last.safetensors"
TAIL_BYTES = 1 << 18
"""Bytes of the metrics that are looked at for each run of a list; all of them are where they are read."""

RECORD = "data.json.gz"
"""The record of a run's data, whose checksum alone is looked at here; `pmsi.data.record` reads it."""

LOST_IN_A_POWER_CUT = ("progress.json", "stop")
"""Files that are written without waiting for the disk: one that holds nonsense is no sign of damage."""

PLAIN = (
    "config.json",
    *SHAPES,
    "lock",
    ".change",
    METRICS,
    "log.txt",
    "predictions.json",
    "theatre.json",
    RECORD,
    CHECKPOINT,
)
"""Names in a run folder that only a regular file may have; not all of them are read here."""

CHECKS: list[Callable[[Config], None]] = []
"""What rooms above this one know to ask of a config: that the rows that it names exist. Each raises a ConfigError."""


def read(path: Path) -> dict[str, Any] | None:
    """Return the content of a file of SHAPES; None where there is none, or a damaged one."""
    value = read_json(path)
    return value if value is not None and misfit(value, SHAPES[path.name]) is None else None


def damage_of(folder: Path) -> str | None:
    """Return what is wrong with a run folder and what to do about it; None if nothing is."""
    if any("\ud800" <= letter <= "\udfff" for letter in folder.name):  # as Python writes bytes that are no UTF-8
        return "The name of its folder is no text. Rename the folder."
    for name in PLAIN:
        path = folder / name
        changed = stamp(path)
        reason = _seen(str(path), changed, len(CHECKS)) if any(changed) else _look(path)
        if reason is not None:
            return f"Its {name} cannot be read: {reason.rstrip('.')}. Repair or remove that file, or delete the run."
    return None


@lru_cache(maxsize=1 << 16)
def _seen(path: str, _changed: Stamp, _checks: int) -> str | None:
    return _look(Path(path))


def _look(path: Path) -> str | None:
    """Return in a line what is wrong with a file of a run."""
    try:
        return _damage(path)
    except FileNotFoundError:
        return "it is missing" if path.name == "config.json" else None
    except OSError as error:
        return error.strerror or str(error)
    except (ValueError, ConfigError) as error:
        return shortened(str(error), 300)


def _damage(path: Path) -> str | None:
    """Return or raise what is wrong with a file of a run."""
    if path.name == "config.json":
        config = from_json(read_file(path))
        for check in CHECKS:
            check(config)
    elif path.name in SHAPES and path.name not in LOST_IN_A_POWER_CUT:
        return misfit(_object(parse_json(read_file(path))), SHAPES[path.name])
    elif path.name == RECORD:
        unpack(read_file(path, LARGE))
    elif path.name == METRICS:
        return next(filter(None, (metrics_record(line)[1] for line in _tail(path))), None)
    else:
        open_regular(path).close()
    return None


def metrics_record(line: bytes) -> tuple[dict[str, Any] | None, str | None]:
    """Return the record in a line of the metrics and what is wrong with it; neither of a line cut short by a crash."""
    try:
        record = parse_json(line)
    except ValueError:
        return None, None
    if not isinstance(record, dict):
        return None, None
    return record, misfit(record, RECORDS.get(str(record.get("kind")), {}))


def _tail(path: Path) -> list[bytes]:
    """Return the last lines of a file, without the one that begins before them."""
    with open_regular(path) as file:
        start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
        file.seek(start)
        return file.read().splitlines()[start > 0 :]


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("expected a JSON object")
    return value
