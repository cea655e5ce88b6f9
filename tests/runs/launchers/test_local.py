"""The local launcher with real processes: order, stops, kills, and a queue from which no run is ever lost."""

import contextlib
import itertools
import json
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import fake_pmsi
import pytest
from fake_pmsi import runner_command, use_fake
from waiting import until

from pmsi.base.locks import Lock, is_held
from pmsi.config import TrainConfig
from pmsi.runs import Run, State, jobs
from pmsi.runs.jobs import resume, stop, submit
from pmsi.runs.launchers import devices, local, queue, worker


@pytest.fixture(autouse=True)
def fake(monkeypatch):
    use_fake(monkeypatch)
    monkeypatch.setenv(devices.VISIBLE, "")


@pytest.fixture(autouse=True)
def no_process_is_left(tmp_path):
    yield
    until(lambda: not any(is_held(path) for path in tmp_path.glob(".runner-*.lock")))


def make(root, behaviour=None, epochs=2, **more):
    return Run.create(root, TrainConfig(epochs=epochs, data=behaviour, **more))


def go(run):
    (run.folder / "go").touch()


def in_state(run, state):
    return lambda: run.state is state


@pytest.fixture
def unserved(monkeypatch):
    """Nobody works off the queue but the test."""
    monkeypatch.setattr(local, "_spawn_runner", lambda root, device: None)


@contextlib.contextmanager
def runner(root, device="cpu"):
    """Work with a runner that is this process's own child, so that it can be killed."""
    process = subprocess.Popen(runner_command(root, device))
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_one_at_a_time_oldest_first_and_the_runner_goes_when_it_is_done(tmp_path):
    first, *others = runs = [make(tmp_path, "wait"), make(tmp_path), make(tmp_path), make(tmp_path)]
    for run in runs:
        submit(run)
    until(in_state(first, State.RUNNING))
    assert {run.state for run in others} == {State.QUEUED}
    go(first)
    until(in_state(runs[-1], State.FINISHED))
    times = [run.status() for run in runs]
    assert all(before.ended_at <= after.started_at for before, after in itertools.pairwise(times))
    until(lambda: not is_held(tmp_path / ".runner-cpu.lock"))


def test_submit_does_not_wait_and_the_runner_is_detached(tmp_path):
    run = make(tmp_path, "wait")
    script = f"""if True:
        import sys
        sys.path[:0] = {[str(Path(local.__file__).parents[3]), str(Path(fake_pmsi.__file__).parent)]}
        import pytest, fake_pmsi
        from pmsi.runs import Run
        from pmsi.runs.jobs import submit
        fake_pmsi.use_fake(pytest.MonkeyPatch())
        submit(Run({str(run.folder)!r}))
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    go(run)
    until(in_state(run, State.FINISHED))


def test_output_goes_to_the_log_and_paths_start_where_the_run_was_submitted(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = make(tmp_path, "where")
    submit(run)
    until(in_state(run, State.FINISHED))
    assert run.log_tail() == f"cwd is {tmp_path / 'here'}"


def test_stopping_a_running_and_a_queued_run(tmp_path):
    running, queued, last = runs = [make(tmp_path, "wait"), make(tmp_path), make(tmp_path)]
    for run in runs:
        submit(run)
    until(in_state(running, State.RUNNING))
    stop(queued)
    assert queued.state is State.STOPPED
    stop(running)
    until(in_state(running, State.STOPPED))
    until(in_state(last, State.FINISHED))
    assert queued.metrics() == []
    go(running)
    resume(running)
    until(in_state(running, State.FINISHED))


def test_a_deaf_task_is_killed_after_the_grace_period_with_its_children(tmp_path):
    run, after = make(tmp_path, "deaf"), make(tmp_path)
    submit(run)
    submit(after)
    until((run.folder / "child").exists)
    stop(run, grace_s=3600)
    assert run.state is State.STOPPING
    stop(run, grace_s=0.1)
    until(in_state(run, State.STOPPED))
    assert '"hard": true' in (run.folder / "stopped.json").read_text()
    child = int((run.folder / "child").read_text())
    until(lambda: not alive(child))
    until(in_state(after, State.FINISHED))


def alive(process):
    """Whether the process runs; one that is dead and not yet collected does not."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_a_worker_that_dies_gets_one_successor_and_the_queue_goes_on(tmp_path):
    once, twice, after = make(tmp_path, "crash once"), make(tmp_path, "crash"), make(tmp_path)
    for run in (once, twice, after):
        submit(run)
    until(in_state(after, State.FINISHED))
    assert once.state is State.FINISHED
    assert [record["step"] for record in once.metrics()] == [0, 1]
    assert "exited with 3" in once.log_tail()
    error = twice.status().error
    assert (twice.state, error.kind) == (State.FAILED, "WorkerDied")
    assert "exited with 3" in error.message
    assert "famous last words" in error.message


def test_a_worker_that_exits_before_it_begins_fails_its_run_with_the_end_of_its_log(tmp_path):
    run, after = make(tmp_path, "no worker"), make(tmp_path)
    submit(run)
    submit(after)
    until(in_state(after, State.FINISHED))
    assert run.state is State.FAILED
    error = run.status().error
    assert (error.kind, error.log_tail) == ("NoWorker", "out of luck")
    assert "exited with 1" in error.message


@pytest.mark.usefixtures("unserved")
@pytest.mark.parametrize(
    ("command", "said", "begun"),
    [(["/nowhere/python"], "/nowhere/python", 0), (["sh", "-c", "echo begun; kill -9 $$"], "signal 9", 2)],
)
def test_a_worker_that_never_begins_fails_its_run(tmp_path, monkeypatch, command, said, begun):
    """One that cannot be started once, and one that is killed after a second try."""
    monkeypatch.setattr(local, "worker_command", lambda run: command)
    run = make(tmp_path)
    submit(run)
    local.serve(tmp_path)
    assert run.state is State.FAILED
    assert said in run.status().error.message
    assert run.log_tail().count("begun") >= begun


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs prctl")
def test_killing_the_runner_kills_its_worker_and_the_next_submit_goes_on(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(local, "_spawn_runner", lambda root, device: None)
        first, second = make(tmp_path, "wait"), make(tmp_path)
        submit(first)
        submit(second)
    with runner(tmp_path) as process:
        until(in_state(first, State.RUNNING))
        process.kill()
        until(in_state(first, State.INTERRUPTED))
    assert second.state is State.QUEUED
    third = make(tmp_path)
    submit(third)
    until(in_state(third, State.FINISHED))
    assert second.state is State.FINISHED
    go(first)
    resume(first)
    until(in_state(first, State.FINISHED))


def test_a_second_runner_leaves_at_once(tmp_path):
    run = make(tmp_path, "wait")
    submit(run)
    until(in_state(run, State.RUNNING))
    with runner(tmp_path) as second:
        assert second.wait() == 0
    assert run.state is State.RUNNING
    go(run)
    until(in_state(run, State.FINISHED))


def test_a_run_of_another_launcher_is_left_alone(tmp_path):
    run = make(tmp_path)
    lock = Lock(tmp_path / ".runner-cpu.lock")
    lock.take()
    submit(run)
    mark = run.folder / "queued"
    mark.write_text(mark.read_text().replace("local", "elsewhere"))
    lock.release()
    assert not list(queue.unclaimed(tmp_path))
    local.serve(tmp_path)
    assert run.state is State.QUEUED


def ends_at_once(monkeypatch, then=""):
    """Let a worker be a shell that writes an ending, and goes."""
    script = f'rm "$1/queued"; echo "{{}}" > "$1/result.json"; {then}'
    monkeypatch.setattr(local, "worker_command", lambda run: ["sh", "-c", script, "sh", str(run.folder)])


@pytest.mark.usefixtures("unserved")
def test_a_worker_that_hangs_after_the_end_is_killed(tmp_path, monkeypatch):
    """It has written its ending but does not exit; the queue must not wait for it for ever."""
    monkeypatch.setattr(worker, "EXIT_S", 0.2)
    ends_at_once(monkeypatch, then="exec sleep 100000")
    run = make(tmp_path)
    submit(run)
    local.serve(tmp_path)
    assert run.state is State.FINISHED


def test_the_runners_last_look_comes_after_its_lock(tmp_path, monkeypatch):
    """A run queued between the runner's last look and the release of its lock, where a submit relies on it."""
    monkeypatch.setattr(local, "_spawn_runner", lambda root, device: pytest.fail("the runner's lock was still held"))
    ends_at_once(monkeypatch)
    first, late = make(tmp_path), make(tmp_path)
    release = Lock.release

    def submit_then_release(lock):
        if late.state is State.CREATED and lock.path.name == ".runner-cpu.lock":
            submit(late)
        release(lock)

    with monkeypatch.context() as patch:
        patch.setattr(local, "_spawn_runner", lambda root, device: None)
        submit(first)
    monkeypatch.setattr(Lock, "release", submit_then_release)
    local.serve(tmp_path)
    assert late.state is State.FINISHED


# Several devices


@pytest.fixture
def two_gpus(monkeypatch):
    """Let this machine have two GPUs, as far as a launcher can tell."""
    monkeypatch.setenv(devices.VISIBLE, "3,GPU-b")


def all_in(runs, state):
    return lambda: {run.state for run in runs} == {state}


def place_of(run):
    """Return the GPUs that a run of "place" was given."""
    return run.log_tail().removeprefix("on ")


@pytest.mark.usefixtures("two_gpus")
def test_each_gpu_and_the_cpu_work_at_the_same_time_and_none_on_two_runs(tmp_path):
    on_gpus = [make(tmp_path, "wait"), make(tmp_path, "wait", device="cuda")]
    on_cpu, late = make(tmp_path, "wait", device="cpu"), [make(tmp_path), make(tmp_path, device="cpu")]
    for run in [*on_gpus, on_cpu, *late]:
        submit(run)
    until(all_in([*on_gpus, on_cpu], State.RUNNING))
    assert all_in(late, State.QUEUED)()
    assert {path.name for path in tmp_path.glob(".runner-*.lock") if is_held(path)} == {
        ".runner-3.lock",
        ".runner-GPU-b.lock",
        ".runner-cpu.lock",
    }
    go(on_gpus[0])
    until(in_state(late[0], State.FINISHED))
    assert late[1].state is State.QUEUED
    for run in (on_gpus[1], on_cpu):
        go(run)
    until(all_in([*on_gpus, on_cpu, *late], State.FINISHED))


@pytest.mark.usefixtures("two_gpus")
def test_many_submitters_and_watchers_lose_no_run_and_never_share_a_gpu(tmp_path):
    runs = [make(tmp_path, "place") for _ in range(6)]
    watched, ended = [], threading.Event()

    def submit_and_watch(run):
        submit(run)
        while not ended.wait(0.02):
            watched.append(run.state)

    threads = [threading.Thread(target=submit_and_watch, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    try:
        until(all_in(runs, State.FINISHED))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert set(watched) <= {State.CREATED, State.QUEUED, State.RUNNING, State.FINISHED}
    assert {place_of(run) for run in runs} == {"3", "GPU-b"}
    for gpu in ("3", "GPU-b"):
        lives = sorted((run.status().started_at, run.status().ended_at) for run in runs if place_of(run) == gpu)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(lives))


@pytest.mark.usefixtures("two_gpus")
def test_a_run_on_both_gpus_waits_for_them_and_is_not_overtaken(tmp_path):
    first, second, both, last = runs = [
        make(tmp_path, "wait"),
        make(tmp_path, "wait"),
        make(tmp_path, "place", devices=2, batch_size=4),
        make(tmp_path, "place"),
    ]
    for run in runs:
        submit(run)
    until(all_in([first, second], State.RUNNING))
    go(second)
    until(in_state(second, State.FINISHED))
    until(lambda: is_held(tmp_path / ".runner-several.lock"))
    assert all_in([both, last], State.QUEUED)(), "one GPU is free, and kept for the run that needs it"
    go(first)
    until(in_state(last, State.FINISHED))
    assert sorted(place_of(both).split(",")) == ["3", "GPU-b"]
    assert both.status().ended_at <= last.status().started_at


@pytest.mark.usefixtures("two_gpus")
def test_two_runs_on_both_gpus_do_not_wait_for_each_other(tmp_path):
    runs = [make(tmp_path, "place", devices=2, batch_size=4) for _ in range(2)]
    single = make(tmp_path, "place")
    for run in [*runs, single]:
        submit(run)
    until(all_in([*runs, single], State.FINISHED))
    assert runs[0].status().ended_at <= runs[1].status().started_at


@pytest.mark.parametrize(
    ("visible", "expected"),
    [("", ()), ("-1", ()), ("0", ("0",)), (" 1, GPU-5", ("1", "GPU-5")), ("0,-1,2", ("0",)), ("2,2", ("2",))],
)
def test_the_gpus_are_those_that_cuda_would_see(monkeypatch, visible, expected):
    monkeypatch.setenv(devices.VISIBLE, visible)
    assert devices.gpus() == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("GPU 0: Some (UUID: GPU-aa-1)\nGPU 1: Some (UUID: GPU-bb-2)", ("GPU-aa-1", "GPU-bb-2")),
        ("GPU 0: Some (UUID: GPU-aa)\n  MIG 1g.10gb Device 0: (UUID: MIG-x)\n  MIG 1g.10gb Device 1: (UUID: MIG-y)",
         ("MIG-x", "MIG-y")),
        ("No devices found.", ()),
    ],
)  # fmt: skip
def test_the_driver_is_asked_where_nobody_chose(tmp_path, monkeypatch, answer, expected):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv(devices.VISIBLE)
    devices._installed.cache_clear()
    try:
        assert devices.gpus() == expected
    finally:
        devices._installed.cache_clear()


def test_a_run_goes_where_its_config_says(monkeypatch):
    monkeypatch.setenv(devices.VISIBLE, "0,1")
    assert devices.wanted(TrainConfig()) == (("0", "1"), 1)
    assert devices.wanted(TrainConfig(devices=2)) == (("0", "1"), 2)
    assert devices.wanted(TrainConfig(devices=4)) == (("0", "1"), 2)
    assert devices.wanted(TrainConfig(device="cpu", devices=2)) == (("cpu",), 1)
    monkeypatch.setenv(devices.VISIBLE, "")
    assert devices.wanted(TrainConfig(device="cuda", devices=2)) == (("cpu",), 1)


def test_removing_the_folder_of_the_running_run_strands_no_other(tmp_path):
    first, other = make(tmp_path, "wait"), make(tmp_path)
    for run in (first, other):
        submit(run)
    until(in_state(first, State.RUNNING))
    first.folder.rename(tmp_path / ".gone")  # at once, as no removal of a folder that is written to is
    until(in_state(other, State.FINISHED), lambda: (tmp_path / ".runner.log").read_text())


def test_what_breaks_the_work_on_one_run_is_said_and_the_next_is_begun(tmp_path, capfd, monkeypatch):
    first, other = make(tmp_path), make(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(local, "_spawn_runner", lambda root, device: None)
        submit(first), submit(other)
    work = local.work
    monkeypatch.setattr(local, "work", lambda run, *rest: work(run, *rest) if run == other else {}["lost"])
    local.serve(tmp_path)
    assert (first.state, other.state) == (State.QUEUED, State.FINISHED)
    assert first.id in capfd.readouterr().err


@pytest.mark.parametrize("launcher", ["local", "of another machine"])
def test_a_queue_that_nobody_works_on_is_said_and_started(tmp_path, pmsi, monkeypatch, launcher):
    with monkeypatch.context() as patch:
        patch.setattr(local, "_spawn_runner", lambda root, device: None)  # as after a reboot
        submit(run := make(tmp_path))
    request = json.loads((run.folder / "queued").read_text())
    assert "nobody works" not in pmsi("runs", "list", "--runs", tmp_path)[2], "a runner may be starting"
    (run.folder / "queued").write_text(json.dumps(request | {"at": request["at"] - 99, "launcher": launcher}))
    said = pmsi("runs", "list", "--runs", tmp_path)[2]
    assert "nobody works" in said
    assert jobs.unattended(tmp_path) == [run]
    attended = Lock(tmp_path / ".runner-cpu.lock")
    if launcher == "local":
        assert attended.take()
        assert jobs.unattended(tmp_path) == []
        assert pmsi("runs", "resume", run.id, "--queue", "--runs", tmp_path)[0] == 2
        attended.release()
    assert pmsi(*shlex.split(said.partition(": pmsi ")[2]))[:2] == (0, f"{run.id}\n")
    until(in_state(run, State.FINISHED))
