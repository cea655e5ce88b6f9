"""The files that come with the program: the paper's printed numbers, the demo runs, the app and its styles."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

CHECKOUT: Path | None = None if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent
"""The folder from which ``pmsi`` is imported without being installed as a copy; None where it is installed."""

ASSETS = _PACKAGE / "assets" if CHECKOUT is None else CHECKOUT / "assets"
"""The folder of the paper's numbers, the demo runs and the app's styles."""

APP = _PACKAGE / "lab" / "app" if CHECKOUT is None else CHECKOUT / "app"
"""The folder of the app, which ``server.py`` in it starts. The package starts it as a program and never imports it."""
