"""A run as lines of text and as JSON: one line for a list, and lines as they come while somebody watches.

Whatever is wrong with one run folder, `one_line` and `describe` raise nothing: they say what is wrong.
"""

import contextlib
import dataclasses
import itertools
import shlex
import threading
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from pmsi.base.errors import RunError
from pmsi.base.text import duration, percent
from pmsi.runs import Run, State
from pmsi.runs.lifecycle import launcher_of

POLL_S = 0.5

CLEAR = "\r\033[K"
"""Empties the line that the cursor of a terminal is on."""

DAMAGE = (RunError, OSError, AttributeError, KeyError, TypeError, ValueError)
"""What reading the files of a run raises where they do not hold what the worker writes."""


@contextlib.contextmanager
def understanding(run: Run) -> Iterator[None]:
    """Turn whatever comes of a run's damaged files into a RunError."""
    try:
        yield
    except RunError:
        raise
    except DAMAGE as error:
        raise RunError(f"Run {run.id!r}: its files cannot be understood ({error!r}). Create a new run.") from error


def one_line(run: Run) -> str:
    """Return the state, the id, how far it is and, for a training run, its accuracy."""
    try:
        with understanding(run):
            return _one_line(run)
    except RunError as error:
        return f"{'damaged':11}  {run.id}  {error}"


def _one_line(run: Run) -> str:
    status = run.status()
    words = [f"{status.state.value:11}", run.id]
    if status.total and status.state.is_live:
        words.append(f"{percent(status.done / status.total)} ({status.text})")
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


def what_if_stuck(run: Run) -> str:
    """Return what to do about a run whose worker is alive but has given no sign of life for too long."""
    if launcher_of(run.folder) is None:  # worked on by hand: nobody watches its worker
        return (
            "Where it runs, Ctrl-C asks it to stop, and Ctrl-C again ends it at once; it can then be resumed from its "
            "last checkpoint. If it computes something that takes that long, leave it."
        )
    return (
        "If the log does not explain it, stop the run: a worker that does not stop by itself is ended after half a "
        "minute, and the run can be resumed from its last checkpoint."
    )


def describe(run: Run) -> dict[str, Any]:
    """Return a run as JSON types: what it is, how it stands, what came of it; what cannot be read is None."""
    about: dict[str, Any] = {"id": run.id, "config": None, "status": None, "result": None}
    try:
        with understanding(run):
            about |= {"status": dataclasses.asdict(run.status()), "result": run.result()}
            about["config"] = run.config.to_dict()
    except RunError as error:
        about["damage"] = str(error)
    return about


def record_line(record: dict[str, Any]) -> str | None:
    """Return an epoch's or a cell's record as a line; None for records that are too many to print."""
    if record.get("kind") == "epoch":
        heads = "  ".join(f"{head} {percent(value)}" for head, value in record["accuracy"].items())
        return f"epoch {record['epoch']:4}  {heads}  ({duration(record['seconds'])})"
    if record.get("kind") == "cell":
        cell = f"{record['perturbation']} {record['severity']:g}" if record["perturbation"] else "clean"
        found = {id: about["heads"][about["primary"]]["accuracy"] for id, about in record["runs"].items()}
        return "  ".join([f"{cell:24}", *(f"{id} {percent(accuracy)}" for id, accuracy in found.items())])
    return None


def say(out: TextIO, text: str, end: str = "\n") -> None:
    """Print where somebody may have stopped listening, which is no reason to end the work."""
    with contextlib.suppress(OSError):
        print(f"{CLEAR}{text}" if out.isatty() else text, end=end, file=out, flush=True)


@contextlib.contextmanager
def counting(out: TextIO, what: str) -> Iterator[Callable[[int, int], None] | None]:
    """Give what shows "3 of 200 images checked" (``what``) on a terminal, and None elsewhere; it is gone afterwards."""
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
def following(run: Run, out: TextIO) -> Iterator[None]:
    """Print the run's epochs as they come, and on a terminal how far it is, while the body works on it."""
    ended = threading.Event()
    watcher = threading.Thread(target=_follow, args=(run, out, ended), daemon=True)
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
            say(out, f"{status.error.message}\n{status.error.remedy}".rstrip())
        if status.state.can_resume:
            words = ["python", "-m", "pmsi", "runs", "resume", run.id, "--runs", str(run.folder.parent)]
            say(out, f"Go on with it: {shlex.join(words)}")


def _follow(run: Run, out: TextIO, ended: threading.Event) -> None:
    seen, told = run.metrics(), False  # an earlier attempt's have been shown; those after its checkpoint will go
    while True:
        last_look = ended.is_set()
        records = run.metrics()
        known = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(seen, records, strict=False)))
        for record in records[known:]:
            if line := record_line(record):
                say(out, line)
        seen = records
        status = run.status()
        if status.state is State.STOPPING and not told:
            say(out, "Stopping: a checkpoint is written first. Ctrl-C again ends it at once, without one.")
            told = True
        if out.isatty() and not last_look and status.total:
            left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
            say(out, f"{percent(status.done / status.total)} {status.text}{left}", end="")
        if last_look:
            return
        ended.wait(POLL_S)
