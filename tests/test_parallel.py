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
from two_ranks import gradients

from pmsi import ranks
from pmsi.checkpoints import CHECKPOINT, load_checkpoint
from pmsi.errors import ConfigError
from pmsi.methods import resolve
from pmsi.parallel import Team
from pmsi.runs import Run, State

ROOT = Path(__file__).parent.parent
PATIENCE_S = 240


def environment(**more):
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"} | more


@pytest.mark.parametrize("freezing", ["frozen", "free"])
def test_two_processes_have_the_gradients_of_one(tmp_path, freezing):
    """Without BatchNorm, in float64: the mean over two halves is the mean over the whole."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "two_ranks.py"), str(tmp_path), freezing],
            env=environment(RANK=str(rank), LOCAL_RANK=str(rank), **shared),
        )
        for rank in range(2)
    ]
    assert [process.wait(PATIENCE_S) for process in processes] == [0, 0]
    whole = gradients(Team(), frozen=freezing == "frozen")
    for rank in range(2):
        ours = torch.load(tmp_path / f"{rank}.pt")
        assert {name for name, grad in ours.items() if grad is None} == {n for n, g in whole.items() if g is None}
        for name, grad in whole.items():
            if grad is not None:
                torch.testing.assert_close(ours[name], grad, rtol=1e-10, atol=1e-12)


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
    command = [sys.executable, "-m", "pmsi", "execute", str(run.folder)]
    return subprocess.Popen(command, env=environment(), start_new_session=True)


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
    """All processes stop at the same batch, whenever each of them would have seen the request."""
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
    command = [sys.executable, "-m", "pmsi", "train", *flags.split(), *more.split(), "--runs", str(tmp_path)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    assert '"state": "finished"' in done.stdout
