"""LAUNCHERS: the ways to start workers for queued runs."""

import shutil

from pmsi.runs.launchers import local, slurm
from pmsi.runs.launchers.row import Launcher

LAUNCHERS: dict[str, Launcher] = {
    "local": Launcher("This machine", local.submit, "In the background, one run on each device."),
    "slurm": Launcher(
        "Slurm",
        slurm.submit,
        "Each run as a job of a cluster.",
        status=slurm.status,
        withdraw=slurm.withdraw,
        needs="sbatch",
    ),
}


def available() -> dict[str, Launcher]:
    """Return the launchers whose command is installed on this machine."""
    return {name: row for name, row in LAUNCHERS.items() if row.needs is None or shutil.which(row.needs)}
