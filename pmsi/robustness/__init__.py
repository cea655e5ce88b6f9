"""A sweep: the accuracy of one or more training runs on perturbed test images, the same pixels for each of them.

A sweep is a list of cells, each one perturbation at one severity; the first is the clean images. Each image is decoded,
resized and cropped once (as far as memory allows), perturbed once for each cell, and shown to every run that sees
images of that size. Importing this package imports no torch.

    cells     which there are
    models  the runs, and the test images that they share
    showing   the perturbed images
    answering inference, several batches at a time
    sweeping  from the first unfinished cell on, what every head answers
    report    what all cells say together
    reading   a sweep read back; confusion: the images behind a number
    export    rows and CSV; page, drawing: the report as one HTML file
"""

from pathlib import Path
from typing import Any

from pmsi.base.errors import ConfigError
from pmsi.config import RobustnessConfig
from pmsi.robustness.cells import CLEAN, Cell, cells_of
from pmsi.runs import Run

__all__ = ["CLEAN", "Cell", "cells_of", "check", "sweep"]


def check(config: RobustnessConfig, root: Path) -> None:
    """Raise what would keep a sweep from starting: no runs or runs without a model, or cells that do not exist."""
    from pmsi.engine.checkpoint import find_checkpoint

    if not config.of:
        raise ConfigError("of is empty: name at least one training run. `pmsi runs list` shows those there are.")
    cells_of(config)
    for id in config.of:
        find_checkpoint(Run.open(root, id))


def sweep(config: RobustnessConfig, run: Run) -> dict[str, Any]:
    """The task "robustness": every cell of ``config`` for every run that it names, from the first unfinished cell on.

    Raises ConfigError where names or severities do not exist, or the runs were not trained on the same data.
    """
    check(config, run.folder.parent)  # what is wrong shall not wait for torch, models and images
    from pmsi.robustness.sweeping import work

    return work(config, run)
