"""TRACKERS: programs such as TensorBoard that get a copy of the numbers in ``metrics.jsonl``.

A tracker gets each record after the run has logged it. When a resumed run repeats steps, their numbers are replaced.
"""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pmsi.base.errors import ConfigError, lookup
from pmsi.config import TrainConfig

EVENTS = "tensorboard"
"""The folder of TensorBoard's event files within a run's."""


class Writer(Protocol):
    """An open tracker."""

    def write(self, values: dict[str, float], step: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Tracker:
    """A row of TRACKERS: ``open(folder, config, step)`` starts or resumes at ``step``; ``package`` is imported."""

    open: Callable[[Path, TrainConfig, int], Writer]
    package: str
    install: str


class TensorBoard:
    """Event files beside the metrics: ``tensorboard --logdir RUNS`` shows all runs of a folder."""

    def __init__(self, folder: Path, config: TrainConfig, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / EVENTS), purge_step=step + 1 if step else None)

    def write(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class MLflow:
    """A run of MLflow, at the server or folder that MLFLOW_TRACKING_URI names; its name is the run's id."""

    def __init__(self, folder: Path, config: TrainConfig, step: int) -> None:
        import mlflow

        self._mlflow = mlflow
        known = mlflow.search_runs(
            search_all_experiments=True, filter_string=f"tags.pmsi_run = '{folder.name}'", output_format="list"
        )
        self._run = mlflow.start_run(
            run_id=known[0].info.run_id if known else None,
            run_name=None if known else folder.name,
            tags=None if known else {"pmsi_run": folder.name},
        )
        if not known:
            mlflow.log_params(config.to_dict())

    def write(self, values: dict[str, float], step: int) -> None:
        self._mlflow.log_metrics(values, step=step)

    def close(self) -> None:
        self._mlflow.end_run()


TRACKERS: dict[str, Tracker] = {
    "tensorboard": Tracker(TensorBoard, "tensorboard", "pip install tensorboard"),
    "mlflow": Tracker(MLflow, "mlflow", "pip install mlflow"),
}

BY_DEFAULT = ("tensorboard",)
"""Trackers that are skipped if they are not installed; for any other, that is an error."""


def check_trackers(names: Sequence[str]) -> None:
    """Raise ConfigError if a tracker other than those `BY_DEFAULT` is not installed."""
    for name in names:
        row = lookup("tracker", TRACKERS, name)
        if not _is_installed(row) and name not in BY_DEFAULT:
            raise ConfigError(f"The tracker {name!r} needs a package that is not installed. Run: {row.install}")


def _is_installed(row: Tracker) -> bool:
    return importlib.util.find_spec(row.package) is not None


class Trackers:
    """The open trackers of a run; those of these names that are not installed are left out."""

    def __init__(self, names: Sequence[str], folder: Path, config: TrainConfig, step: int) -> None:
        rows = [lookup("tracker", TRACKERS, name) for name in names]
        self._writers = [row.open(folder, config, step) for row in rows if _is_installed(row)]

    def write(self, record: dict[str, Any]) -> None:
        """Write a record of the metrics to all trackers."""
        for writer in self._writers:
            writer.write(dict(numbers(record)), record["step"])

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


def numbers(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a record by name: losses and rates in training, accuracy and loss of each head in tests, and
    on the validation part.
    """
    kind = "train" if record["kind"] == "loss" else "test"
    for name, value in record.items():
        if name == "validation":
            yield from ((f"validation/{number}/{head}", x) for number, by in value.items() for head, x in by.items())
        elif isinstance(value, dict):
            yield from ((f"{kind}/{name}/{head}", float(number)) for head, number in value.items())
        elif name.startswith("lr_"):
            yield f"{kind}/{name}", float(value)
