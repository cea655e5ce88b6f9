"""`pmsi train`: train a model, say how long that takes, or show its first batch."""

import argparse

from pmsi import tasks
from pmsi.base.files import to_json
from pmsi.base.text import duration
from pmsi.cli.arguments import add_preset
from pmsi.cli.flags import path
from pmsi.cli.output import save_picture
from pmsi.cli.task import add_dry_run, add_task, start, training_base, typed_config
from pmsi.config import TrainConfig

HELP = "Train a model."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_preset(parser)
    help = "Picture of what the first batch shows in each phase, to be written; start nothing."
    parser.add_argument("--first-batch", type=path, metavar="FILE", help=help)
    add_dry_run(parser)
    add_task(parser, TrainConfig)


def run(typed: argparse.Namespace) -> int:
    """Make the training run that the flags describe, or do what was asked for in its place."""
    config = typed_config(typed, training_base(typed))
    if not (typed.dry_run or typed.first_batch):
        return start(config, typed)
    tasks.check(config, typed.runs)
    if typed.first_batch:
        from pmsi.data import open_dataset
        from pmsi.pictures.phases import batch_by_phase, sheet

        save_picture(sheet(batch_by_phase(config, open_dataset(config))), typed.first_batch)
        print(typed.first_batch)
    if typed.dry_run:
        print(outlook([config], typed))
    return 0


def outlook(configs: list[TrainConfig], typed: argparse.Namespace) -> str:
    """Return how many runs there are to be, and about how long they take, in words or as JSON."""
    from pmsi.tables import grid as grids

    seconds = grids.estimate(configs, typed.runs) if configs else 0.0
    if typed.json:
        return to_json({"runs": len(configs), "seconds": seconds})
    if not configs:
        return "Nothing is left to be done."
    several = len(configs) > 1
    return (
        f"{len(configs)} run{'s' * several}: about {duration(seconds)} on this machine"
        f"{', one after another' * several}."
    )
