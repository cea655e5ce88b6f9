"""Runs on the console: one line per run, live output while a run is worked on, and a run as JSON.

`one_line` and `describe` never raise for a damaged run folder: their result contains the damage.
"""

import contextlib
import dataclasses
import itertools
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from pmsi.base.errors import RunError
from pmsi.base.text import duration, percent, plural
from pmsi.cli.output import CLEAR
from pmsi.config.command import in_flags
from pmsi.runs import Run, State, jobs
from pmsi.runs.lifecycle import launcher_of

POLL_S = 0.5


def one_line(run: Run) -> str:
    """Return one line with a run's state, id, progress and accuracies, or its damage."""
    if run.damage is not None:
        return f"{'damaged':11}  {run.id}  {run.damage}"
    status = run.status()
    words = [f"{status.state.value:11}", run.id]
    if status.total and status.state.is_live:
        words.append(f"{percent(status.share)} ({status.text})")
    if status.waits:
        words.append(status.waits)
    if status.silent_s is not None:
        words.append(f"no sign of life for {duration(status.silent_s)}: it may be stuck, see pmsi runs show {run.id}")
    elif status.seconds_left is not None:
        words.append(f"{duration(status.seconds_left)} left")
    result = run.result() or {}
    accuracy = result.get("last", result).get("accuracy") or {}
    words += [f"{head} {percent(value)}" for head, value in accuracy.items() if isinstance(value, float)]
    if status.error:
        words.append(" ".join(status.error.message.split()))
    return "  ".join(words)


def say_unattended(root: Path) -> None:
    """Say on stderr which queued runs nobody will begin, and how to start them."""
    if waiting := jobs.unattended(root, jobs.UNATTENDED_S):
        words = shlex.join(["pmsi", "runs", "resume", waiting[0].id, "--queue", "--runs", str(root)])
        print(f"{plural(len(waiting), 'queued run')}: nobody works on the queue. To start it: {words}", file=sys.stderr)


def what_if_stuck(run: Run) -> str:
    """Return advice about a run whose worker may be stuck."""
    if launcher_of(run.folder) is None:  # in the foreground
        return (
            "In its terminal, Ctrl-C asks it to stop, and Ctrl-C again ends it at once; it can then be resumed from "
            "its last checkpoint. If it is known to take that long, leave it."
        )
    return (
        "If the log does not explain it, stop the run: a worker that does not stop by itself is killed after half a "
        "minute, and the run can be resumed from its last checkpoint."
    )


def describe(run: Run) -> dict[str, Any]:
    """Return a run's config, status and result as JSON types, and its damage; None for what cannot be read."""
    about = {"id": run.id, "config": None, "status": dataclasses.asdict(run.status()), "result": run.result()}
    if run.damage is not None:
        about["damage"] = run.damage
    with contextlib.suppress(RunError):
        about["config"] = run.config.to_dict()
    return about


def record_line(record: dict[str, Any]) -> str | None:
    """Return the record of an epoch or of a sweep's cell as a line; None for other records."""
    if record.get("kind") == "epoch":
        heads = "  ".join(f"{head} {percent(value)}" for head, value in record["accuracy"].items())
        return f"epoch {record['epoch']:4}  {heads}  ({duration(record['seconds'])})"
    if record.get("kind") == "cell":
        cell = f"{record['perturbation']} {record['severity']:g}" if record["perturbation"] else "clean"
        found = {id: about["heads"][about["primary"]]["accuracy"] for id, about in record["runs"].items()}
        return "  ".join([f"{cell:24}", *(f"{id} {percent(accuracy)}" for id, accuracy in found.items())])
    return None


def say(out: TextIO, text: str, end: str = "\n") -> None:
    """Print to a stream; an error such as a closed pipe is ignored, since the work must go on."""
    with contextlib.suppress(OSError):
        if out.isatty():
            out.write(CLEAR)
        print(text, end=end, file=out, flush=True)


@contextlib.contextmanager
def image_counter(out: TextIO, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a callback that shows "3 of 200 images checked" (``what``) on a terminal, or None elsewhere."""
    if not out.isatty():
        yield None
        return

    def show(done: int, total: int) -> None:
        if done % max(1, total // 200) == 0:
            say(out, f"{done} of {total} {what}", end="")

    try:
        yield show
    finally:
        say(out, "", end="")


@contextlib.contextmanager
def live_output(run: Run, out: TextIO) -> Iterator[None]:
    """Print the run's epochs, and on a terminal its progress, while the body works on it."""
    ended = threading.Event()
    watcher = threading.Thread(target=_print_records, args=(run, out, ended), daemon=True)
    say(out, run.id)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        status = run.status()
        say(out, f"{status.state.value}: {run.folder}")
        if status.error:
            say(out, in_flags(f"{status.error.message}\n{status.error.remedy}".rstrip()))
        if status.can_resume:
            words = ["python", "-m", "pmsi", "runs", "resume", run.id, "--runs", str(run.folder.parent)]
            say(out, f"To resume it: {shlex.join(words)}")


def _print_records(run: Run, out: TextIO, ended: threading.Event) -> None:
    # An earlier attempt has printed these; those after its checkpoint will be removed.
    seen, stopping = run.metrics(), False
    while True:
        is_last = ended.is_set()
        records = run.metrics()
        known = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(seen, records, strict=False)))
        for record in records[known:]:
            if line := record_line(record):
                say(out, line)
        seen = records
        status = run.status()
        if status.state is State.STOPPING and not stopping:
            say(out, "Stopping: a checkpoint is written first. Ctrl-C again ends it at once, without one.")
            stopping = True
        if out.isatty() and not is_last and status.total:
            left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
            say(out, f"{percent(status.share)} {status.text}{left}", end="")
        if is_last:
            return
        ended.wait(POLL_S)
