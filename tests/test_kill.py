"""kill -9 of a real training worker: the run is shown as interrupted, and resuming ends in the same bits."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pmsi.checkpoints import CHECKPOINT, load_checkpoint
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


# While the data are read; in the first epoch, before any checkpoint; after one; in the last epoch.
@pytest.mark.parametrize("at", [0, 2, 8, 20])
def test_a_killed_training_run_is_interrupted_and_resumes_to_the_same_bits(tmp_path, whole_config, uninterrupted, at):
    run = Run.create(tmp_path, whole_config)
    process = worker(run)
    until(lambda: run.state is State.RUNNING and steps(run) >= at)
    process.kill()
    process.wait()
    assert run.state is State.INTERRUPTED
    assert worker(run).wait(PATIENCE_S) == 0
    assert run.state is State.FINISHED
    ours, expected = (load_checkpoint(each.checkpoints / CHECKPOINT).model for each in (run, uninterrupted))
    assert all(torch.equal(ours[name], expected[name]) for name in expected)

    def records(each):
        return [{key: value for key, value in record.items() if key != "seconds"} for record in each.metrics()]

    assert records(run) == records(uninterrupted)
