"""LAUNCHERS: who starts workers for queued runs. Nothing is imported until a launcher is used."""

import shutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """What a launcher knows of a run and its folder does not say: one line of text for a person.

    ``is_lost`` says that the run waits in the queue for a worker which will never come.
    """

    text: str
    is_lost: bool = False


@dataclass(frozen=True)
class Launcher:
    """A way to get queued runs executed; its functions are ``"module:function"``, called with a run.

    ``function`` gets each run just queued. ``look``, where there is somebody to ask, returns a `Look` at a run or None,
    and changes nothing. ``withdraw`` gets each run just asked to stop, and frees what is reserved for it. ``needs`` is
    a command without which the launcher is of no use here.
    """

    title: str
    function: str
    help: str
    look: str | None = None
    withdraw: str | None = None
    needs: str | None = None


LAUNCHERS: dict[str, Launcher] = {
    "local": Launcher("This machine", "pmsi.launchers.local:submit", "In the background, one run on each device."),
    "slurm": Launcher(
        "Slurm",
        "pmsi.launchers.slurm:submit",
        "Each run as a job of a cluster.",
        look="pmsi.launchers.slurm:look",
        withdraw="pmsi.launchers.slurm:withdraw",
        needs="sbatch",
    ),
}


def available() -> dict[str, Launcher]:
    """Return the launchers that this machine can use."""
    return {name: row for name, row in LAUNCHERS.items() if row.needs is None or shutil.which(row.needs)}
