"""Commands that are programs of their own: a table of the paper, and the app."""

import argparse
import os
import sys

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
    try:
        from app.server import command as server_command
    except ImportError as error:
        raise ConfigError(
            f"The app's packages are not installed ({error}). Run: pip install -r requirements.txt"
        ) from error
    argv = server_command(typed.port, typed.runs)
    sys.stdout.flush()
    os.execve(argv[0], argv, os.environ | {"PMSI_RUNS": str(typed.runs)})
