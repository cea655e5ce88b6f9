"""Work on a run folder (called by launchers)."""

import argparse

from pmsi import tasks
from pmsi.base.errors import RunError
from pmsi.cli.flags import folder
from pmsi.cli.task import ENDED_EARLY
from pmsi.runs import Run, State


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=folder, metavar="FOLDER", help="Run folder.")


def run(typed: argparse.Namespace) -> int:
    """Work on a run folder; return the exit status."""
    folder = typed.folder.resolve()
    if not (folder / "config.json").is_file():
        raise RunError(f"{typed.folder} is no run folder: it has no config.json. See: pmsi runs list.")
    tasks.become_ranks(Run(folder))
    state = tasks.execute(Run(folder))
    return 0 if state is State.FINISHED else ENDED_EARLY
