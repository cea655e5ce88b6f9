"""Several processes train as one: the same gradients, the same stop, and the same bits after a kill."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from fake_pmsi import command
from two_ranks import gradients

from pmsi.base.errors import ConfigError
from pmsi.config import TrainConfig
from pmsi.engine.checkpoint import CHECKPOINT, load_checkpoint
from pmsi.methods import resolve
from pmsi.runs import Run, State, jobs, ranks
from pmsi.runs.launchers import local
from pmsi.training.distributed import Team

ROOT = Path(__file__).parent.parent
PATIENCE_S = 240


def environment(**more):
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"} | more


def two_ranks(*words):
    """Let two processes do what tests/two_ranks.py says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    process = [sys.executable, str(ROOT / "tests" / "two_ranks.py"), *map(str, words)]
    processes = [
        subprocess.Popen(process, env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **shared)) for rank in range(2)
    ]
    assert [process.wait(PATIENCE_S) for process in processes] == [0, 0]


@pytest.mark.parametrize("freezing", ["frozen", "free"])
def test_two_processes_have_the_gradients_of_one(tmp_path, freezing):
    """Without BatchNorm, in float64: the mean over two halves is the mean over the whole."""
    two_ranks("gradients", tmp_path, freezing)
    whole = gradients(Team(), frozen=freezing == "frozen")
    for rank in range(2):
        ours = torch.load(tmp_path / f"{rank}.pt")
        assert {name for name, grad in ours.items() if grad is None} == {n for n, g in whole.items() if g is None}
        for name, grad in whole.items():
            if grad is not None:
                torch.testing.assert_close(ours[name], grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("augmentation", ["rmg", "snapmix"])  # snapmix looks at its images past what joins the two
def test_two_processes_stopped_after_every_phase_come_to_the_same_bits(tmp_path, config, augmentation):
    config = config.with_(augmentation=augmentation, image_size=64, epochs=1, train_per_class=1, trackers=())
    whole, stopped = (Run.create(tmp_path, config) for _ in range(2))
    two_ranks("train", whole.folder, stopped.folder)
    assert same_bits(stopped, whole)
    assert records(stopped) == records(whole)


def test_a_batch_is_shared_equally_or_not_at_all(tiny_config):
    images = list(range(6))
    assert [images[Team(rank, 3).share(6)] for rank in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ConfigError, match="6 cannot be shared equally by 4"):
        Team(0, 4).share(6)
    with pytest.raises(ConfigError, match="6 cannot be shared equally by 4 devices"):
        resolve(tiny_config.with_(devices=4))
    with pytest.raises(ConfigError, match="share must be a multiple of 2"):
        resolve(tiny_config.with_(method="pc", devices=2))


def test_a_process_alone_and_one_started_by_torchrun_start_no_others(tiny_config, monkeypatch):
    assert ranks.wanted(tiny_config) == 1
    assert ranks.wanted(tiny_config.with_(devices=2)) == 2
    monkeypatch.setenv("RANK", "1")
    assert ranks.wanted(tiny_config.with_(devices=2)) == 1


@pytest.fixture(scope="module")
def config(tiny_config):
    return tiny_config.with_(devices=2, device="cpu", threads=1, image_size=32, epochs=3, train_per_class=4)


def worker(run):
    words = [sys.executable, "-m", "pmsi", "execute", str(run.folder)]
    return subprocess.Popen(words, env=environment(), start_new_session=True)


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, config):
    run = Run.create(tmp_path_factory.mktemp("whole"), config)
    assert worker(run).wait(PATIENCE_S) == 0
    assert run.state is State.FINISHED
    return run


def same_bits(run, other):
    ours, theirs = (load_checkpoint(each.checkpoints / CHECKPOINT).model for each in (run, other))
    return all(torch.equal(ours[name], theirs[name]) for name in theirs)


def records(run):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.metrics()]


def test_a_killed_run_of_two_processes_resumes_to_the_same_bits(tmp_path, config, uninterrupted):
    run = Run.create(tmp_path, config)
    process = worker(run)
    batches = config.train_per_class * 8 // config.batch_size
    until(lambda: run.status().done > batches)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: run.state is State.INTERRUPTED)
    assert worker(run).wait(PATIENCE_S) == 0
    assert same_bits(run, uninterrupted)
    assert records(run) == records(uninterrupted)


def test_a_stopped_run_of_two_processes_resumes_to_the_same_bits(tmp_path, config, uninterrupted):
    """All processes stop before the same phase, whenever each of them would have seen the request."""
    run = Run.create(tmp_path, config)
    process = worker(run)
    until(lambda: run.status().done > 1)
    run.request_stop()
    process.wait(PATIENCE_S)
    assert run.state is State.STOPPED
    assert worker(run).wait(PATIENCE_S) == 0
    assert same_bits(run, uninterrupted)
    assert records(run) == records(uninterrupted)


def test_the_command_line_waits_for_its_processes_and_prints_the_result(tmp_path, config):
    flags = "--dataset plumage --backbone tiny --weights none --image-size 32 --train-per-class 2 --test-per-class 1"
    more = "--epochs 1 --batch-size 6 --channels 16 --hidden 8 --devices 2 --device cpu"
    words = [sys.executable, "-m", "pmsi", "train", *flags.split(), *more.split(), "--runs", str(tmp_path)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert '"state": "finished"' in done.stdout


# What is told of a rank that fails


def fake_ranks(run):
    """Let two ranks work on a run of tests/fake_pmsi.py; return how they exited."""
    launch = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "7"}
    processes = [
        subprocess.Popen(command("execute", run.folder), env=environment(RANK=str(rank), **launch)) for rank in range(2)
    ]
    return [process.wait(PATIENCE_S) for process in processes]


def test_a_run_fails_of_what_the_rank_failed_of_that_failed_first(tmp_path):
    run = Run.create(tmp_path, TrainConfig(epochs=1, data="one fails"))
    (run.folder / "error-rank-3.json").write_text('{"kind": "OfAnEarlierAttempt", "launch": "other"}')
    fake_ranks(run)
    error = run.status().error
    assert (error.kind, error.message) == ("OutOfMemory", "Process 2 of 2: too much")
    assert "batch_size" in error.remedy


def test_what_a_rank_has_told_counts_where_rank_0_is_killed_and_is_not_tried_again(tmp_path, monkeypatch):
    run = Run.create(tmp_path, TrainConfig(epochs=1, data="one fails, all are killed"))
    started = []

    def start(run, cwd, places):
        started.append(fake_ranks(run))
        return subprocess.Popen(["sh", "-c", "exit 1"], process_group=0)

    monkeypatch.setattr(local, "_start_worker", start)
    monkeypatch.setattr(local, "_spawn_runner", lambda root, device: None)
    jobs.submit(run)
    local.serve(tmp_path)
    assert len(started) == 1
    assert run.state is State.FAILED
    assert run.status().error.message == "Process 2 of 2: too much"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1"), True),
        (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp: remote process exited"), True),
        (RuntimeError("CUDA out of memory"), False),
        (MemoryError("by peer"), False),
    ],
)
def test_an_error_that_only_says_that_another_rank_is_gone_is_known(monkeypatch, error, expected):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert ranks.is_peer_failure(error) is expected
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not ranks.is_peer_failure(error)


def test_a_stop_of_several_processes_leaves_the_log_quiet(tmp_path, config):
    run = Run.create(tmp_path, config.with_(epochs=100))
    with subprocess.Popen(
        [sys.executable, "-m", "pmsi", "execute", str(run.folder)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        until(lambda: run.status().done > 1)
        run.request_stop()
        assert "Traceback" not in process.communicate(timeout=PATIENCE_S)[0]
    assert run.state is State.STOPPED


def test_what_a_rank_tells_survives_that_rank_0_clears_the_folder_meanwhile(tmp_path, monkeypatch):
    from pmsi.base import files
    from pmsi.base.files import remove_leftovers

    replace, cleared = Path.replace, []

    def clearing(path, target):
        if not cleared:  # as `begin` does, between the writing and the renaming
            cleared.append(path)
            remove_leftovers(tmp_path)
        return replace(path, target)

    monkeypatch.setattr(files.Path, "replace", clearing)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    ranks.write_error(tmp_path, {"kind": "TrainingError", "message": "It failed.", "remedy": "Try again."})
    assert cleared
    assert ranks.read_error(tmp_path)["message"] == "Process 2 of 2: It failed."
    assert [path.name for path in tmp_path.iterdir()] == ["error-rank-1.json"]
