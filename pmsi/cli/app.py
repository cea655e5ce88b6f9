"""Open the lab in the browser."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from pmsi.base.assets import APP
from pmsi.base.errors import ConfigError
from pmsi.cli.flags import add_runs, whole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=whole(1, 65535), default=8501, metavar="N", help="Port [8501].")
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Replace this process by the app's server."""
    missing = [name for name in ("streamlit", "plotly") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f'The app needs {" and ".join(missing)}. Run: pip install "pmsi-lab[app]"')
    if not APP.is_dir():
        raise ConfigError(f"There is no app at {APP}. Copy the folder app beside pmsi, or install the package.")
    argv = server_command(typed.port, typed.runs)
    sys.stdout.flush()
    os.execve(argv[0], argv, os.environ | {"PMSI_RUNS": str(typed.runs)})


def server_command(port: int, runs: Path) -> list[str]:
    """Return the command of a process that serves the app at ``port``, with its runs in ``runs``."""
    return [sys.executable, str(APP / "server.py"), "--port", str(port), "--runs", str(runs.resolve())]
