"""TASKS: the kinds of run, and the worker, which executes one.

`execute` works on a run folder in this process. Launchers (`pmsi.runs.launchers`) start processes that call it, by
``python -m pmsi execute FOLDER``.
"""

import contextlib
import ctypes
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from pmsi.base.errors import PMSIError, RunError, lookup
from pmsi.base.files import to_json, write_atomically
from pmsi.config import Config
from pmsi.runs import Onlooker, Run, State, Stopped, ranks
from pmsi.runs.failures import describe
from pmsi.runs.lifecycle import GRACE_S, ONLY_QUEUED, PARENT, begin, settle

PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class Task:
    """A kind of run.

    ``function`` is ``"module:function"``, called as ``function(config, run)``; it returns a dict. ``check`` is another,
    called as ``check(config, root)`` before a run is made; it raises what can be known to be wrong without working.
    """

    title: str
    function: str
    help: str
    check: str | None = None


TASKS: dict[str, Task] = {
    "train": Task(
        "Train",
        "pmsi.training.session:train",
        "Train a model; an interrupted run goes on where it was.",
        "pmsi.training.session:check",
    ),
    "evaluate": Task(
        "Evaluate", "pmsi.evaluation:evaluate", "Accuracy of every head of a trained model.", "pmsi.evaluation:check"
    ),
    "robustness": Task(
        "Robustness",
        "pmsi.robustness.task:sweep",
        "Accuracy of trained models on perturbed images.",
        "pmsi.robustness.task:check",
    ),
    "maps": Task("Maps", "pmsi.maps:explain", "Where a trained model looks, in numbers.", "pmsi.maps:check"),
}


def resolve(function: str) -> Callable[..., Any]:
    """Return the function that ``"module:function"`` names; its module is imported only now."""
    module, _, name = function.partition(":")
    resolved: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return resolved


def check(config: Config, root: Path) -> None:
    """Raise a PMSIError if a run of ``config`` in the runs folder ``root`` could not even start."""
    task = lookup("task", TASKS, config.task)
    if task.check:
        resolve(task.check)(config, root)


def execute(run: Run) -> State:
    """Work on ``run`` here, in this process, until it ends, and return the state in which it ended.

    The first SIGINT or SIGTERM asks the task to stop; the second ends it where it is. A run on several devices is
    worked on by processes of their own, and waited for.
    """
    _die_with_parent()
    if _devices(run) > 1:
        return _wait_for_ranks(run)
    if ranks.rank() != ranks.FIRST:
        return _assist(Onlooker(run.folder))
    lock = begin(run.folder, only_queued=os.environ.pop(ONLY_QUEUED, "") == "1")
    if lock is None:
        return run.state
    try:
        ranks.forget(run.folder)
        with _signals_stop(run):
            state, about = _attempt(run)
        return settle(run.folder, state, about, lock)
    finally:
        lock.release()


def become_ranks(run: Run) -> None:
    """Turn this process into torchrun, if the run is one for several devices; it ends with whoever started it."""
    if (devices := _devices(run)) > 1:
        _die_with_parent()
        argv = ranks.torchrun(run.folder, devices)
        os.execve(argv[0], argv, os.environ | {PARENT: str(os.getpid())})


def _devices(run: Run) -> int:
    """Return how many processes are to be started for a run; a damaged one is left to those who say what is wrong."""
    try:
        return ranks.wanted(run.config)
    except RunError:
        return 1


def _wait_for_ranks(run: Run) -> State:
    command = [sys.executable, "-m", "pmsi", "execute", str(run.folder)]
    environment = os.environ | {PARENT: str(os.getpid())}
    with _signals_stop(run):  # a session of its own: Ctrl-C shall reach this process alone, which asks them to stop
        code = subprocess.Popen(command, env=environment, start_new_session=True).wait()
    if (about := ranks.told(run.folder)) is not None:
        settle(run.folder, State.FAILED, about)  # unless rank 0 could say so itself
    if run.state is State.CREATED:
        raise RunError(f"The processes of run {run.id!r} did not start (exit status {code}); the lines above say why.")
    return run.state


def _assist(run: Run) -> State:
    """Work on a run beside the process that holds its lock; what it ends in is decided there."""
    try:
        with _signals_ignored():
            resolve(lookup("task", TASKS, run.config.task).function)(run.config, run)
    except Stopped:
        return State.FINISHED  # its part, that is: torchrun would end the one that writes, were this called a failure
    except Exception as error:
        if not ranks.is_alone(error):
            ranks.tell(run.folder, describe(error))
        run.append_log(f"Process {ranks.rank()} of {ranks.world_size()}:\n{traceback.format_exc()}")
        return State.FAILED
    return State.FINISHED


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    """Leave a first SIGINT or SIGTERM, which reaches all processes, to the one that leads."""
    former = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _attempt(run: Run) -> tuple[State, dict[str, Any]]:
    """Run the task; return how it ended, and what to write down about that."""
    try:
        task = lookup("task", TASKS, run.config.task)
        result = resolve(task.function)(run.config, run)
        if not isinstance(result, dict):
            raise TypeError(f"Task {run.config.task!r} returned {type(result).__name__}, expected a dict.")
        to_json(result)
        run.flush_progress()
        return State.FINISHED, {"result": result}
    except (Stopped, KeyboardInterrupt):
        return State.STOPPED, {"hard": False}
    except (Exception, SystemExit) as error:
        told = ranks.told(run.folder, ranks.TELL_S) if ranks.is_alone(error) else None
        if told is not None:
            return State.FAILED, told  # its traceback stands in the log, and is the one to read
        text = f"{type(error).__name__}: {error}" if isinstance(error, PMSIError) else traceback.format_exc()
        with contextlib.suppress(OSError):  # the disk may be full, which is then what error.json says
            run.append_log(text)
        return State.FAILED, describe(error)


@contextlib.contextmanager
def _signals_stop(run: Run) -> Iterator[None]:
    """Let the first SIGINT or SIGTERM be a request to stop. Only the main thread can; elsewhere nothing changes.

    A signal that is ignored stays so: whoever started this process will say in another way what it means.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner, asked = os.getpid(), False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if os.getpid() != owner:  # a forked child inherits this handler, but a signal to it is its own affair
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if asked:
            raise KeyboardInterrupt
        asked = True
        # Not `request_stop`: this thread may be in the middle of a change, and would wait for itself.
        write_atomically(run.folder / "stop", to_json({"at": time.time(), "grace_s": GRACE_S}), durable=False)

    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    former = {number: signal.signal(number, on_signal) for number in heard}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _die_with_parent() -> None:
    """In a worker of a runner: be killed when the runner dies, or end now if it has died already. Linux only."""
    parent = os.environ.pop(PARENT, "")
    if not parent or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        os._exit(1)
