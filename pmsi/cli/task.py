"""What `pmsi train`, `evaluate`, `robustness` and `maps` share: flags → config → run, in the foreground or queued."""

import argparse
import sys
from pathlib import Path

from pmsi import tasks
from pmsi.base.errors import RunError, lookup
from pmsi.base.files import to_json
from pmsi.cli.console import image_counter, live_output, say_unattended
from pmsi.cli.flags import TRAINED, AnyConfig, add_flags, add_queue, add_runs, to_config
from pmsi.config import Config, TrainConfig
from pmsi.config.command import POSITIONAL
from pmsi.config.presets import PRESETS
from pmsi.graph import is_model_file
from pmsi.runs import Run, State
from pmsi.runs.record import differences_in

ENDED_EARLY = 1
"""Exit status if a run was stopped or has failed."""


def add_task(parser: argparse.ArgumentParser, config: type[Config]) -> None:
    """Add the flags of a task's config, of the runs folder and of the queue."""
    add_flags(parser, config)
    add_runs(parser)
    add_queue(parser)


def add_of(parser: argparse.ArgumentParser, nargs: str | None = None, help: str = TRAINED) -> None:
    """Add the positional training runs that a task works on."""
    parser.add_argument(POSITIONAL, nargs=nargs, metavar="RUN", help=help)


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add ``--dry-run`` and ``--json``."""
    parser.add_argument(
        "--dry-run", action="store_true", help="Print about how long it takes on this machine; start nothing."
    )
    parser.add_argument("--json", action="store_true", help="With --dry-run: print JSON.")


def typed_config(typed: argparse.Namespace, begin: AnyConfig, files: bool = False) -> AnyConfig:
    """Return ``begin`` with the typed flags applied and run ids completed. Raises ConfigError or RunError.

    With ``files``, exported files stand for runs too; their paths are made absolute.
    """
    for name in (POSITIONAL, "beside", "start_from"):
        if ids := getattr(typed, name, None):
            whole = [_whole(typed, id, files) for id in ([ids] if isinstance(ids, str) else ids)]
            setattr(typed, name, whole[0] if isinstance(ids, str) else whole)
    return to_config(begin, typed).located()


def _whole(typed: argparse.Namespace, word: str, files: bool) -> str:
    is_file = files and is_model_file(word)
    return str(Path(word).expanduser().resolve()) if is_file else Run.open(typed.runs, word).id


def training_base(typed: argparse.Namespace) -> TrainConfig:
    """Return the config of the typed preset, by default the paper's."""
    return TrainConfig() if typed.preset is None else lookup("preset", PRESETS, typed.preset).config


def start(config: Config, typed: argparse.Namespace) -> int:
    """Create the run of a config, and queue it or work on it; return the exit status."""
    launcher = typed.launcher or "local"
    with image_counter(sys.stderr, "checked") as progress:
        for line in tasks.check_all(config, typed.runs, launcher, progress):
            print(line, file=sys.stderr)
    if typed.queue or typed.launcher:
        print(tasks.queue(config, typed.runs, launcher).id)
        return 0
    say_unattended(typed.runs)
    return work(Run.create(typed.runs, config))


def work(run: Run) -> int:
    """Work on a run in the foreground with live output; print its result as JSON; return the exit status."""
    with live_output(run, sys.stderr):
        state = tasks.execute(run)
    result = run.result()
    for line in differences_in(result or {}):
        print(line, file=sys.stderr)
    print(to_json({"run": run.id, "state": state.value, "result": result}, indent=1))
    return 0 if state is State.FINISHED else ENDED_EARLY


def training_config(run: Run) -> TrainConfig:
    """Return the config of a training run; raises RunError for a run of another task."""
    if not isinstance(run.config, TrainConfig):
        raise RunError(f"Run {run.id!r} is a {run.config.task!r} run, expected a training run. See: pmsi runs list.")
    return run.config
