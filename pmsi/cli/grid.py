"""`pmsi grid`: a training run for each combination of values of one or two settings, as a queue."""

import argparse
from typing import TYPE_CHECKING, cast

from pmsi.cli.arguments import add_preset, add_runs
from pmsi.cli.flags import add_flags
from pmsi.cli.task import training_base, typed_config
from pmsi.cli.train import outlook
from pmsi.config import TrainConfig
from pmsi.runs.launchers import LAUNCHERS

if TYPE_CHECKING:
    from pmsi.tables.grid import Grid


HELP = "Train for each value of one or two settings, as a queue."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help = "Setting and the values that it takes; one or two of them, such as lr_new=0.003,0.01 seed=0,1,2."
    parser.add_argument("--vary", nargs="+", action="extend", required=True, metavar="NAME=A,B", help=help)
    parser.add_argument("--dry-run", action="store_true", help="Say how many runs and how long; start nothing.")
    parser.add_argument("--json", action="store_true", help="With --dry-run: print JSON.")
    help = f"Whose queue ({' | '.join(LAUNCHERS)}) [local]."
    parser.add_argument("--launcher", choices=tuple(LAUNCHERS), metavar="NAME", help=help)
    add_preset(parser)
    add_flags(parser, TrainConfig)
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Make and queue a training run for each combination of values; print the ids of the new ones."""
    from pmsi.tables import grid as grids  # it imports numpy and torch

    sweep = grids.make_grid(typed_config(typed, training_base(typed)), [grids.read_axis(text) for text in typed.vary])
    if typed.dry_run:
        return _look_ahead(typed, sweep)
    for run in grids.start(sweep, typed.runs, typed.launcher or "local"):
        print(f"{run.id}  {grids.changes(sweep, cast(TrainConfig, run.config))}")
    return 0


def _look_ahead(typed: argparse.Namespace, sweep: "Grid") -> int:
    from pmsi.tables import grid as grids

    grids.check(sweep, typed.runs)
    todo = grids.missing(sweep, typed.runs)
    if not typed.json:
        for config in sweep.configs:
            print(f"{grids.changes(sweep, config)}: {'to be made' if config in todo else 'there already'}")
    print(outlook(todo, typed))
    return 0
