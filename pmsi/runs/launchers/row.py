"""A row of LAUNCHERS, and what a launcher can tell of a run."""

from collections.abc import Callable
from dataclasses import dataclass

from pmsi.runs.run import Run


@dataclass(frozen=True)
class Look:
    """What a launcher knows of a run and its folder does not say: one line of text for a person.

    ``is_lost`` says that the run waits in the queue for a worker which will never come.
    """

    text: str
    is_lost: bool = False


@dataclass(frozen=True)
class Launcher:
    """A way to get queued runs executed; its functions are called with a run.

    ``submit`` gets each run just queued. ``look``, where there is somebody to ask, returns a `Look` at a run or None,
    and changes nothing. ``withdraw`` gets each run just asked to stop, and frees what is reserved for it. ``needs`` is
    a command without which the launcher is of no use here.
    """

    title: str
    submit: Callable[[Run], None]
    help: str
    look: Callable[[Run], Look | None] | None = None
    withdraw: Callable[[Run], None] | None = None
    needs: str | None = None
