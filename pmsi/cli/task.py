"""What `pmsi train`, `evaluate`, `robustness` and `maps` share: flags → a config → a run, worked on here or queued."""

import argparse
import sys

from pmsi import tasks
from pmsi.base.errors import RunError, lookup
from pmsi.base.files import to_json
from pmsi.cli.arguments import TRAINED, add_queue, add_runs
from pmsi.cli.console import following
from pmsi.cli.flags import AnyConfig, add_flags, to_config
from pmsi.config import Config, TrainConfig
from pmsi.config.command import POSITIONAL
from pmsi.config.presets import PRESETS
from pmsi.runs import Run, State, jobs

ENDED_EARLY = 1
"""Exit status where a run was stopped or has failed."""


def add_task(parser: argparse.ArgumentParser, config: type[Config]) -> None:
    """Add the flags of a task's config, and where its run goes."""
    add_flags(parser, config)
    add_runs(parser)
    add_queue(parser)


def add_of(parser: argparse.ArgumentParser, nargs: str | None = None) -> None:
    """Add the training runs that a task works on."""
    parser.add_argument(POSITIONAL, nargs=nargs, metavar="RUN", help=TRAINED)


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add what a task can be asked for in place of working on it."""
    parser.add_argument("--dry-run", action="store_true", help="Say about how long it takes here; start nothing.")
    parser.add_argument("--json", action="store_true", help="With --dry-run: print JSON.")


def typed_config(typed: argparse.Namespace, begin: AnyConfig) -> AnyConfig:
    """Return ``begin`` with the flags that were typed; ids of runs are made whole, for more runs may begin alike."""
    for name in (POSITIONAL, "beside", "start_from"):
        if ids := getattr(typed, name, None):
            whole = [Run.open(typed.runs, id).id for id in ([ids] if isinstance(ids, str) else ids)]
            setattr(typed, name, whole[0] if isinstance(ids, str) else whole)
    return to_config(begin, typed).located()


def training_base(typed: argparse.Namespace) -> TrainConfig:
    """Return the config of the preset that was typed, or the paper's."""
    return TrainConfig() if typed.preset is None else lookup("preset", PRESETS, typed.preset).config


def start(config: Config, typed: argparse.Namespace) -> int:
    """Make the run of a config, and queue it or work on it here."""
    tasks.check(config, typed.runs)
    run = Run.create(typed.runs, config)
    if typed.queue or typed.launcher:
        jobs.submit(run, typed.launcher or "local")
        print(run.id)
        return 0
    return work(run)


def work(run: Run) -> int:
    """Work on a run in the foreground, showing how it goes; print its result as JSON."""
    with following(run, sys.stderr):
        state = tasks.execute(run)
    print(to_json({"run": run.id, "state": state.value, "result": run.result()}, indent=1))
    return 0 if state is State.FINISHED else ENDED_EARLY


def training_config(run: Run) -> TrainConfig:
    """Return the config of a training run; raises RunError where it is a run of another task."""
    if not isinstance(run.config, TrainConfig):
        raise RunError(f"Run {run.id!r} is no training run. Give the run that it is about.")
    return run.config
