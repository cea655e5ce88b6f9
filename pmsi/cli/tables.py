"""Run a table of the paper and print it beside the paper's numbers.

Each run that the table needs is started once; one that fails is reported, and started again by the next command.
"""

import argparse
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from pmsi import tasks
from pmsi.base.errors import ConfigError, lookup
from pmsi.base.files import expanded
from pmsi.base.text import duration, percent
from pmsi.cli.console import image_counter, one_line, say
from pmsi.cli.flags import add_flags, add_preset, add_runs, path, to_config, whole
from pmsi.cli.output import write_output
from pmsi.config import TrainConfig, differences
from pmsi.config.command import flag
from pmsi.config.presets import PRESETS
from pmsi.runs import State, jobs
from pmsi.runs.launchers import LAUNCHERS
from pmsi.runs.launchers.devices import wanted
from pmsi.tables import EPOCHS, FORMATS, TABLES, Sets, Table, check_epoch, expand, fill, seeds_from
from pmsi.tables.estimate import Estimator
from pmsi.tables.needed import KINDS, NeededRuns, NeededSweep, NeededTraining, needed_runs, start


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", choices=tuple(TABLES), metavar="NUMBER", help=f"Table: {', '.join(TABLES)}.")
    parser.add_argument("--seeds", type=whole(1, 1000), default=1, metavar="N", help="Seeds, from --seed on [1].")
    sets = "Data sets of Tables 1, 6, 7 and fig1: cub=DIR cars=DIR aircraft=DIR … [the one of --dataset]."
    parser.add_argument("--sets", type=read_set, nargs="+", metavar="NAME=DIR", help=sets)
    parser.add_argument("--dry-run", action="store_true", help="Print how many runs and about how long; start nothing.")
    parser.add_argument("--show", action="store_true", help="Print the table from the finished runs; start nothing.")
    for name, words, help in (
        ("format", FORMATS, "Format of the table"),
        ("epoch", EPOCHS, "Epoch whose accuracy counts"),
        ("launcher", LAUNCHERS, "Launcher of the runs"),
    ):
        text = f"{help} [{next(iter(words))}] ({' | '.join(words)})."
        parser.add_argument(flag(name), choices=tuple(words), default=next(iter(words)), metavar="NAME", help=text)
    parser.add_argument("--out", type=path, metavar="FILE", help="Write the table there; else it is printed.")
    add_preset(parser)
    add_flags(parser, TrainConfig)
    add_runs(parser)


def run(typed: argparse.Namespace) -> int:
    """Run what a table of the paper needs, and print or write it."""
    text, status = tables_of(typed)
    if typed.out and not typed.dry_run:
        write_output(typed.out, text)
        print(typed.out)
    else:
        print(text.rstrip("\n"))
    return status


def read_set(text: str) -> tuple[str, str | None]:
    """Return the name and folder of ``cub=DIR``; the folder of a built-in data set is None."""
    name, separator, place = text.partition("=")
    if not name or (separator and not place):
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=DIR, or NAME if the data set is built in")
    return name, str(expanded(place)) if place else None


FAILED = 1

UNITS = ((86400, "days"), (3600, "h"), (60, "min"))


def tables_of(typed: argparse.Namespace) -> tuple[str, int]:
    """Run the command; return the text to print or write, and the exit status."""
    table = table_of(typed)
    seeds = seeds_from(table.base, typed.seeds)
    formatted = lookup("format", FORMATS, typed.format)
    check_epoch(table, typed.epoch)  # refused before anything is started
    lookup("launcher", LAUNCHERS, typed.launcher)
    if typed.show or not table.configs:
        return formatted(fill(table, typed.runs, seeds, epoch=typed.epoch)), 0
    for config in table.configs:
        tasks.check(config, typed.runs)
    needed = needed_runs(table, typed.runs, seeds)
    with image_counter(sys.stderr, "checked") as progress:
        tasks.check_data((one.config for one in needed.trainings if one.state is not State.FINISHED), progress)
    about = _describe(needed, table, typed.runs)
    if typed.dry_run:
        return about, 0
    say(sys.stderr, about)
    if not needed.is_complete:
        needed = follow(table, typed.runs, seeds, typed.launcher, sys.stderr)
    return formatted(fill(table, typed.runs, seeds, epoch=typed.epoch)), 0 if needed.is_complete else FAILED


def table_of(typed: argparse.Namespace) -> Table:
    """Return the table that the flags describe; raises ConfigError for a flag that the table sets itself."""
    row = lookup("table", TABLES, typed.number)
    sets: Sets = dict(typed.sets or ())
    if sets and not row.compares_sets:
        raise ConfigError(f"{row.title} is about one data set: give it with --dataset and --data, not with --sets.")
    for name in (*row.decides, *(("dataset", "data") if sets else ())):
        if hasattr(typed, name):
            raise ConfigError(f"{row.title} sets {name} itself. Leave {flag(name)} out.")
    preset = getattr(typed, "preset", None)
    start = TrainConfig() if preset is None else lookup("preset", PRESETS, preset).config
    base = to_config(start, typed)
    assert isinstance(base, TrainConfig)
    return expand(typed.number, base, sets)


def _describe(needed: NeededRuns, table: Table, root: Path) -> str:
    """Return the number of runs, their states, and about how long the rest takes."""
    lines = [f"{table.title}: {len(needed.all)} runs: {_counted(needed.all)}."]
    lines += [f"  {_changes(config, table)}: {_seeds(needed, config)}" for config in table.configs]
    lines += [f"  perturbed test images: {_counted(needed.sweeps)}"] if needed.sweeps else []
    if not needed.is_complete:
        seconds, devices = _estimate(needed, root)
        order = f"a run on each of {devices} devices at a time" if devices > 1 else "one run after another"
        lines.append(f"What is left takes about {roughly(seconds)} on this machine, {order}.")
    return "\n".join(lines)


def roughly(seconds: float) -> str:
    """Return an estimated duration in one unit: 40 s, 35 min, 2.5 h, 3.1 days."""
    size, unit = next((each for each in UNITS if seconds >= 2 * each[0]), (1, "s"))
    value = seconds / size
    return f"{value:.1f} {unit}" if size > 60 and value < 10 else f"{value:.0f} {unit}"


def _kind(run: NeededTraining | NeededSweep) -> str:
    return next(kind for kind, states in KINDS.items() if run.state in states)


def _counted(runs: Iterable[NeededTraining | NeededSweep]) -> str:
    counts = Counter(_kind(each) for each in runs)
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])


def _changes(config: TrainConfig, table: Table) -> str:
    """Return a line's config as its method and its differences from the base."""
    changes = {"method": config.method} | differences(config, table.base)
    return ", ".join(f"{name} = {value}" for name, value in changes.items() if value is not None)


def _seeds(needed: NeededRuns, config: TrainConfig) -> str:
    of = [each for each in needed.trainings if each.config.with_(seed=config.seed) == config]
    return _counted(of)


def _estimate(needed: NeededRuns, root: Path) -> tuple[float, int]:
    """Return about how many seconds the rest takes, and how many devices work at a time.

    Opens the data sets, and makes trials for runs without an equal finished run.
    """

    with image_counter(sys.stderr, "images checked") as progress:
        estimator = Estimator(root, progress)
        left: list[tuple[TrainConfig, float]] = []
        for each in needed.trainings:
            if _left(each):
                left.append((each.config, estimator.seconds(each.config) * _left(each)))
        for sweep in needed.sweeps:
            if _left(sweep):
                seconds = estimator.known(sweep.config) if sweep.config is not None else None
                if seconds is None:
                    seconds = estimator.future_sweep(sweep.trained, cells=2)  # the clean images, and one perturbation
                left.append((sweep.trained[0], seconds * _left(sweep)))
    return shared_out(left)


def shared_out(left: Iterable[tuple[TrainConfig, float]]) -> tuple[float, int]:
    """Return the seconds until the last run ends, and how many devices work; each run gets the devices free first."""
    busy: dict[str, float] = {}
    for config, seconds in left:
        places, count = wanted(config)
        taken = sorted(places, key=lambda place: busy.get(place, 0.0))[:count]
        end = max(busy.get(place, 0.0) for place in taken) + seconds
        busy |= dict.fromkeys(taken, end)
    return max(busy.values(), default=0.0), len(busy)


def _left(run: NeededTraining | NeededSweep) -> float:
    """Return the share of a run, 0–1, that is not done yet."""
    if run.found is None or run.state is State.CREATED:
        return 1.0
    if run.state is State.FINISHED:
        return 0.0
    return 1 - run.found.run.status().share


POLL_S = 1.0

IDLE_POLLS = 2
"""Polls in a row without a live run after which a table is done: a launcher may start a second attempt in between."""


def follow(table: Table, root: Path, seeds: tuple[int, ...], launcher: str, out: TextIO) -> NeededRuns:
    """Start the runs that the table needs and wait for their end, printing a line for each; return them.

    A KeyboardInterrupt ends only the waiting: queued runs go on, and ``out`` says how to stop them.
    """
    started: set[str] = set()
    try:
        reported = {found.run.id for found in needed_runs(table, root, seeds).found if found.state is State.FINISHED}
        needed, idle = start(table, root, seeds, launcher, started), 0
        while idle < IDLE_POLLS:
            for run in needed.live:
                jobs.fail_if_lost(run)  # so that a run that a cluster has lost is not waited for
            _report(needed, reported, started, out)
            time.sleep(POLL_S)
            needed = start(table, root, seeds, launcher, started)
            idle = 0 if needed.live else idle + 1
        _report(needed, reported, started, out)
        return needed
    except KeyboardInterrupt:
        say(out, _what_goes_on(needed_runs(table, root, seeds), root))
        raise


def _report(needed: NeededRuns, reported: set[str], started: set[str], out: TextIO) -> None:
    """Print a line for each run that has ended since the last call, and on a terminal the progress of the rest."""
    for found in needed.found:
        if found.run.id in started - reported and not found.state.is_live and found.state is not State.CREATED:
            reported.add(found.run.id)
            say(out, one_line(found.run))
    if out.isatty():
        say(out, _progress(needed), end="")


def _progress(needed: NeededRuns) -> str:
    done = sum(each.state is State.FINISHED for each in needed.all)
    words = [f"{done} of {len(needed.all)} finished"]
    for run in needed.live:
        status = run.status()
        if status.state is State.RUNNING and status.total:
            left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
            words.append(f"{run.id}: {percent(status.share)} {status.text}{left}")
    return "; ".join(words)


def _what_goes_on(needed: NeededRuns, root: Path) -> str:
    """Return which runs go on after an interrupt, and the commands that stop them, queued runs first."""
    if not needed.live:
        return "No longer waiting; nothing is queued. The same command continues from here."
    waiting_first = sorted(needed.live, key=lambda run: run.state is not State.QUEUED)
    stop = " && ".join(shlex.join(["pmsi", "runs", "stop", run.id, "--runs", str(root)]) for run in waiting_first)
    return (
        f"No longer waiting; {len(needed.live)} queued or running runs go on. The same command waits for them again, "
        f"with --show it prints the table so far. To stop them: {stop}"
    )
