"""Training runs beside each other: what came of each, and in which settings they differ. No torch; nothing is drawn.

How good a run is at its last epoch and was at its best is read off its result, or, while it works, off its metrics.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from pmsi.base.errors import RunError
from pmsi.base.files import Stamp, stamp
from pmsi.base.text import duration, percent
from pmsi.config import Config, TrainConfig
from pmsi.runs.disk import in_words, size_of
from pmsi.runs.labels import labels_of
from pmsi.runs.lifecycle import State
from pmsi.runs.record import comparable, is_alike
from pmsi.runs.run import Run

Record = Mapping[str, Any]

APART = ("Run", "State", "Output", "Last", "Best", "Time", "Parameters", "Disk")
"""Columns of `text`'s first table."""


@dataclass(frozen=True)
class Outcome:
    """What came of a training run so far. Accuracies are 0–1, of the head ``by``; what is not known is None.

    ``seconds`` were spent on training and testing, ``size`` is in bytes.
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
    """Return the last and the best epoch so far, as a finished run's result has them; None before the first test.

    The deciding head is the last one that is listed: a system lists its heads in the order in which they are made.
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
    """Return `summary` of a run, its metrics read once for as long as they do not change."""
    path = run.folder / "metrics.jsonl"
    changed = stamp(path)
    return _scores(str(run.folder), changed) if any(changed) else None


@lru_cache(maxsize=4096)
def _scores(folder: str, changed: Stamp) -> dict[str, Any] | None:
    try:
        return summary(Run(Path(folder)).metrics())
    except (AttributeError, KeyError, TypeError, IndexError):  # no worker wrote these
        return None


def outcome(run: Run, head: str | None = None) -> Outcome:
    """Return what came of a run, told of one head, by default of the one that decides."""
    scores, result = scores_of(run), run.result() or {}
    about = Outcome(
        run.id, labels_of(run).name, run.state, parameters=result.get("parameters"), size=size_of(run.folder)
    )
    if scores is None:
        return about
    by = head or scores["best"]["by"]
    told: dict[str, Any] = {"by": by, "seconds": result.get("seconds", scores["seconds"])}
    for when in ("last", "best"):
        told |= {when: scores[when]["accuracy"].get(by), f"{when}_epoch": scores[when]["epoch"]}
    return Outcome(**asdict(about) | told)


def training_runs(runs: Iterable[Run]) -> list[Run]:
    """Return the runs as they are, each once; RunError names one that trained nothing."""
    found = list(dict.fromkeys(runs))
    for run in found:
        if not isinstance(run.config, TrainConfig):
            raise RunError(
                f"Run {run.id!r} is no training run but of the task {run.config.task!r}: nothing to compare."
            )
    return found


def apart(configs: Sequence[Config]) -> dict[str, list[Any]]:
    """Return the fields in which configs of one task differ, each with its values in their order."""
    first = configs[0] if configs else TrainConfig()
    values = {about.name: [getattr(config, about.name, None) for config in configs] for about in fields(first)}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def baseline_for(run: Run, runs: Iterable[Run]) -> Run | None:
    """Return the baseline to see a training run beside, or None: the first on the same data that began alike."""
    if not isinstance(run.config, TrainConfig):
        return None
    found = (other for other in comparable(run, runs) if getattr(other.config, "method", "") == "baseline")
    return next((other for other in found if is_alike(run, other)), None)


def as_json(runs: Sequence[Run], head: str | None = None) -> dict[str, Any]:
    """Return runs beside each other as JSON types: ``runs`` in their order, and ``differences`` by field."""
    return {
        "runs": [asdict(outcome(run, head)) for run in runs],
        "differences": apart([run.config for run in runs]),
    }


def text(runs: Sequence[Run], head: str | None = None) -> str:
    """Return runs beside each other as lines: what came of each, then each setting that is not the same for all."""
    outcomes = [outcome(run, head) for run in runs]
    rows = [list(APART), *(_row(each) for each in outcomes)]
    differing = apart([run.config for run in runs])
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
