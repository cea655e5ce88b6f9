"""LAUNCHERS: who starts workers for queued runs. Nothing is imported until a launcher is used."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Launcher:
    """A way to get queued runs executed. ``function`` is ``"module:function"``, called with each run just queued."""

    title: str
    function: str
    help: str


LAUNCHERS: dict[str, Launcher] = {
    "local": Launcher("This machine", "pmsi.launchers.local:submit", "One run at a time, in the background."),
}
