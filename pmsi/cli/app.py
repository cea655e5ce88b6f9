"""`pmsi app`: open the lab in the browser."""

import argparse
import os
import sys

from pmsi.base.errors import ConfigError
from pmsi.cli.arguments import add_runs
from pmsi.cli.flags import whole

HELP = "Open the lab in the browser."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=whole(1, 65535), default=8501, metavar="N", help="Port [8501].")
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Open the lab in the browser; the server replaces this process."""
    try:
        from app.server import command as server_command
    except ImportError as error:
        raise ConfigError(
            f"The app's packages are not installed ({error}). Run: pip install -r requirements.txt"
        ) from error
    argv = server_command(typed.port, typed.runs)
    sys.stdout.flush()
    os.execve(argv[0], argv, os.environ | {"PMSI_RUNS": str(typed.runs)})
