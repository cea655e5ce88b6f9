"""A run's life: every state and every way from one to the next, whatever dies on the way."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest
from dying import deaths
from fake_pmsi import command
from waiting import until

from pmsi import tasks
from pmsi.base.errors import DataError, RunError
from pmsi.config import EvaluateConfig, TrainConfig
from pmsi.runs import Run, State, lifecycle, list_runs
from pmsi.runs.jobs import resume, stop, submit
from pmsi.runs.launchers import LAUNCHERS
from pmsi.runs.launchers.row import Launcher
from pmsi.tasks import execute

# These forks use no thread of the parent, whatever other tests have started there.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

launched = []
STEPS = 3


def launch(run):
    launched.append(run)


def steps(config, run):
    """Log one record a step, going on after those that are logged."""
    for step in range(len(run.metrics()), config.epochs):
        run.check_stop()
        run.log({"step": step})
        run.progress(step + 1, config.epochs, f"step {step}")
    return {"steps": config.epochs}


current = steps
"""What the runs here do; see the fixture ``task``."""


@pytest.fixture(autouse=True)
def tables(monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "train", tasks.Task(f"{__name__}:current"))
    monkeypatch.setitem(LAUNCHERS, "local", Launcher("Fake", launch, ""))
    launched.clear()


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path, TrainConfig(epochs=STEPS))


@pytest.fixture
def task(monkeypatch):
    """Return a function that makes ``function`` the task of the runs here."""

    def use(function):
        monkeypatch.setattr(sys.modules[__name__], "current", function)

    return use


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def until_stopped(config, run):
    until(run.check_stop)


def raising(error):
    def function(config, run):
        raise error

    return function


# A life without accidents


def test_created_queued_running_finished(run, task):
    seen = []

    def look(config, run):
        seen.append(Run(run.folder).state)
        return {"accuracy": float("nan")}

    task(look)
    assert run.state is State.CREATED
    submit(run)
    assert run.state is State.QUEUED
    request = lifecycle.queued_request(run.folder)
    submit(run)
    assert lifecycle.queued_request(run.folder) == request, "it keeps its place"
    assert launched == [run, run], "the launcher looks after it again"
    assert execute(run) is State.FINISHED
    assert seen == [State.RUNNING]
    assert run.result() == {"accuracy": None}
    status = run.status()
    assert status.started_at <= status.ended_at
    assert status.error is None


def test_stopping_and_resuming(run, task):
    go = threading.Event()
    task(lambda config, run: go.wait() and run.check_stop())
    worker = in_thread(lambda: execute(run))
    until(lambda: run.state is State.RUNNING)
    stop(run)
    assert run.state is State.STOPPING
    stop(run, grace_s=0)  # again, with less patience
    with pytest.raises(RunError, match="stopping"):
        submit(run)
    go.set()
    worker.join()
    assert run.state is State.STOPPED
    task(steps)
    resume(run)
    assert run.state is State.QUEUED
    assert execute(run) is State.FINISHED
    assert [record["step"] for record in run.metrics()] == [0, 1, 2]


def test_a_queued_run_stops_at_once(run, monkeypatch):
    submit(run)
    stop(run)
    assert run.state is State.STOPPED
    monkeypatch.setenv(lifecycle.ONLY_QUEUED, "1")
    assert execute(run) is State.STOPPED, "a worker that comes late leaves it alone"
    assert run.metrics() == []
    resume(run)
    assert run.state is State.QUEUED


def test_resume_keeps_checkpoints_and_metrics(run, task):
    task(raising(ValueError("x")))
    run.log({"step": 0})
    (run.checkpoints / "last").write_text("weights")
    assert execute(run) is State.FAILED
    resume(run)
    assert run.status().error is None
    task(steps)
    assert execute(run) is State.FINISHED
    assert (run.checkpoints / "last").read_text() == "weights"
    assert [record["step"] for record in run.metrics()] == [0, 1, 2]


# What is refused


@pytest.mark.parametrize(
    ("action", "refused"),
    [(submit, "stopped finished failed interrupted"), (resume, "created finished"),
     (stop, "created stopped finished failed interrupted"), (execute, "finished")],
)  # fmt: skip
def test_refusals_name_the_state(tmp_path, action, refused):
    for state in refused.split():
        run = Run.create(tmp_path, TrainConfig())
        if state == "queued":
            submit(run)
        elif state != "created":
            lock = lifecycle.begin(run.folder)
            lock.release() if state == "interrupted" else lifecycle.settle(run.folder, State(state), {}, lock)
        before = {path: path.stat().st_mtime_ns for path in run.folder.iterdir() if path.name != ".change"}
        assert run.state == state
        with pytest.raises(RunError, match=f"{run.id}' is {state}"):
            action(run)
        assert before == {path: path.stat().st_mtime_ns for path in run.folder.iterdir() if path.name != ".change"}


@pytest.mark.parametrize("action", [submit, resume, execute])
def test_a_run_has_one_worker(run, task, action):
    task(until_stopped)
    worker = in_thread(lambda: execute(run))
    until(lambda: run.state is State.RUNNING)
    with pytest.raises(RunError, match=f"{run.id}' is running.*pmsi runs stop"):
        action(run)
    assert run.state is State.RUNNING
    stop(run)
    worker.join()


# Failures


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (DataError("No data in 'x'."), "DataError", ""),
        (MemoryError(), "OutOfMemory", "batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"), "OutOfMemory", "batch_size"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "DiskFull", "space"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "ReaderDied", "workers"),
        (FileNotFoundError(2, "No such file", "x.jpg"), "MissingFile", "paths"),
        (ImportError("No module named 'x'"), "NotInstalled", "Install"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError", "log"),
    ],
)
def test_failures_are_named_and_say_what_to_do(run, task, error, kind, remedy):
    task(raising(error))
    assert execute(run) is State.FAILED
    report = run.status().error
    assert report.kind == kind
    assert str(error) in report.message
    assert remedy in report.remedy
    assert str(error) in report.log_tail
    assert ("Traceback" in report.log_tail) == (kind != "DataError")


@pytest.mark.parametrize("result", [None, {"x": object()}])
def test_a_result_that_is_no_json_fails_the_run(run, task, result):
    task(lambda config, run: result)
    assert execute(run) is State.FAILED
    assert run.status().error.kind == "TypeError"


def test_missing_code_and_damaged_configs_fail_the_run(tmp_path, monkeypatch):
    monkeypatch.setitem(tasks.TASKS, "evaluate", tasks.Task("pmsi.not_there:task"))
    run = Run.create(tmp_path, EvaluateConfig())
    assert execute(run) is State.FAILED
    assert run.status().error.kind == "NotInstalled"
    run = Run.create(tmp_path, TrainConfig())
    (run.folder / "config.json").write_text("{")
    assert execute(Run(run.folder)) is State.FAILED
    assert run.status().error.kind == "RunError"


@pytest.mark.parametrize(
    ("module", "name", "state"),
    [(lifecycle, "write_atomically", State.QUEUED), (tasks, "settle", State.INTERRUPTED)],
    ids=["at the start", "at the end"],
)
def test_a_full_disk_leaves_a_run_that_nobody_holds_and_that_can_go_on(run, monkeypatch, module, name, state):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    submit(run)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        with pytest.raises(OSError, match="No space"):
            execute(run)
    assert run.state is state
    assert execute(run) is State.FINISHED


# Signals


def start(run):
    submit(run)
    return subprocess.Popen(command("execute", run.folder), stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_request_to_stop_and_the_second_ends_a_task_that_does_not_listen(tmp_path, number):
    deaf = number == signal.SIGINT
    run = Run.create(tmp_path, TrainConfig(epochs=1, data="deaf" if deaf else "wait"))
    with start(run) as worker:
        until(lambda: (run.folder / "child").exists() if deaf else run.metrics())
        worker.send_signal(number)
        if deaf:
            until(lambda: run.state is State.STOPPING)
            worker.send_signal(number)
        assert worker.wait() == 0
    assert run.state is State.STOPPED
    if deaf:
        os.kill(int((run.folder / "child").read_text()), signal.SIGKILL)


def test_a_signal_to_a_forked_child_does_not_stop_the_run(run, task):
    def function(config, run):
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == signal.SIGTERM
        run.check_stop()
        return {}

    task(function)
    former = signal.getsignal(signal.SIGTERM)
    assert execute(run) is State.FINISHED
    assert signal.getsignal(signal.SIGTERM) is former


# kill -9, at every moment


def deaths_of(tmp_path, prepare, action):
    """Yield a run that died at each file operation of ``action``, one after the other, and at last one that did not."""

    def made():
        run = Run.create(tmp_path, TrainConfig(epochs=1))
        prepare(run)
        return run

    return deaths(made, action)


def finish(run):
    """Bring the run to its end by whatever its state allows."""
    if run.state is State.CREATED:
        submit(run)
    elif run.state.can_resume:
        resume(run)
    if run.state is not State.FINISHED:
        assert execute(run) is State.FINISHED
    assert [record["step"] for record in run.metrics()] == [0]
    assert not list(run.folder.glob(".*.tmp"))
    assert run.result() == {"steps": 1}


def test_a_worker_killed_at_any_moment_leaves_a_run_that_can_go_on(tmp_path):
    seen = set()
    for run in deaths_of(tmp_path, submit, execute):
        seen.add(run.state)
        assert run.status().error is None
        if run.state is State.INTERRUPTED:
            assert (run.folder / "started").exists()
        finish(run) if run.state is not State.FINISHED else None
    assert seen == {State.QUEUED, State.INTERRUPTED, State.FINISHED}


def fail(run):
    lock = lifecycle.begin(run.folder)
    run.log({"step": 0})
    lifecycle.settle(run.folder, State.FAILED, {"kind": "x"}, lock)


@pytest.mark.parametrize(
    ("prepare", "action", "states"), [(fail, resume, "failed interrupted queued"), (submit, stop, "queued stopped")]
)
def test_a_request_killed_at_any_moment(tmp_path, prepare, action, states):
    seen = set()
    for run in deaths_of(tmp_path, prepare, action):
        seen.add(str(run.state))
        finish(run)
    assert seen <= set(states.split())
    assert len(seen) > 1


# Many at once


def live(root):
    """Lead several runs through their lives, half of them with a failure on the way."""
    for turn in range(4):
        run = Run.create(root, TrainConfig(epochs=STEPS), name=f"{'twice' if turn % 2 else 'once'}")
        submit(run)
        if turn % 2:
            lock = lifecycle.begin(run.folder, only_queued=True)
            lifecycle.settle(run.folder, State.FAILED, {"kind": "x"}, lock)
            resume(run)
        execute(run)


def watch(root, done, wrong):
    """Note every step back of a run that fails at no time, and every state that no run here is ever in."""
    order, last = [State.CREATED, State.QUEUED, State.RUNNING, State.FINISHED], {}
    while not done.is_set():
        for run in list_runs(root):
            state, before = run.state, last.get(run.id, State.CREATED)
            if "twice" in run.id and state is State.FAILED:
                continue
            if state not in order or ("once" in run.id and order.index(state) < order.index(before)):
                wrong.append((run.id, before, state))
            last[run.id] = state


def test_states_are_right_under_concurrent_runs_and_pollers(tmp_path):
    workers = [multiprocessing.get_context("fork").Process(target=live, args=(tmp_path,)) for _ in range(4)]
    done, wrong = threading.Event(), []
    for worker in workers:
        worker.start()
    pollers = [in_thread(lambda: watch(tmp_path, done, wrong)) for _ in range(3)]
    for worker in workers:
        worker.join()
    done.set()
    for poller in pollers:
        poller.join()
    assert wrong == []
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert [run.state for run in list_runs(tmp_path)] == [State.FINISHED] * 4 * 4


def test_of_many_workers_one_gets_the_run(run):
    submit(run)
    results = []

    def work():
        try:
            results.append(execute(run))
        except RunError:
            results.append(None)

    threads = [in_thread(work) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert results.count(State.FINISHED) == 1
    assert results.count(None) == 3
    assert [record["step"] for record in run.metrics()] == [0, 1, 2]
