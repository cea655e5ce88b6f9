"""Commands that are programs of their own: a table of the paper, and the app."""

import argparse
import importlib.util
import os
import sys
from pathlib import Path

from pmsi.base.assets import APP
from pmsi.base.errors import ConfigError
from pmsi.commands.output import write_output

Arguments = argparse.Namespace


def tables(typed: Arguments) -> int:
    """Run what a table of the paper needs, and print or write the table."""
    from pmsi.cli.tables import tables

    text, status = tables(typed)
    if typed.out and not typed.dry_run:
        write_output(typed.out, text)
        print(typed.out)
    else:
        print(text.rstrip("\n"))
    return status


def app(typed: Arguments) -> int:
    """Open the lab in the browser; the server replaces this process."""
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
