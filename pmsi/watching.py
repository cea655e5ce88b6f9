"""A run as lines of text: one line for a list, and lines as they come while somebody watches."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, TextIO

from pmsi.errors import RunError
from pmsi.runs import Run

POLL_S = 0.5


def percent(fraction: float) -> str:
    """Return 0.8314 as "83.1 %"."""
    return f"{100 * fraction:.1f} %"


def duration(seconds: float) -> str:
    """Return seconds as "42 s", "3 min 20 s" or "2 h 05 min"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def one_line(run: Run) -> str:
    """Return the state, the id, how far it is and, for a training run, its accuracy."""
    status = run.status()
    words = [f"{status.state.value:11}", run.id]
    if status.total and status.state.is_live:
        words.append(f"{percent(status.done / status.total)} ({status.text})")
    if status.seconds_left is not None:
        words.append(f"{duration(status.seconds_left)} left")
    with contextlib.suppress(RunError):
        result = run.result() or {}
        accuracy = result.get("last", result).get("accuracy") or {}
        words += [f"{head} {percent(value)}" for head, value in accuracy.items() if isinstance(value, float)]
    if status.error:
        words.append(status.error.message)
    return "  ".join(words)


def record_line(record: dict[str, Any]) -> str | None:
    """Return an epoch's or a cell's record as a line; None for records that are too many to print."""
    if record.get("kind") == "epoch":
        heads = "  ".join(f"{head} {percent(value)}" for head, value in record["accuracy"].items())
        return f"epoch {record['epoch']:4}  {heads}  ({duration(record['seconds'])})"
    if record.get("kind") == "cell":
        return "  ".join(f"{name} {value}" for name, value in record.items() if isinstance(value, str | int | float))
    return None


@contextlib.contextmanager
def following(run: Run, out: TextIO) -> Iterator[None]:
    """Print the run's epochs as they come, and on a terminal how far it is, while the body works on it."""
    ended = threading.Event()
    watcher = threading.Thread(target=_follow, args=(run, out, ended), daemon=True)
    print(run.id, file=out, flush=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        status = run.status()
        print(f"{status.state.value}: {run.folder}", file=out)
        if status.error:
            print(f"{status.error.message}\n{status.error.remedy}".rstrip(), file=out)


def _follow(run: Run, out: TextIO, ended: threading.Event) -> None:
    seen = 0
    while True:
        last_look = ended.is_set()
        records = run.metrics()
        for record in records[seen:]:
            if line := record_line(record):
                print(f"\r\033[K{line}" if out.isatty() else line, file=out, flush=True)
        seen = len(records)
        status = run.status()
        if out.isatty() and not last_look and status.total:
            left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
            print(f"\r\033[K{percent(status.done / status.total)} {status.text}{left}", end="", file=out, flush=True)
        if last_look:
            return
        ended.wait(POLL_S)
