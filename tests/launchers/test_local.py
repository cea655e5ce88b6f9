"""The local launcher with real processes: order, stops, kills, and a queue from which no run is ever lost."""

import contextlib
import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from fake_pmsi import command, use_fake

from pmsi.config import TrainConfig
from pmsi.jobs import ONLY_QUEUED, PARENT, resume, stop, submit
from pmsi.launchers import local, worker
from pmsi.locks import Lock, is_held
from pmsi.runs import Run, State


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    use_fake(monkeypatch)


@pytest.fixture(autouse=True)
def no_process_is_left(tmp_path):
    yield
    wait_for(lambda: not is_held(tmp_path / ".runner.lock"))


def wait_for(condition, seconds=15.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def make(root, behaviour=None, epochs=2, **more):
    return Run.create(root, TrainConfig(epochs=epochs, data=behaviour), **more)


def go(run):
    (run.folder / "go").touch()


def in_state(run, state):
    return lambda: run.state is state


@contextlib.contextmanager
def runner(root):
    """Work with a runner that is this process's own child, so that it can be killed."""
    process = subprocess.Popen(command("runner", "--runs", root))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_commands_are_the_command_line(tmp_path, monkeypatch):
    monkeypatch.undo()
    run = make(tmp_path)
    assert local.worker_command(run) == [sys.executable, "-m", "pmsi", "execute", str(run.folder)]
    assert local.runner_command(tmp_path) == [sys.executable, "-m", "pmsi", "runner", "--runs", str(tmp_path)]


def test_one_at_a_time_oldest_first_and_the_runner_goes_when_it_is_done(tmp_path):
    first, *others = runs = [make(tmp_path, "wait"), make(tmp_path), make(tmp_path), make(tmp_path)]
    for run in runs:
        submit(run)
    wait_for(in_state(first, State.RUNNING))
    assert {run.state for run in others} == {State.QUEUED}
    go(first)
    wait_for(in_state(runs[-1], State.FINISHED))
    times = [run.status() for run in runs]
    assert all(before.ended_at <= after.started_at for before, after in itertools.pairwise(times))
    wait_for(lambda: not is_held(tmp_path / ".runner.lock"))


def test_submit_does_not_wait_and_the_runner_is_detached(tmp_path):
    run = make(tmp_path, "wait")
    script = f"""if True:
        import sys
        sys.path[:0] = {[str(Path(local.__file__).parents[2]), str(Path(__file__).parents[1])]}
        import pytest, fake_pmsi
        from pmsi.jobs import Run, submit
        fake_pmsi.use_fake(pytest.MonkeyPatch())
        submit(Run({str(run.folder)!r}))
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    go(run)
    wait_for(in_state(run, State.FINISHED))


def test_output_goes_to_the_log_and_paths_start_where_the_run_was_submitted(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = make(tmp_path, "where")
    submit(run)
    wait_for(in_state(run, State.FINISHED))
    assert run.log_tail() == f"cwd is {tmp_path / 'here'}"


def test_stopping_a_running_and_a_queued_run(tmp_path):
    running, queued, last = runs = [make(tmp_path, "wait"), make(tmp_path), make(tmp_path)]
    for run in runs:
        submit(run)
    wait_for(in_state(running, State.RUNNING))
    stop(queued)
    assert queued.state is State.STOPPED
    stop(running)
    wait_for(in_state(running, State.STOPPED), seconds=5)
    wait_for(in_state(last, State.FINISHED))
    assert queued.metrics() == []
    go(running)
    resume(running)
    wait_for(in_state(running, State.FINISHED))


def test_a_deaf_task_is_killed_after_the_grace_period_with_its_children(tmp_path):
    run, after = make(tmp_path, "deaf"), make(tmp_path)
    submit(run)
    submit(after)
    wait_for((run.folder / "child").exists)
    stop(run, grace_s=60)
    time.sleep(3 * worker.POLL_S)
    assert run.state is State.STOPPING
    stop(run, grace_s=0.1)
    wait_for(in_state(run, State.STOPPED), seconds=5)
    assert '"hard": true' in (run.folder / "stopped.json").read_text()
    child = int((run.folder / "child").read_text())
    wait_for(lambda: not alive(child), seconds=5)
    wait_for(in_state(after, State.FINISHED))


def alive(process):
    """Whether the process runs; one that is dead and not yet collected does not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_a_crashed_worker_gets_one_successor_that_goes_on_from_its_work(tmp_path):
    crashed, after = make(tmp_path, "crash once"), make(tmp_path)
    submit(crashed)
    submit(after)
    wait_for(in_state(after, State.FINISHED))
    assert crashed.state is State.FINISHED
    assert [record["step"] for record in crashed.metrics()] == [0, 1]
    assert "exited with 3 in mid-work. Trying once more" in crashed.log_tail()


def test_a_worker_that_dies_twice_fails_its_run_with_the_end_of_its_log(tmp_path):
    run, after = make(tmp_path, "crash"), make(tmp_path)
    submit(run)
    submit(after)
    wait_for(in_state(after, State.FINISHED))
    assert run.state is State.FAILED
    error = run.status().error
    assert error.kind == "WorkerDied"
    assert "exited with 3" in error.message
    assert "famous last words" in error.message
    assert "memory" in error.remedy


def test_a_worker_that_cannot_begin_fails_its_run_once(tmp_path):
    run, after = make(tmp_path, "no worker"), make(tmp_path)
    submit(run)
    submit(after)
    wait_for(in_state(after, State.FINISHED))
    assert run.state is State.FAILED
    error = run.status().error
    assert error.kind == "NoWorker"
    assert "exited with 1" in error.message
    assert error.log_tail == "out of luck"


def test_a_worker_that_cannot_be_started_fails_its_run(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "worker_command", lambda run: ["/nowhere/python"])
    run = make(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(local, "_spawn_runner", lambda root: None)
        submit(run)
    local.serve(tmp_path)
    assert run.state is State.FAILED
    assert "/nowhere/python" in run.status().error.message


def test_a_worker_killed_before_it_began_is_tried_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "worker_command", lambda run: ["sh", "-c", "echo begun; kill -9 $$"])
    monkeypatch.setattr(local, "_spawn_runner", lambda root: None)
    run = make(tmp_path)
    submit(run)
    local.serve(tmp_path)
    assert run.state is State.FAILED
    assert "killed by signal 9" in run.status().error.message
    assert run.log_path.read_text().count("begun") == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl")
def test_killing_the_runner_kills_its_worker_and_the_next_submit_goes_on(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(local, "_spawn_runner", lambda root: None)
        first, second = make(tmp_path, "wait"), make(tmp_path)
        submit(first)
        submit(second)
    with runner(tmp_path) as process:
        wait_for(in_state(first, State.RUNNING))
        process.kill()
        wait_for(in_state(first, State.INTERRUPTED), seconds=5)
    assert second.state is State.QUEUED
    third = make(tmp_path)
    submit(third)
    wait_for(in_state(third, State.FINISHED))
    assert second.state is State.FINISHED
    go(first)
    resume(first)
    wait_for(in_state(first, State.FINISHED))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl")
def test_a_worker_whose_runner_died_before_it_began_does_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_spawn_runner", lambda root: None)
    run = make(tmp_path)
    submit(run)
    environment = os.environ | {PARENT: "1" if os.getpid() != 1 else "2", ONLY_QUEUED: "1"}
    assert subprocess.run(command("execute", run.folder), env=environment, check=False).returncode == 1
    assert run.state is State.QUEUED


def test_a_second_runner_leaves_at_once(tmp_path):
    run = make(tmp_path, "wait")
    submit(run)
    wait_for(in_state(run, State.RUNNING))
    with runner(tmp_path) as second:
        assert second.wait(10) == 0
    assert run.state is State.RUNNING
    go(run)
    wait_for(in_state(run, State.FINISHED))


def test_a_run_of_another_launcher_is_left_alone(tmp_path):
    run = make(tmp_path)
    lock = Lock(tmp_path / ".runner.lock")
    lock.take()
    submit(run)
    mark = run.folder / "queued"
    mark.write_text(mark.read_text().replace("local", "elsewhere"))
    lock.release()
    assert local.next_queued(tmp_path) is None
    local.serve(tmp_path)
    assert run.state is State.QUEUED


@pytest.mark.parametrize("gone", ["never", "late"])
def test_a_worker_that_hangs_after_the_end_is_killed(tmp_path, monkeypatch, gone):
    """It has written its ending but does not exit; the queue must not wait for it for ever."""
    script = 'rm "$1/queued"; echo "{}" > "$1/result.json"; ' + ("sleep 20" if gone == "never" else "sleep 0.05")
    monkeypatch.setattr(worker, "EXIT_S", 0.2)
    monkeypatch.setattr(local, "worker_command", lambda run: ["sh", "-c", script, "sh", str(run.folder)])
    monkeypatch.setattr(local, "_spawn_runner", lambda root: None)
    run = make(tmp_path)
    submit(run)
    begun = time.monotonic()
    local.serve(tmp_path)
    assert time.monotonic() - begun < 5
    assert run.state is State.FINISHED


def test_a_submit_that_races_with_the_runners_exit_is_never_lost(tmp_path, monkeypatch):
    """Each run is submitted while the runner of the one before is on its way out; nothing else would pick it up."""
    script = 'rm "$1/queued"; echo "{}" > "$1/result.json"'
    monkeypatch.setattr(local, "worker_command", lambda run: ["sh", "-c", script, "sh", str(run.folder)])
    runners = []

    def spawn(root):
        runners.append(threading.Thread(target=local.serve, args=(root,)))
        runners[-1].start()

    monkeypatch.setattr(local, "_spawn_runner", spawn)
    for _ in range(50):
        run = make(tmp_path)
        submit(run)
        end = time.monotonic() + 10
        while run.state is not State.FINISHED:
            assert time.monotonic() < end, f"lost, after {len(runners)} runners"
    for thread in runners:
        thread.join()
    assert len(runners) > 1, "runners did go in between"


def test_the_runners_last_look_comes_after_its_lock(tmp_path, monkeypatch):
    """A run queued between the runner's last look and the release of its lock, where a submit relies on it."""
    monkeypatch.setattr(local, "_spawn_runner", lambda root: pytest.fail("the runner's lock was still held"))
    script = 'rm "$1/queued"; echo "{}" > "$1/result.json"'
    monkeypatch.setattr(local, "worker_command", lambda run: ["sh", "-c", script, "sh", str(run.folder)])
    first, late = make(tmp_path), make(tmp_path)
    release = Lock.release

    def submit_then_release(lock):
        if late.state is State.CREATED and lock.path.name == ".runner.lock":
            submit(late)
        release(lock)

    with monkeypatch.context() as patch:
        patch.setattr(local, "_spawn_runner", lambda root: None)
        submit(first)
    monkeypatch.setattr(Lock, "release", submit_then_release)
    local.serve(tmp_path)
    assert late.state is State.FINISHED
