"""Comparison of training runs: accuracies, time, size, and the settings in which they differ.

Accuracies at the last and the best epoch come from a run's result or, while it runs, from its metrics. Does not import
torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from pmsi.base.errors import RunError
from pmsi.base.text import duration, percent
from pmsi.config import Config, TrainConfig
from pmsi.runs.disk import in_words, size_of
from pmsi.runs.labels import labels_of
from pmsi.runs.lifecycle import State
from pmsi.runs.run import Run

Record = Mapping[str, Any]

COLUMNS = ("Run", "State", "Output", "Last", "Best", "Time", "Parameters", "Disk")
"""Columns of the first table of `text`."""


@dataclass(frozen=True)
class Outcome:
    """The accuracies and costs of a training run so far; None where unknown.

    Accuracies are 0–1, of the head ``by``; ``seconds`` is the time of training and testing, ``size`` is in bytes.
    """

    id: str
    name: str
    state: State
    by: str | None = None
    last: float | None = None
    last_epoch: int | None = None
    best: float | None = None
    best_epoch: int | None = None
    seconds: float | None = None
    parameters: int | None = None
    size: int = 0


def summary(records: Iterable[Record]) -> dict[str, Any] | None:
    """Return the last and the best epoch so far, in the form of a finished run's result; None before the first test.

    The primary head is the last one listed.
    """
    epochs = [record for record in records if record.get("kind") == "epoch"]
    if not epochs:
        return None
    primary = list(epochs[-1]["accuracy"])[-1]
    best = max(epochs, key=lambda record: record["accuracy"].get(primary) or 0.0)
    keys = ("epoch", "accuracy")
    return {
        "last": {key: epochs[-1][key] for key in keys},
        "best": {key: best[key] for key in keys} | {"by": primary},
        "seconds": epochs[-1].get("seconds"),
    }


def scores_of(run: Run) -> dict[str, Any] | None:
    """Return the `summary` of a run; cached until its metrics change. None if there is nothing to read."""
    path = run.folder / "metrics.jsonl"
    try:
        about = path.stat()
    except OSError:
        return None
    return _scores(str(run.folder), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4096)
def _scores(folder: str, changed: int, size: int) -> dict[str, Any] | None:
    try:
        return summary(Run(Path(folder)).metrics())
    except (AttributeError, KeyError, TypeError, IndexError):  # the file is damaged
        return None


def outcome(run: Run, head: str | None = None) -> Outcome:
    """Return the outcome of a run for one head, by default the primary one."""
    scores, result = scores_of(run), run.result() or {}
    about = Outcome(
        run.id, labels_of(run).name, run.state, parameters=result.get("parameters"), size=size_of(run.folder)
    )
    if scores is None:
        return about
    by = head or scores["best"]["by"]
    values: dict[str, Any] = {"by": by, "seconds": result.get("seconds", scores["seconds"])}
    for when in ("last", "best"):
        values |= {when: scores[when]["accuracy"].get(by), f"{when}_epoch": scores[when]["epoch"]}
    return Outcome(**asdict(about) | values)


def training_runs(runs: Iterable[Run]) -> list[Run]:
    """Return the runs without duplicates; raises RunError if one is not a training run."""
    found = list(dict.fromkeys(runs))
    for run in found:
        if not isinstance(run.config, TrainConfig):
            raise RunError(
                f"Run {run.id!r} is a {run.config.task!r} run: only training runs can be compared. Leave it out."
            )
    return found


def differing_settings(configs: Sequence[Config]) -> dict[str, list[Any]]:
    """Return the fields in which configs of one task differ, each with the values of all configs, in order."""
    first = configs[0] if configs else TrainConfig()
    values = {about.name: [getattr(config, about.name, None) for config in configs] for about in fields(first)}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def baseline_for(run: Run, runs: Iterable[Run]) -> Run | None:
    """Return the baseline run on the same data set with the fewest differing settings; None if there is none."""
    config = run.config
    if not isinstance(config, TrainConfig):
        return None
    found = []
    for other in runs:
        try:
            known = other.config
        except RunError:
            continue
        of_same = isinstance(known, TrainConfig) and known.method == "baseline" and known.dataset == config.dataset
        if of_same and other.id != run.id and scores_of(other) is not None:
            found.append(other)
    return min(found, key=lambda other: len(differing_settings([config, other.config])), default=None)


def as_json(runs: Sequence[Run], head: str | None = None) -> dict[str, Any]:
    """Return the comparison as JSON types: ``runs`` in order, and ``differences`` by field."""
    return {
        "runs": [asdict(outcome(run, head)) for run in runs],
        "differences": differing_settings([run.config for run in runs]),
    }


def text(runs: Sequence[Run], head: str | None = None) -> str:
    """Return the comparison as text: a table of outcomes, then a table of the settings that differ."""
    outcomes = [outcome(run, head) for run in runs]
    rows = [list(COLUMNS), *(_row(each) for each in outcomes)]
    differing = differing_settings([run.config for run in runs])
    if not differing:
        return "\n".join([*_aligned(rows), "", "All settings are the same."])
    named = [["Run", *differing]]
    named += [[run.id, *(str(values[i]) for values in differing.values())] for i, run in enumerate(runs)]
    columns = [list(column) for column in zip(*named, strict=True)]  # one line for each setting
    return "\n".join([*_aligned(rows), "", *_aligned(columns)])


def _row(about: Outcome) -> list[str]:
    best = "–" if about.best is None else f"{percent(about.best)} (epoch {about.best_epoch})"
    return [
        f"{about.id} {about.name}".rstrip(),
        about.state.value,
        about.by or "–",
        percent(about.last),
        best,
        "–" if about.seconds is None else duration(about.seconds),
        "–" if about.parameters is None else f"{about.parameters / 1e6:.2f} M",
        in_words(about.size),
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
