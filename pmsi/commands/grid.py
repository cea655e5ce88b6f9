"""Commands that look ahead or start several runs: a sweep over settings, how long runs take, what they will show."""

import argparse
from typing import TYPE_CHECKING, cast

from pmsi import jobs
from pmsi.commands.output import save_picture
from pmsi.config import TrainConfig
from pmsi.errors import lookup
from pmsi.files import to_json
from pmsi.flags import to_config
from pmsi.presets import PRESETS
from pmsi.runs import Run
from pmsi.wording import duration

if TYPE_CHECKING:
    from pmsi.grids import Grid

Arguments = argparse.Namespace


def grid(typed: Arguments) -> int:
    """Make and queue a training run for each combination of values; print the ids of the new ones."""
    from pmsi import grids  # knows runs by what they compute, for which it needs numpy

    start = TrainConfig() if typed.preset is None else lookup("preset", PRESETS, typed.preset).config
    complete_start(typed)
    base = cast(TrainConfig, to_config(start, typed)).located()
    sweep = grids.make_grid(base, [grids.read_axis(text) for text in typed.vary])
    if typed.dry_run:
        return _look_ahead(typed, sweep)
    for run in grids.start(sweep, typed.runs, typed.launcher or "local"):
        print(f"{run.id}  {grids.changes(sweep, cast(TrainConfig, run.config))}")
    return 0


def _look_ahead(typed: Arguments, sweep: "Grid") -> int:
    from pmsi import grids

    grids.check(sweep, typed.runs)
    todo = grids.missing(sweep, typed.runs)
    if not typed.json:
        for config in sweep.configs:
            print(f"{grids.changes(sweep, config)}: {'to be made' if config in todo else 'there already'}")
    print(outlook(todo, typed))
    return 0


def outlook(configs: list[TrainConfig], typed: Arguments) -> str:
    """Return how many runs there are to be, and about how long they take, in words or as JSON."""
    from pmsi import grids

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


def complete_start(typed: Arguments) -> None:
    """Put the whole id of the run that training starts from into what was typed: how one begins may fit more later."""
    if getattr(typed, "start_from", None):
        typed.start_from = Run.open(typed.runs, typed.start_from).id


def look_ahead(typed: Arguments, config: TrainConfig) -> int:
    """Do what ``pmsi train`` was asked for in place of training: say how long it takes, show its first batch."""
    jobs.check(config, typed.runs)
    if typed.first_batch:
        from pmsi.data import open_dataset
        from pmsi.firstbatch import first_batch, sheet

        save_picture(sheet(first_batch(config, open_dataset(config))), typed.first_batch)
        print(typed.first_batch)
    if typed.dry_run:
        print(outlook([config], typed))
    return 0
