"""Train a model."""

import argparse

from pmsi import tasks
from pmsi.base.files import to_json
from pmsi.base.text import duration, plural
from pmsi.cli.flags import add_preset, path
from pmsi.cli.output import save_picture
from pmsi.cli.task import add_dry_run, add_task, start, training_base, typed_config
from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.pictures.phases import batch_by_phase, sheet
from pmsi.tables.grid import estimate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_preset(parser)
    help = "Write a picture of the first batch in each phase; start nothing."
    parser.add_argument("--first-batch", type=path, metavar="FILE", help=help)
    add_dry_run(parser)
    add_task(parser, TrainConfig)


def run(typed: argparse.Namespace) -> int:
    """Run the training that the flags describe, or do the dry run."""
    config = typed_config(typed, training_base(typed))
    if not (typed.dry_run or typed.first_batch):
        return start(config, typed)
    tasks.check(config, typed.runs)
    if typed.first_batch:
        save_picture(sheet(batch_by_phase(config, open_dataset(config))), typed.first_batch)
        print(typed.first_batch)
    if typed.dry_run:
        print(estimate_text([config], typed))
    return 0


def estimate_text(configs: list[TrainConfig], typed: argparse.Namespace) -> str:
    """Return the number of runs and about how long they take, as text or JSON."""
    seconds = estimate(configs, typed.runs) if configs else 0.0
    if typed.json:
        return to_json({"runs": len(configs), "seconds": seconds})
    if not configs:
        return "Nothing is left to be done."
    order = ", one after another" if len(configs) > 1 else ""
    return f"{plural(len(configs), 'run')}: about {duration(seconds)} on this machine{order}."
