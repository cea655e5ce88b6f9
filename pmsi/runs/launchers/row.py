"""Launcher, a row of LAUNCHERS, and LauncherStatus, its status of a run."""

from collections.abc import Callable
from dataclasses import dataclass

from pmsi.runs.run import Run


@dataclass(frozen=True)
class LauncherStatus:
    """A launcher's status of a run in one line, such as "Slurm job 12: pending".

    ``is_lost``: the run is queued, but no worker will ever start.
    """

    text: str
    is_lost: bool = False


@dataclass(frozen=True)
class Launcher:
    """A way to get queued runs executed; its functions are called with a run.

    ``submit`` is called for a run just queued. ``status`` returns a launcher's status of a run, or None, and changes
    nothing. ``withdraw`` is called for a run just asked to stop, and frees what is reserved for it. ``needs`` is a
    command that must be installed.
    """

    title: str
    submit: Callable[[Run], None]
    help: str
    status: Callable[[Run], LauncherStatus | None] | None = None
    withdraw: Callable[[Run], None] | None = None
    needs: str | None = None
