"""Commands about runs: make one of a task's flags, list them, show, stop and resume one, work on one.

Those that only keep the folder in order are in `pmsi.commands.keeping`.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pmsi import jobs
from pmsi.commands import keeping, sweeps
from pmsi.commands.grid import complete_start, look_ahead
from pmsi.config import CONFIGS, ExplainConfig, RobustnessConfig, TrainConfig, differences
from pmsi.errors import RunError, lookup
from pmsi.files import to_json
from pmsi.flags import POSITIONAL, command, to_config
from pmsi.keeping.disk import in_words, size_of
from pmsi.keeping.labels import labels_of
from pmsi.keeping.listing import Choice, chosen, entries
from pmsi.presets import PRESETS
from pmsi.runs import Run, State, known_runs
from pmsi.watching import describe, following, one_line, understanding, what_if_stuck
from pmsi.wording import duration

Arguments = argparse.Namespace
ENDED_EARLY = 1


def task(typed: Arguments) -> int:
    """Create the run that the flags describe, and queue it or work on it here."""
    preset = getattr(typed, "preset", None)
    start = CONFIGS[typed.task]() if preset is None else lookup("preset", PRESETS, preset).config
    of = getattr(typed, POSITIONAL, None)
    if of is not None:  # a config holds whole ids: how one begins may fit more runs tomorrow
        whole = [Run.open(typed.runs, id).id for id in ([of] if isinstance(of, str) else of)]
        setattr(typed, POSITIONAL, whole[0] if isinstance(of, str) else whole)
    if getattr(typed, "beside", None):
        typed.beside = Run.open(typed.runs, typed.beside).id
    complete_start(typed)
    config = to_config(start, typed).located()
    if isinstance(config, TrainConfig) and (typed.dry_run or typed.first_batch):
        return look_ahead(typed, config)
    if isinstance(config, RobustnessConfig) and typed.dry_run:
        return sweeps.look_ahead(typed, config)
    if isinstance(config, ExplainConfig) and typed.dry_run:
        return _foresee_maps(typed, config)
    jobs.check(config, typed.runs)
    run = Run.create(typed.runs, config)
    if typed.queue or typed.launcher:
        jobs.submit(run, typed.launcher or "local")
        print(run.id)
        return 0
    return work(run)


def _foresee_maps(typed: Arguments, config: ExplainConfig) -> int:
    """Say how many images are to be explained and about how long that takes here; start nothing."""
    from pmsi.maps import check, estimate

    check(config, typed.runs)
    found = estimate(config, typed.runs)
    if typed.json:
        print(to_json(dataclasses.asdict(found)))
        return 0
    print(
        f"{found.images} test images, {found.seconds_an_image:.2g} s each by {config.method}, and {found.tried} of "
        f"them put to trial: about {duration(found.seconds)} on this machine."
    )
    return 0


def work(run: Run) -> int:
    """Work on a run in the foreground, showing how it goes; print its result as JSON."""
    with following(run, sys.stderr):
        state = jobs.execute(run)
    print(to_json({"run": run.id, "state": state.value, "result": run.result()}, indent=1))
    return 0 if state is State.FINISHED else ENDED_EARLY


def runs(typed: Arguments) -> int:
    """Do what the action says with the runs that it names."""
    actions: dict[str, Callable[[Arguments], int]] = {
        "list": _list_runs,
        "show": _show_run,
        "stop": _stop_run,
        "resume": _resume_run,
        "compare": keeping.compare,
        "label": keeping.change_labels,
        "delete": keeping.delete,
        "restore": keeping.restore,
        "purge": keeping.purge,
    }
    return actions[typed.action](typed)


def _list_runs(typed: Arguments) -> int:
    """Print one's own runs that are wanted, and after them those that come with the program."""
    known = known_runs(typed.runs)
    choice = Choice(typed.text, typed.state, typed.method, typed.dataset, typed.tag)
    wanted = [entry.run for entry in chosen(entries(known), choice, typed.sort)]
    found = sorted(wanted, key=lambda run: run.is_shipped)  # each part stays in its order
    if typed.json:
        print(to_json([_described(run) for run in found], indent=1))
        return 0
    own = sum(not run.is_shipped for run in known)
    if not own:
        print(f"No runs in {typed.runs} yet. Start one: pmsi train --runs {typed.runs}")
    elif all(run.is_shipped for run in found):
        print(f"None of the {own} runs in {typed.runs} is like that.")
    for run in found:
        print(_noted(run))
    return 0


def _noted(run: Run) -> str:
    """Return a run's line, its size on disk, what people call it, and what its launcher knows of it besides."""
    seen, labels = jobs.look(run), labels_of(run)
    words = [one_line(run), in_words(size_of(run.folder)), labels.name, *(f"#{tag}" for tag in labels.tags)]
    words += [seen.text if seen else "", "comes with the program" if run.is_shipped else ""]
    return "  ".join(filter(None, words))


def _described(run: Run) -> dict[str, Any]:
    seen = jobs.look(run)
    about = {"labels": asdict(labels_of(run)), "bytes": size_of(run.folder), "shipped": run.is_shipped}
    return describe(run) | about | {"launcher": seen.text if seen else None}


def _show_run(typed: Arguments) -> int:
    run = Run.open(typed.runs, typed.run)
    if typed.json:
        print(to_json(_described(run), indent=1))
        return 0
    with understanding(run):
        lines = [_noted(run), f"  {command(run.config, typed.runs)}"]
        if note := labels_of(run).note:
            lines += [f"  | {line}" for line in note.splitlines()]
        lines += [f"  {name} = {value}" for name, value in differences(run.config).items()]
        status = run.status()
        if status.silent_s is not None:
            lines.append(f"  {what_if_stuck(run)}")
        if error := status.error:
            lines.append(f"  {error.kind}: {error.message}\n  {error.remedy}".rstrip())
        if result := run.result():
            lines.append(to_json(result, indent=1))
    print("\n".join(lines))
    return 0


def _stop_run(typed: Arguments) -> int:
    run = Run.open(typed.runs, typed.run)
    jobs.stop(run)
    while run.state in (State.STOPPING, State.RUNNING):
        time.sleep(0.1)
    print(one_line(run))
    return 0


def _resume_run(typed: Arguments) -> int:
    run = Run.open(typed.runs, typed.run)
    jobs.follow(run)
    if not (run.state.can_resume or run.state is State.CREATED):
        raise RunError(f"Run {run.id} is {run.state.value}: only a stopped, interrupted or failed run can be resumed.")
    if not (typed.queue or typed.launcher):
        return work(run)
    if run.state is State.CREATED:
        jobs.submit(run, typed.launcher or "local")
    else:
        jobs.resume(run, typed.launcher)
    print(run.id)
    return 0


def execute(typed: Arguments) -> int:
    """Work on a run folder: what launchers call."""
    folder = typed.folder.resolve()
    if not (folder / "config.json").is_file():
        raise RunError(f"{typed.folder} is no run folder: it has no config.json. See: pmsi runs list.")
    jobs.become_ranks(Run(folder))
    state = jobs.execute(Run(folder))
    return 0 if state is State.FINISHED else ENDED_EARLY


def runner(typed: Arguments) -> int:
    """Work off the queue of a runs folder: what the local launcher calls."""
    from pmsi.launchers.local import serve

    serve(typed.runs, typed.device)
    return 0
