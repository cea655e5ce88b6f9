"""Commands that look ahead or start several runs: a sweep over settings, how long runs take, what they will show."""

import argparse
import sys
from typing import TYPE_CHECKING, cast

from pmsi import jobs
from pmsi.commands.output import picture_format, save_picture
from pmsi.config import TrainConfig
from pmsi.errors import ConfigError, DataError, RunError, lookup
from pmsi.files import to_json
from pmsi.flags import to_config
from pmsi.presets import PRESETS
from pmsi.runs import Run
from pmsi.watching import counting
from pmsi.wording import duration

if TYPE_CHECKING:
    from pmsi.data.dataset import Dataset
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
        from pmsi.pictures.phases import sheet, shown_phases

        save_picture(sheet(shown_phases(config, open_dataset(config))), typed.first_batch)
        print(typed.first_batch)
    if typed.dry_run:
        print(outlook([config], typed))
    return 0


def phases(typed: Arguments) -> int:
    """Write what a batch of a training run shows in each phase; print what its images count as."""
    from pmsi.data import open_dataset
    from pmsi.pictures.phases import in_words, sheet, shown_phases

    picture_format(typed.out)
    config = _settings(typed)
    with counting(sys.stderr, "images checked") as progress:
        dataset = open_dataset(config, progress)
    batch, first, most = _which(typed, config, dataset)
    found = shown_phases(config, dataset, typed.epoch - 1, batch)
    save_picture(sheet(found, most, first), typed.out)
    print(f"{typed.out}: epoch {typed.epoch}, batch {batch + 1}, from image {first + 1} on; from top to bottom")
    for each in found:
        images = range(first, min(first + most, len(each.images)))
        words = ", ".join(in_words(each, dataset.classes, number) for number in images)
        print(f"  {each.phase.head}, r = {each.phase.r}: {words}")
    return 0


def _settings(typed: Arguments) -> TrainConfig:
    """Return the settings of the run, of the preset or of the paper, with the flags that were typed."""
    if typed.run is None:
        start = TrainConfig() if typed.preset is None else lookup("preset", PRESETS, typed.preset).config
    elif typed.preset is not None:
        raise ConfigError(f"Both a run ({typed.run}) and a preset ({typed.preset}): give one of them to start from.")
    else:
        start = training_config(Run.open(typed.runs, typed.run))
    return cast(TrainConfig, to_config(start, typed)).located()


def training_config(run: Run) -> TrainConfig:
    """Return the config of a training run; raises RunError where it is a run of another task."""
    if not isinstance(run.config, TrainConfig):
        raise RunError(f"Run {run.id!r} is no training run. Give the run that it is about.")
    return run.config


def _which(typed: Arguments, config: TrainConfig, dataset: "Dataset") -> tuple[int, int, int]:
    """Return the batch that was asked for, its first image to be shown (both from 0), and how many at most."""
    from pmsi.pictures.phases import batch_keys, place_of

    if typed.image is None:
        return typed.batch - 1, 0, typed.most
    place = place_of(typed.image, batch_keys(config, dataset, typed.epoch - 1))
    if place is None:
        raise DataError(
            f"The image {typed.image!r} comes in no batch of epoch {typed.epoch}. Expected the key of a training "
            "image, as `pmsi data images` lists them. An epoch leaves out its last, incomplete batch: try another too."
        )
    return (*place, 1)
