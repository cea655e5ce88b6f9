"""The files that come with the program: the paper's printed numbers, the demo runs, the app's styles."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

ASSETS = _PACKAGE / "assets" if (_PACKAGE / "assets").is_dir() else _PACKAGE.parent / "assets"
"""Their folder: inside the package where it is installed, beside it in a checkout."""
