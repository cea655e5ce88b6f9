"""List, show, compare, label, delete, stop and resume runs."""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pmsi.base.errors import DataError, RunError
from pmsi.base.files import to_json
from pmsi.base.text import plural
from pmsi.cli.console import describe, image_counter, one_line, say_unattended, what_if_stuck
from pmsi.cli.flags import add_queue, add_runs, whole
from pmsi.cli.task import training_config, work
from pmsi.config import TrainConfig, differences, from_dict
from pmsi.config.command import command, flag
from pmsi.data import open_dataset
from pmsi.data.record import DataRecord
from pmsi.runs import Run, State, comparison, jobs, known_runs, trash
from pmsi.runs.disk import in_words, size_of
from pmsi.runs.labels import label, labels_of
from pmsi.runs.listing import ORDERS, Choice, chosen, entries
from pmsi.runs.record import record_of, trained_by
from pmsi.runs.run import CHECKPOINT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, (help, many) in {
        "list": ("All runs, newest first, and those that ship with the program.", None),
        "show": ("One run: its state, settings, results and the command that repeats it.", ""),
        "check": ("Print what a run, or a checkpoint file, was trained on, and whether the data have changed.", ""),
        "stop": ("Ask a run to stop; it writes a checkpoint first.", ""),
        "resume": ("Continue a run that was stopped, interrupted or has failed.", ""),
        "compare": ("Compare training runs: accuracies, time, and settings that differ.", "+"),
        "label": ("Name, tag or annotate a run; prints its labels.", ""),
        "delete": ("Delete runs; they can be restored until they are purged.", "+"),
        "restore": ("Restore deleted runs; without a name, list them.", "*"),
        "purge": ("Remove deleted runs for good, by default all of them.", "*"),
    }.items():
        action = actions.add_parser(name, help=help, description=help)
        if many is not None:
            action.add_argument("run", nargs=many or None, metavar="RUN", help="Run: its id, or the start of it.")
        if name in ("list", "show", "check", "compare"):
            action.add_argument("--json", action="store_true", help="Print JSON.")
        _OF_ACTION.get(name, lambda parser: None)(action)
        add_runs(action)


def _list(parser: argparse.ArgumentParser) -> None:
    for name, help in {
        "text": "Only runs in whose id, name, tags, note or settings these words occur.",
        "state": "Only runs in this state.",
        "method": "Only training runs of this method.",
        "dataset": "Only training runs on this data set.",
        "tag": "Only runs with this tag.",
    }.items():
        parser.add_argument(flag(name), default="", metavar=name.upper(), help=help)
    help = f"Order [newest] ({' | '.join(ORDERS)})."
    parser.add_argument("--sort", choices=tuple(ORDERS), default="newest", metavar="NAME", help=help)


def _label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", metavar="TEXT", help="Name of the run; empty removes it.")
    parser.add_argument("--tag", dest="tags", nargs="*", metavar="TAG", help="Its tags; they replace the present ones.")
    parser.add_argument("--note", metavar="TEXT", help="Note; empty removes it.")


def _head(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--head", metavar="NAME", help="Output whose accuracy is compared [each run's primary one].")


def _days(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--days", type=whole(0, 36500), default=0, metavar="N", help="Keep the last N days' [0].")


_OF_ACTION = {"list": _list, "resume": add_queue, "compare": _head, "label": _label, "purge": _days}
"""Functions that add an action's own arguments."""


def run(typed: argparse.Namespace) -> int:
    """Run the typed action."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list_runs,
        "show": _show_run,
        "check": _check_run,
        "stop": _stop_run,
        "resume": _resume_run,
        "compare": _compare,
        "label": _change_labels,
        "delete": _delete,
        "restore": _restore,
        "purge": _purge,
    }
    return actions[typed.action](typed)


def _list_runs(typed: argparse.Namespace) -> int:
    """Print the selected runs, followed by those that ship with the program."""
    known = known_runs(typed.runs, damaged=True)
    choice = Choice(typed.text, typed.state, typed.method, typed.dataset, typed.tag)
    wanted = [entry.run for entry in chosen(entries(known), choice, typed.sort)]
    found = sorted(wanted, key=lambda run: run.is_shipped)  # the sort is stable
    if typed.json:
        print(to_json([_described(run) for run in found], indent=1))
        return 0
    own = sum(not run.is_shipped for run in known)
    if not own:
        print(f"No runs in {typed.runs} yet. Start one: pmsi train --runs {typed.runs}")
    elif all(run.is_shipped for run in found):
        print(f"None of the {own} runs in {typed.runs} matches.")
    for run in found:
        print(_noted(run))
    say_unattended(typed.runs)
    return 0


def _noted(run: Run) -> str:
    """Return a run's line with its size on disk, labels and launcher's status."""
    status, labels = jobs.launcher_status(run), labels_of(run)
    words = [one_line(run), in_words(size_of(run.folder)), labels.name, *(f"#{tag}" for tag in labels.tags)]
    words += [status.text if status else "", "comes with the program" if run.is_shipped else ""]
    return "  ".join(filter(None, words))


def _described(run: Run) -> dict[str, Any]:
    status = jobs.launcher_status(run)
    about = {"labels": asdict(labels_of(run)), "bytes": size_of(run.folder), "shipped": run.is_shipped}
    return describe(run) | about | {"launcher": status.text if status else None}


def _show_run(typed: argparse.Namespace) -> int:
    run = Run.open(typed.runs, typed.run)
    if typed.json:
        print(to_json(_described(run), indent=1))
        return 0
    lines, settings = [_noted(run)], []
    with contextlib.suppress(RunError):  # a damaged run shows what can be read
        lines.append(f"  {command(run.config, typed.runs)}")
        settings = [f"  {name} = {value}" for name, value in differences(run.config).items()]
    lines += [f"  | {line}" for line in labels_of(run).note.splitlines()]
    lines += settings
    status = run.status()
    if status.silent_s is not None:
        lines.append(f"  {what_if_stuck(run)}")
    if error := status.error:
        lines.append(f"  {error.kind}: {error.message}\n  {error.remedy}".rstrip())
    if result := run.result():
        lines.append(to_json(result, indent=1))
    print("\n".join(lines))
    return 0


def _check_run(typed: argparse.Namespace) -> int:
    """Print what a run was trained on and how the data on disk differ; the exit status is 1 if they differ."""
    name, config, record = _trained_on(typed)
    try:
        with image_counter(sys.stderr, "images checked") as progress:
            now = DataRecord.of(open_dataset(config, progress))
        changes = [] if record is None else record.changes(now)
    except DataError as error:
        changes = [f"they cannot be read: {str(error).removesuffix('.')}"]
    same = None if record is None else not changes
    if typed.json:
        print(to_json({"run": name, "record": None if record is None else _recorded(record), "same": same,
                       "changes": changes}, indent=1))  # fmt: skip
        return 0 if same else 1
    if record is None:
        print(f"{name} has no record of its data: what it was trained on is unknown, apart from its settings.")
        for change in changes:
            print(f"The data on disk: {change}.")
    else:
        about = _recorded(record)
        images = f"{about['train']} training and {about['test']} test images"
        images += f", {about['validation']} held back" if about["validation"] else ""
        print(f"{name} was trained on {record.name}: {len(record.classes)} classes, {images}, {record.digest}.")
        print("The data on disk are the same." if same else f"The data on disk: {'; '.join(changes)}.")
    return 0 if same else 1


def _trained_on(typed: argparse.Namespace) -> tuple[str, TrainConfig, DataRecord | None]:
    """Return the name, the config and the record of the typed run, or of a checkpoint without its run."""
    if Path(typed.run).suffix == Path(CHECKPOINT).suffix:
        from pmsi.engine.checkpoint import load_checkpoint  # torch, which the other actions do without

        checkpoint = load_checkpoint(Path(typed.run))
        config = from_dict(checkpoint.about["config"])
        assert isinstance(config, TrainConfig)
        return typed.run, config, checkpoint.record
    trained = trained_by(Run.open(typed.runs, typed.run))
    return trained.id, training_config(trained), record_of(trained)


def _recorded(record: DataRecord) -> dict[str, Any]:
    counts: dict[str, Any] = {split: len(getattr(record, split)) for split in ("train", "test", "validation")}
    counts |= {"passed_over": dict(record.passed_over)}
    return {"name": record.name, "classes": record.classes, "digest": record.digest} | counts


def _stop_run(typed: argparse.Namespace) -> int:
    run = Run.open(typed.runs, typed.run)
    jobs.stop(run)
    while run.state in (State.STOPPING, State.RUNNING):
        time.sleep(0.1)
    print(one_line(run))
    return 0


def _resume_run(typed: argparse.Namespace) -> int:
    run = Run.open(typed.runs, typed.run)
    jobs.fail_if_lost(run)
    goes_on = run.state.can_resume or run.state is State.CREATED or run in jobs.unattended(run.folder.parent)
    if not goes_on:
        raise RunError(f"Run {run.id} is {run.state.value}: only a stopped, interrupted or failed run can be resumed.")
    if not (typed.queue or typed.launcher):
        return work(run)
    if run.state is State.CREATED:
        jobs.submit(run, typed.launcher or "local")
    else:
        jobs.resume(run, typed.launcher)
    print(run.id)
    return 0


def _compare(typed: argparse.Namespace) -> int:
    """Print a comparison of training runs."""
    runs = comparison.training_runs(Run.open(typed.runs, id) for id in typed.run)
    if typed.json:
        print(to_json(comparison.as_json(runs, typed.head), indent=1))
    else:
        print(comparison.text(runs, typed.head))
    return 0


def _change_labels(typed: argparse.Namespace) -> int:
    """Change the labels that are given, and print all labels of the run."""
    run = Run.open(typed.runs, typed.run)
    given = {key: value for key in ("name", "tags", "note") if (value := getattr(typed, key)) is not None}
    labels = label(run, **given) if given else labels_of(run)
    print(to_json({"run": run.id, "name": labels.name, "tags": labels.tags, "note": labels.note}, indent=1))
    return 0


def _delete(typed: argparse.Namespace) -> int:
    """Move runs into the trash, after checking all of them."""
    runs = [Run.open(typed.runs, id) for id in dict.fromkeys(typed.run)]
    users = trash.check(runs)
    for run in runs:
        trash.delete(run)
        print(f"{run.id} is deleted. To restore it: pmsi runs restore {run.id}")
    if users:
        some = ", ".join(run.id for run in users[:3]) + (", …" if len(users) > 3 else "")
        print(f"Runs that used what was deleted: {some}. They keep their results, but cannot be resumed.")
    return 0


def _restore(typed: argparse.Namespace) -> int:
    """Restore deleted runs, or list them if none is named."""
    for id in typed.run:
        print(trash.restore(typed.runs, id).id)
    if not typed.run:
        found = trash.deleted_runs(typed.runs)
        for each in found:
            print(each.run.id)
        if not found:
            print(f"No deleted runs in {typed.runs}.")
    return 0


def _purge(typed: argparse.Namespace) -> int:
    """Remove deleted runs for good."""
    before = trash.size_of_trash(typed.runs)
    gone = trash.purge(typed.runs, ids=typed.run or None, older_than_s=typed.days * trash.DAY_S)
    freed = in_words(max(0, before - trash.size_of_trash(typed.runs)))
    print(f"{plural(len(gone), 'deleted run')} removed for good, {freed} freed.")
    return 0
