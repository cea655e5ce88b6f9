"""Training runs beside each other: what came of each, in which settings they differ, and whether they can be compared.

Accuracies at the last and the best epoch come from a run's result or, while it runs, from its metrics. Does not import
torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from pmsi.base.errors import RunError
from pmsi.base.files import cached_by_files
from pmsi.base.text import aligned, duration, percent
from pmsi.config import Config, TrainConfig
from pmsi.config.titles import method_title
from pmsi.runs.disk import in_words, size_of
from pmsi.runs.labels import labels_of
from pmsi.runs.lifecycle import State
from pmsi.runs.record import comparable, is_alike, record_of, why_not_comparable
from pmsi.runs.run import Run

Record = Mapping[str, Any]

COLUMNS = ("Run", "State", "Output", "Last", "Best", "At epoch", "Time", "Parameters", "On disk")
"""Columns of the first table of `text`."""


@dataclass(frozen=True)
class Outcome:
    """The accuracies and costs of a training run so far; None where unknown.

    Accuracies are 0–1, of the head ``by``; ``seconds`` is the time of training and testing, ``size`` is in bytes.
    ``best_on`` is what is to be said of the best epoch (`chosen_on`).
    """

    id: str
    name: str
    state: State
    by: str | None = None
    last: float | None = None
    last_epoch: int | None = None
    best: float | None = None
    best_epoch: int | None = None
    best_on: str = ""
    seconds: float | None = None
    parameters: int | None = None
    size: int = 0


def chosen_on(best: Record) -> str:
    """Return "on test" where a best epoch was chosen on the test images, so that it flatters; else ""."""
    return "" if best.get("on") == "validation" else "on test"


def best_epoch(epochs: Sequence[Record], primary: str) -> dict[str, Any]:
    """Return epoch and accuracies of the best of some epochs' records by the head ``primary``, and what it was chosen
    on: the validation part, or where there is none the test images.
    """

    def worth(record: Record) -> float:
        return (record.get("validation") or record)["accuracy"].get(primary) or 0.0

    best = max(epochs, key=worth)
    on = "validation" if best.get("validation") else "test"
    return {"epoch": best["epoch"], "accuracy": best["accuracy"], "by": primary, "on": on}


def summary(records: Iterable[Record]) -> dict[str, Any] | None:
    """Return the last and the best epoch so far, in the form of a finished run's result; None before the first test.

    The primary head is the last one listed.
    """
    epochs = [record for record in records if record.get("kind") == "epoch" and record["accuracy"]]
    if not epochs:
        return None
    primary = list(epochs[-1]["accuracy"])[-1]
    tested = [record for record in epochs if primary in record["accuracy"]]
    return {
        "last": {key: epochs[-1][key] for key in ("epoch", "accuracy")},
        "best": best_epoch(tested, primary),
        "seconds": epochs[-1].get("seconds"),
    }


@cached_by_files(lambda run: [run.folder / "metrics.jsonl"])
def scores_of(run: Run) -> dict[str, Any] | None:
    """Return the `summary` of a run; None if there is nothing to read."""
    try:
        return summary(run.metrics())
    except RunError:  # the file is damaged
        return None


def outcome(run: Run, head: str | None = None) -> Outcome:
    """Return the outcome of a run for one head, by default the primary one."""
    scores, result = scores_of(run), run.result() or {}
    about: dict[str, Any] = {"id": run.id, "name": labels_of(run).name, "state": run.state}
    about |= {"parameters": result.get("parameters"), "size": size_of(run.folder)}
    if scores is None:
        return Outcome(**about)
    by = head or scores["best"]["by"]
    values: dict[str, Any] = {
        "by": by,
        "best_on": chosen_on(scores["best"]),
        "seconds": result.get("seconds", scores["seconds"]),
    }
    for when in ("last", "best"):
        values |= {when: scores[when]["accuracy"].get(by), f"{when}_epoch": scores[when]["epoch"]}
    return Outcome(**about | values)


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


def incomparable(runs: Sequence[Run]) -> list[str]:
    """Return in words why the accuracies of some of the runs cannot be compared with the first's, or may not be."""
    found = [reason for other in runs[1:] for reason in why_not_comparable(runs[0], other)]
    unknown = [run for run in runs if record_of(run) is None] if len(runs) > 1 else []
    return found + [f"What run {run.id} was trained on is unknown: it has no record of its data." for run in unknown]


def as_json(runs: Sequence[Run], head: str | None = None) -> dict[str, Any]:
    """Return runs beside each other as JSON types.

    ``runs`` are in their order, ``differences`` by field; ``incomparable`` says why accuracies cannot be compared.
    """
    return {
        "runs": [asdict(outcome(run, head)) for run in runs],
        "differences": differing_settings([run.config for run in runs]),
        "incomparable": incomparable(runs),
    }


def text(runs: Sequence[Run], head: str | None = None) -> str:
    """Return runs beside each other as lines: what came of each, then each setting that is not the same for all.

    At the end stands why accuracies cannot be compared, where they cannot.
    """
    rows = [list(COLUMNS), *(_row(run, outcome(run, head)) for run in runs)]
    differing = differing_settings([run.config for run in runs])
    if "method" in differing:
        differing["method"] = [*map(method_title, differing["method"])]
    named = [["Run", *differing]]
    named += [[run.id, *(str(values[i]) for values in differing.values())] for i, run in enumerate(runs)]
    columns = [list(column) for column in zip(*named, strict=True)]  # one line for each setting
    settings = aligned(columns) if differing else ["All settings are the same."]
    reasons = incomparable(runs)
    return "\n".join([*aligned(rows), "", *settings, *([""] if reasons else []), *reasons])


def _row(run: Run, about: Outcome) -> list[str]:
    config = run.config
    title = method_title(config.method) if isinstance(config, TrainConfig) else ""
    return [f"{about.id} {about.name or title}", *cells(about)]


def cells(about: Outcome) -> list[str]:
    """Return what came of a run, in words, for `COLUMNS` from the second one."""
    return [
        about.state.value,
        about.by or "–",
        percent(about.last),
        percent(about.best),
        "–" if about.best_epoch is None else f"{about.best_epoch} {about.best_on}".rstrip(),
        "–" if about.seconds is None else duration(about.seconds),
        "–" if about.parameters is None else f"{about.parameters / 1e6:.2f} M",
        in_words(about.size),
    ]
