"""kill -9 of a real training worker: the run is shown as interrupted, and resuming ends in the same bits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pmsi.base.files import LEFTOVERS
from pmsi.engine.checkpoint import CHECKPOINT, load_checkpoint
from pmsi.runs import Run, State

ROOT = Path(__file__).parent.parent
PATIENCE_S = 120


def worker(run):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "pmsi", "execute", str(run.folder)], env=environment)


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def steps(run):
    return run.status().done


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, whole_config):
    run = Run.create(tmp_path_factory.mktemp("whole"), whole_config)
    assert worker(run).wait(PATIENCE_S) == 0
    return run


@pytest.fixture(scope="module")
def whole_config(tiny_config):
    return tiny_config.with_(train_per_class=3, epochs=4)


# While the data are read; in the first epoch, before any checkpoint; in the last epoch.
@pytest.mark.parametrize("at", [0, 2, 20])
def test_a_killed_training_run_is_interrupted_and_resumes_to_the_same_bits(tmp_path, whole_config, uninterrupted, at):
    run = Run.create(tmp_path, whole_config)
    process = worker(run)
    until(lambda: run.state is State.RUNNING and steps(run) >= at)
    process.kill()
    process.wait()
    assert run.state is State.INTERRUPTED
    assert_ends_like(run, uninterrupted)


def test_a_run_killed_twice_while_it_writes_a_checkpoint_resumes_to_the_same_bits(
    tmp_path, whole_config, uninterrupted
):
    run = Run.create(tmp_path, whole_config.with_(checkpoint_every_s=0.0))  # one after each batch
    for _ in range(2):
        earlier = leftovers(run)
        process = worker(run)
        until(lambda: run.state is State.RUNNING)
        hold_at_a_write(process, lambda earlier=earlier: leftovers(run) - earlier)
        process.kill()
        process.wait()
        assert run.state is State.INTERRUPTED
    assert leftovers(run)
    assert_ends_like(run, uninterrupted)
    assert not leftovers(run)


def leftovers(run):
    return set(run.checkpoints.glob(LEFTOVERS))


def hold_at_a_write(process, is_writing):
    """Hold a worker in the middle of a write; that takes a millisecond, so it may take some attempts."""
    while True:
        assert process.poll() is None, "the run ended before it was met at a write"
        if is_writing():
            process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if is_writing():
                return
            process.send_signal(signal.SIGCONT)
        time.sleep(0.0002)


def assert_ends_like(run, uninterrupted):
    """Resume a run: it shall end in the same weights and momenta, and with the same metrics."""
    assert worker(run).wait(PATIENCE_S) == 0
    assert run.state is State.FINISHED
    ours, expected = (load_checkpoint(each.checkpoints / CHECKPOINT) for each in (run, uninterrupted))
    assert all(torch.equal(ours.model[name], expected.model[name]) for name in expected.model)
    for index, slots in expected.optimizer["state"].items():
        assert torch.equal(ours.optimizer["state"][index]["momentum_buffer"], slots["momentum_buffer"])
    assert records(run) == records(uninterrupted)


def records(run):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.metrics()]
