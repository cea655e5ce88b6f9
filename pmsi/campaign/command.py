"""The subcommand ``tables``: flags → a base config and a table; what it will cost; its runs; its layout."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from pmsi import jobs
from pmsi.campaign.following import follow
from pmsi.campaign.plan import Plan, Sweep, Training, make_plan
from pmsi.config import TrainConfig, differences
from pmsi.errors import ConfigError, lookup
from pmsi.flags import flag, to_config
from pmsi.launchers import LAUNCHERS
from pmsi.launchers.devices import wanted
from pmsi.presets import PRESETS
from pmsi.runs import State
from pmsi.tables import FORMATS, TABLES, Sets, Table, check_epoch, expand, fill, seeds_from
from pmsi.watching import counting, say

FAILED = 1

KINDS = {
    "finished": (State.FINISHED,),
    "queued or running": (State.QUEUED, State.RUNNING, State.STOPPING),
    "to be resumed": (State.STOPPED, State.FAILED, State.INTERRUPTED),
    "to be made": (None, State.CREATED),
}
"""How a plan counts its runs."""

UNITS = ((86400, "days"), (3600, "h"), (60, "min"))


def tables(typed: argparse.Namespace) -> tuple[str, int]:
    """Do what the flags of ``pmsi tables`` say; return the text to be printed or written, and the exit status."""
    table = table_of(typed)
    seeds = seeds_from(table.base, typed.seeds)
    lay_out = lookup("format", FORMATS, typed.format)
    check_epoch(table, typed.epoch)  # what cannot be shown in the end is refused at the start
    lookup("launcher", LAUNCHERS, typed.launcher)
    if typed.show or not table.configs:
        return lay_out(fill(table, typed.runs, seeds, epoch=typed.epoch)), 0
    for config in table.configs:
        jobs.check(config, typed.runs)
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


def read_set(text: str) -> tuple[str, str | None]:
    """Return the name and the folder of ``cub=DIR``; a data set that is built in has no folder."""
    name, separator, place = text.partition("=")
    if not name or (separator and not place):
        raise argparse.ArgumentTypeError(f"{text!r}: expected NAME=DIR, or NAME where the data set is built in")
    return name, str(Path(place).expanduser()) if place else None


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
    from pmsi.estimates import Estimator

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
