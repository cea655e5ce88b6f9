"""The task "robustness": the checks before a sweep starts, and the sweep as a run."""

from pathlib import Path
from typing import Any

from pmsi.base.errors import ConfigError
from pmsi.config import RobustnessConfig
from pmsi.robustness.cells import cells_of
from pmsi.runs import Run
from pmsi.runs.record import why_not_together


def check(config: RobustnessConfig, root: Path) -> None:
    """Raise if a sweep cannot start: a run has no model or is in training, or the runs have different test images."""
    from pmsi.engine.checkpoint import find_checkpoint

    if not config.of:
        raise ConfigError("of is empty: name at least one training run. `pmsi runs list` shows those there are.")
    cells_of(config)
    runs = [Run.open(root, id) for id in config.of]
    for run in runs:
        find_checkpoint(run)
        if run.state.is_live:
            raise ConfigError(f"Run {run.id} is {run.state.value}, so its model changes. Wait for its end, or stop it.")
    for other in runs[1:]:
        if reasons := why_not_together(runs[0], other, config.test_per_class is not None, config.insist):
            raise ConfigError(" ".join(["These runs cannot be swept together.", *reasons]))


def sweep(config: RobustnessConfig, run: Run) -> dict[str, Any]:
    """Return the result of the task "robustness": of every cell of ``config``, for every run that it names.

    Raises ConfigError for unknown names, severities out of range, or runs with different data.
    """
    check(config, run.folder.parent)  # before torch is imported and models and images are loaded
    from pmsi.robustness.sweep import work

    return work(config, run)
