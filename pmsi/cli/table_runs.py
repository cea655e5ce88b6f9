"""What `pmsi tables` does: describe a table's runs, start them, watch them to their end, and lay the table out.

A run is started once: one that fails while it is watched is reported, and tried again by the next command.
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
from pmsi.base.text import duration, percent
from pmsi.cli.console import counting, one_line, say
from pmsi.cli.flags import to_config
from pmsi.config import TrainConfig, differences
from pmsi.config.command import flag
from pmsi.config.presets import PRESETS
from pmsi.runs import State, jobs
from pmsi.runs.launchers import LAUNCHERS
from pmsi.runs.launchers.devices import wanted
from pmsi.tables import FORMATS, TABLES, Sets, Table, check_epoch, expand, fill, seeds_from
from pmsi.tables.plan import KINDS, Plan, Sweep, Training, make_plan, start

FAILED = 1


UNITS = ((86400, "days"), (3600, "h"), (60, "min"))


def tables_of(typed: argparse.Namespace) -> tuple[str, int]:
    """Do what the flags of ``pmsi tables`` say; return the text to be printed or written, and the exit status."""
    table = table_of(typed)
    seeds = seeds_from(table.base, typed.seeds)
    lay_out = lookup("format", FORMATS, typed.format)
    check_epoch(table, typed.epoch)  # what cannot be shown in the end is refused at the start
    lookup("launcher", LAUNCHERS, typed.launcher)
    if typed.show or not table.configs:
        return lay_out(fill(table, typed.runs, seeds, epoch=typed.epoch)), 0
    for config in table.configs:
        tasks.check(config, typed.runs)
    plan = make_plan(table, typed.runs, seeds)
    about = _describe(plan, table, typed.runs)
    if typed.dry_run:
        return about, 0
    say(sys.stderr, about)
    if not plan.is_complete:
        plan = follow(table, typed.runs, seeds, typed.launcher, sys.stderr)
    return lay_out(fill(table, typed.runs, seeds, epoch=typed.epoch)), 0 if plan.is_complete else FAILED


def table_of(typed: argparse.Namespace) -> Table:
    """Return the table that the flags describe; a flag that the table decides itself is refused."""
    row = lookup("table", TABLES, typed.number)
    sets: Sets = dict(typed.sets or ())
    if sets and not row.compares_sets:
        raise ConfigError(f"{row.title} is about one data set: give it with --dataset and --data, not with --sets.")
    for name in (*row.decides, *(("dataset", "data") if sets else ())):
        if hasattr(typed, name):
            raise ConfigError(f"{row.title} decides {name} itself. Leave {flag(name)} out.")
    preset = getattr(typed, "preset", None)
    start = TrainConfig() if preset is None else lookup("preset", PRESETS, preset).config
    base = to_config(start, typed)
    assert isinstance(base, TrainConfig)
    return expand(typed.number, base, sets)


def _describe(plan: Plan, table: Table, root: Path) -> str:
    """Return how many runs there are to be, of which kinds, and about how long the rest will take."""
    lines = [f"{table.title}: {len(plan.needed)} runs: {_counted(plan.needed)}."]
    lines += [f"  {_changes(config, table)}: {_seeds(plan, config)}" for config in table.configs]
    lines += [f"  perturbed test images: {_counted(plan.sweeps)}"] if plan.sweeps else []
    if not plan.is_complete:
        seconds, devices = _estimate(plan, root)
        order = f"a run on each of {devices} devices at a time" if devices > 1 else "one run after another"
        lines.append(f"What is left takes about {roughly(seconds)} on this machine, {order}.")
    return "\n".join(lines)


def roughly(seconds: float) -> str:
    """Return a duration that is only estimated, in one unit: 40 s, 35 min, 2.5 h, 3.1 days."""
    size, unit = next((each for each in UNITS if seconds >= 2 * each[0]), (1, "s"))
    value = seconds / size
    return f"{value:.1f} {unit}" if size > 60 and value < 10 else f"{value:.0f} {unit}"


def _kind(needed: Training | Sweep) -> str:
    return next(kind for kind, states in KINDS.items() if needed.state in states)


def _counted(needed: Iterable[Training | Sweep]) -> str:
    counts = Counter(_kind(each) for each in needed)
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind])


def _changes(config: TrainConfig, table: Table) -> str:
    """Return a line's config as its differences from the base; the method always, as that is what is trained."""
    changes = {"method": config.method} | differences(config, table.base)
    return ", ".join(f"{name} = {value}" for name, value in changes.items() if value is not None)


def _seeds(plan: Plan, config: TrainConfig) -> str:
    of = [each for each in plan.trainings if each.config.with_(seed=config.seed) == config]
    return _counted(of)


def _estimate(plan: Plan, root: Path) -> tuple[float, int]:
    """Return about how many seconds the rest takes, and on how many devices at a time.

    Data sets are opened, and what nobody has run yet is tried.
    """
    from pmsi.tables.estimate import Estimator

    with counting(sys.stderr, "images checked") as progress:
        estimator = Estimator(root, progress)
        left: list[tuple[TrainConfig, float]] = []
        for each in plan.trainings:
            if _left(each):
                left.append((each.config, estimator.seconds(each.config) * _left(each)))
        for sweep in plan.sweeps:
            if _left(sweep):
                seconds = estimator.known(sweep.config) if sweep.config is not None else None
                if seconds is None:
                    seconds = estimator.future_sweep(sweep.trained, cells=2)  # the clean images, and one perturbation
                left.append((sweep.trained[0], seconds * _left(sweep)))
    return shared_out(left)


def shared_out(left: Iterable[tuple[TrainConfig, float]]) -> tuple[float, int]:
    """Return when the last of some runs ends, and how many devices work: each run goes to those that are free first."""
    busy: dict[str, float] = {}
    for config, seconds in left:
        places, count = wanted(config)
        taken = sorted(places, key=lambda place: busy.get(place, 0.0))[:count]
        end = max(busy.get(place, 0.0) for place in taken) + seconds
        busy |= dict.fromkeys(taken, end)
    return max(busy.values(), default=0.0), len(busy)


def _left(needed: Training | Sweep) -> float:
    """Return the share that is still to be done: a run that began has done some of it."""
    if needed.found is None or needed.state is State.CREATED:
        return 1.0
    if needed.state is State.FINISHED:
        return 0.0
    status = needed.found.run.status()
    return 1 - status.done / status.total if status.total else 1.0


POLL_S = 1.0

QUIET_LOOKS = 2
"""So often nothing must be live before a campaign is over: a launcher may be about to try a run again."""


def follow(table: Table, root: Path, seeds: tuple[int, ...], launcher: str, out: TextIO) -> Plan:
    """Start what the table needs and watch it to its end, one line for each run that ends; return how it ended.

    A KeyboardInterrupt ends the watching alone: what is queued is worked off, and ``out`` says how to stop that.
    """
    started: set[str] = set()
    try:
        told = {found.run.id for found in make_plan(table, root, seeds).found if found.state is State.FINISHED}
        plan, quiet = start(table, root, seeds, launcher, started), 0
        while quiet < QUIET_LOOKS:
            for run in plan.live:
                jobs.follow(run)  # or one that a cluster has lost would be waited for in vain
            _tell(plan, told, started, out)
            time.sleep(POLL_S)
            plan = start(table, root, seeds, launcher, started)
            quiet = 0 if plan.live else quiet + 1
        _tell(plan, told, started, out)
        return plan
    except KeyboardInterrupt:
        say(out, _farewell(make_plan(table, root, seeds), root))
        raise


def _tell(plan: Plan, told: set[str], started: set[str], out: TextIO) -> None:
    """Print a line for each run that has ended since the last look, and on a terminal how far the rest is."""
    for found in plan.found:
        if found.run.id in started - told and not found.state.is_live and found.state is not State.CREATED:
            told.add(found.run.id)
            say(out, one_line(found.run))
    if out.isatty():
        say(out, _how_far(plan), end="")


def _how_far(plan: Plan) -> str:
    done = sum(each.state is State.FINISHED for each in plan.needed)
    words = [f"{done} of {len(plan.needed)} finished"]
    for run in plan.live:
        status = run.status()
        if status.state is State.RUNNING and status.total:
            left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
            words.append(f"{run.id}: {percent(status.done / status.total)} {status.text}{left}")
    return "; ".join(words)


def _farewell(plan: Plan, root: Path) -> str:
    """Say what goes on without us and how to look at it or stop it: the queue first, or the next would begin."""
    if not plan.live:
        return "Not watching any more; nothing is queued. The same command goes on from here."
    waiting_first = sorted(plan.live, key=lambda run: run.state is not State.QUEUED)
    stop = " && ".join(shlex.join(["pmsi", "runs", "stop", run.id, "--runs", str(root)]) for run in waiting_first)
    return (
        f"Not watching any more; {len(plan.live)} queued or running runs go on. The same command watches them again, "
        f"with --show it prints what there is. To stop them: {stop}"
    )
