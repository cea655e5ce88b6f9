"""TASKS: the kinds of run, and `execute`, which works on a run folder in this process.

Launchers (`pmsi.runs.launchers`) start processes that call `execute` by ``python -m pmsi execute FOLDER``.
"""

import contextlib
import ctypes
import importlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from pmsi.base.errors import DiskFull, PMSIError, RunError, lookup
from pmsi.base.files import free_at, to_json, write_atomically
from pmsi.config import Config
from pmsi.runs import Run, SecondaryRun, State, Stopped, jobs, ranks
from pmsi.runs.failures import describe
from pmsi.runs.lifecycle import GRACE_S, ONLY_QUEUED, PARENT, begin, launcher_of, settle

PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class Task:
    """A kind of run.

    ``function`` is ``"module:function"``, called as ``function(config, run)``; it returns a dict of JSON types.
    ``check`` is another, called as ``check(config, root)`` before a run is created; it raises a PMSIError if the run
    could not start, and may return lines that are to be said about it. ``check_data`` is one more, called as
    ``check_data(configs, progress)``, which reads the data sets of some runs for that.
    """

    function: str
    check: str | None = None
    check_data: str | None = None


TASKS: dict[str, Task] = {
    "train": Task("pmsi.training.session:train", "pmsi.training.session:check", "pmsi.training.session:check_data"),
    "evaluate": Task("pmsi.evaluation:evaluate", "pmsi.evaluation:check"),
    "robustness": Task("pmsi.robustness.sweep:sweep", "pmsi.robustness.sweep:check"),
    "calibrate": Task("pmsi.calibrate:calibrate", "pmsi.calibrate:check"),
    "unknowns": Task("pmsi.unknowns:measure_unknowns", "pmsi.unknowns:check"),
    "maps": Task("pmsi.maps:measure_maps", "pmsi.maps:check"),
}


def import_function(function: str) -> Callable[..., Any]:
    """Return the function named ``"module:function"``; its module is imported on this call."""
    module, _, name = function.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def check(config: Config, root: Path, launcher: str = "local") -> list[str]:
    """Return what is to be said about a run of ``config``; raises a PMSIError if it could not start in ``root``.

    What this machine lacks matters only where it is to do the work.
    """
    task = lookup("task", TASKS, config.task)
    said: list[str] = (import_function(task.check)(config, root) if task.check else None) or []
    if launcher == "local":
        import_function("pmsi.engine.machine:check_machine")(config)
    return said


def check_all(
    config: Config, root: Path, launcher: str = "local", progress: Callable[[int, int], None] | None = None
) -> list[str]:
    """Do what `check` and `check_data` do for one run."""
    said = check(config, root, launcher)
    check_data([config], progress)
    return said


def check_data(configs: Iterable[Config], progress: Callable[[int, int], None] | None = None) -> None:
    """Raise a PMSIError if a data set does not allow one of some runs; each data set is read once."""
    by_task: dict[str, list[Config]] = {}
    for config in configs:
        by_task.setdefault(config.task, []).append(config)
    for name, alike in by_task.items():
        if function := TASKS[name].check_data:
            import_function(function)(alike, progress)


def queue(config: Config, root: Path, launcher: str = "local") -> Run:
    """Return a new run of ``config`` in the runs folder ``root``, queued; raises a PMSIError if it could not start.

    A run that cannot be queued is not left behind.
    """
    check_all(config, root, launcher)
    run = Run.create(root, config)
    try:
        jobs.submit(run, launcher)
    except BaseException:
        if not run.state.is_live:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return run


def execute(run: Run) -> State:
    """Work on ``run`` in this process until it ends, and return its final state.

    The first SIGINT or SIGTERM asks the task to stop; the second ends it at once. For a run on several devices, this
    process starts one process per device and waits for them. Raises RunError if another process works on the run.
    """
    _die_with_parent()
    if _devices(run) > 1:
        return _wait_for_ranks(run)
    if ranks.rank() != ranks.FIRST:
        return _work_as_secondary(SecondaryRun(run.folder))
    lock = begin(run.folder, only_queued=os.environ.pop(ONLY_QUEUED, "") == "1")
    if lock is None:
        return run.state
    try:
        ranks.remove_old_errors(run.folder)
        with _signals_stop(run):
            state, about = _attempt(run)
        return settle(run.folder, state, about, lock)
    finally:
        lock.release()


def become_ranks(run: Run) -> None:
    """Replace this process by torchrun if the run asks for several devices; torchrun ends with this one's parent."""
    if (devices := _devices(run)) > 1:
        _die_with_parent()
        argv = ranks.torchrun(run.folder, devices)
        os.execve(argv[0], argv, os.environ | {PARENT: str(os.getpid())})


def _devices(run: Run) -> int:
    """Return how many processes a run needs; 1 for a run that cannot be read, whose worker then reports the error."""
    try:
        return ranks.wanted(run.config)
    except RunError:
        return 1


def _wait_for_ranks(run: Run) -> State:
    command = [sys.executable, "-m", "pmsi", "execute", str(run.folder)]
    environment = os.environ | {PARENT: str(os.getpid())}
    with _signals_stop(run):  # in a new session: Ctrl-C must reach this process only, which asks the others to stop
        code = subprocess.Popen(command, env=environment, start_new_session=True).wait()
    if (about := ranks.read_error(run.folder)) is not None:
        settle(run.folder, State.FAILED, about)  # does nothing if rank 0 has done so
    if run.state is State.CREATED:
        raise RunError(f"The processes of run {run.id!r} did not start (exit status {code}); the lines above say why.")
    return run.state


def _work_as_secondary(run: Run) -> State:
    """Work on a run as a rank other than 0; rank 0 holds the lock and decides the final state."""
    try:
        with _signals(signal.SIG_IGN):  # they reach all ranks: rank 0 handles them
            import_function(lookup("task", TASKS, run.config.task).function)(run.config, run)
    except Stopped:
        return (
            State.FINISHED
        )  # this rank's part: after a failure, torchrun would end rank 0 before it has written its checkpoint
    except Exception as error:
        if not ranks.is_peer_failure(error):
            ranks.write_error(run.folder, describe(error, run.folder))
        run.append_log(f"Process {ranks.rank()} of {ranks.world_size()}:\n{traceback.format_exc()}")
        return State.FAILED
    return State.FINISHED


@contextlib.contextmanager
def _signals(handler: Any, numbers: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM)) -> Iterator[None]:
    """Handle signals in another way for as long as the context lasts."""
    former = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def _attempt(run: Run) -> tuple[State, dict[str, Any]]:
    """Run the task; return the final state and the content of its file."""
    try:
        task = lookup("task", TASKS, run.config.task)
        result = import_function(task.function)(run.config, run)
        if not isinstance(result, dict):
            raise TypeError(f"Task {run.config.task!r} returned {type(result).__name__}, expected a dict.")
        to_json(result)
        run.flush_progress()
        return State.FINISHED, {"result": result}
    except (Stopped, KeyboardInterrupt):
        return State.STOPPED, {"hard": False}
    except (Exception, SystemExit) as error:
        cause = ranks.read_error(run.folder, ranks.ERROR_WAIT_S) if ranks.is_peer_failure(error) else None
        if cause is not None:
            return State.FAILED, cause  # the other rank has written its traceback to the log
        text = f"{type(error).__name__}: {error}" if isinstance(error, PMSIError) else traceback.format_exc()
        with contextlib.suppress(OSError):  # the disk may be full; error.json then says so
            run.append_log(text)
        if isinstance(error, DiskFull) and launcher_of(run.folder) == "local" and free_at(run.folder) < error.needed:
            return State.QUEUED, {"needs": error.needed}  # it goes on when there is room
        return State.FAILED, describe(error, run.folder)


@contextlib.contextmanager
def _signals_stop(run: Run) -> Iterator[None]:
    """Treat the first SIGINT or SIGTERM as a request to stop. Does nothing outside the main thread.

    A signal that is ignored stays ignored: the parent process handles it (see `pmsi.runs.launchers.slurm_job`).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner, asked = os.getpid(), False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if os.getpid() != owner:  # a forked child inherits this handler; there the signal has its default effect
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if asked:
            raise KeyboardInterrupt
        asked = True
        # Not `request_stop`: this thread may hold the lock for a change, and would wait for itself.
        write_atomically(run.folder / "stop", to_json({"at": time.time(), "grace_s": GRACE_S}), durable=False)

    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
    with _signals(on_signal, heard):
        yield


def _die_with_parent() -> None:
    """In a worker of a runner: get killed when the runner dies, or end now if it is dead already. Linux only."""
    parent = os.environ.pop(PARENT, "")
    if not parent or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        os._exit(1)
