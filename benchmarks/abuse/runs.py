"""Hostile files of runs, and what the list of runs and the pages read."""

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.abuse.kind import MB, Kind
from benchmarks.abuse.mutation import mutated
from pmsi.base.errors import PMSIError
from pmsi.runs import Run, known_runs
from pmsi.runs.listing import entries
from pmsi.runs.mistakes import has_predictions, read_predictions
from pmsi.runs.record import record_of

FILES = (
    "config.json", "metrics.jsonl", "result.json", "progress.json", "labels.json", "predictions.json", "error.json",
    "stopped.json", "data.json.gz",
)  # fmt: skip
HOSTILE: tuple[Callable[[random.Random], str], ...] = (
    lambda draw: draw.choice("[{") * 200_000,
    lambda draw: "9" * draw.choice((400, 5000, 10**6)),
    lambda draw: json.dumps({"task": "train", draw.choice(("seed", "epochs", "data", "method")): draw.choice(ODD)}),
    lambda draw: json.dumps([draw.choice(ODD)] * draw.choice((1, 1000, 100_000))),
    lambda draw: "\n".join([json.dumps({"kind": "epoch", "epoch": draw.choice(ODD)})] * 1000),
    lambda draw: json.dumps({"keys": ["a"] * 10, "labels": draw.choice(ODD), "predicted": {"mix": draw.choice(ODD)}}),
    lambda draw: "x" * draw.choice((0, 10**5, 30 * MB)),
)
ODD: tuple[object, ...] = (
    None, -1, 1e308, float("nan"), "", "x" * 10_000, [], {}, [[[]]], True, 10**400, "\u202e\0\x1b[2J",
)  # fmt: skip


def run_file(draw: random.Random, folder: Path) -> Path:
    """Write a runs folder with one run, of which one file is hostile."""
    shipped = next(iter(known_runs(folder)))
    run = folder / "runs" / "20300101-000000-train-pmr-plumage-0000"
    run.mkdir(parents=True)
    for name in FILES:
        if (shipped.folder / name).exists():
            shutil.copy(shipped.folder / name, run / name)
    name = draw.choice(FILES)
    path = run / name
    old = path.read_bytes() if path.exists() else b"{}"
    made = mutated(draw, old) if draw.random() < 0.5 else draw.choice(HOSTILE)(draw).encode(errors="surrogatepass")
    path.unlink(missing_ok=True)
    if draw.random() < 0.03:
        os.mkfifo(path)
    else:
        path.write_bytes(made)
    return path


def _answers(run: Run) -> object:
    return has_predictions(run) and read_predictions(run)


def list_runs(path: Path) -> None:
    """Read what the list of runs and the pages read."""
    found = entries(run for run in known_runs(path.parents[1], damaged=True) if run.folder == path.parent)
    for entry in found:
        run = entry.run
        for read in (Run.status, Run.metrics, Run.result, record_of, _answers):
            with contextlib.suppress(PMSIError):
                read(run)
    if len(found) != 1:
        raise AssertionError("the run is not listed")


RUNS = Kind(500, run_file, list_runs, 100 * MB, 2)
