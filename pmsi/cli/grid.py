"""Queue training runs for all values of one or two settings."""

import argparse
from typing import cast

from pmsi.cli.flags import add_flags, add_preset, add_runs
from pmsi.cli.task import training_base, typed_config
from pmsi.cli.train import estimate_text
from pmsi.config import TrainConfig
from pmsi.runs.launchers import LAUNCHERS
from pmsi.tables import grid as grids


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help = "Setting and the values that it takes; one or two of them, such as lr_new=0.003,0.01 seed=0,1,2."
    parser.add_argument("--vary", nargs="+", action="extend", required=True, metavar="NAME=A,B", help=help)
    parser.add_argument("--dry-run", action="store_true", help="Print how many runs and about how long; start nothing.")
    parser.add_argument("--json", action="store_true", help="With --dry-run: print JSON.")
    help = f"Launcher whose queue is used ({' | '.join(LAUNCHERS)}) [local]."
    parser.add_argument("--launcher", choices=tuple(LAUNCHERS), metavar="NAME", help=help)
    add_preset(parser)
    add_flags(parser, TrainConfig)
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Queue a training run for each combination of values; print the ids of the new runs."""
    grid = grids.make_grid(typed_config(typed, training_base(typed)), [grids.read_axis(text) for text in typed.vary])
    if typed.dry_run:
        return _dry_run(typed, grid)
    for run in grids.start(grid, typed.runs, typed.launcher or "local"):
        print(f"{run.id}  {grids.changes(grid, cast(TrainConfig, run.config))}")
    return 0


def _dry_run(typed: argparse.Namespace, grid: grids.Grid) -> int:
    """Print which runs are missing and about how long they take."""
    grids.check(grid, typed.runs)
    todo = grids.missing(grid, typed.runs)
    if not typed.json:
        for config in grid.configs:
            print(f"{grids.changes(grid, config)}: {'to be made' if config in todo else 'there already'}")
    print(estimate_text(todo, typed))
    return 0
