"""kill -9 of a real training worker: the run is shown as interrupted, and resuming ends in the same bits.

More places to be killed at, and more kills, are in benchmarks/kill.py.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from learning import assert_equal_bits
from waiting import until

from pmsi.base.files import LEFTOVERS
from pmsi.runs import Run, State
from pmsi.tasks import execute

ROOT = Path(__file__).parents[2]


def worker(run):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "pmsi", "execute", str(run.folder)], env=environment)


def test_a_run_killed_before_its_first_checkpoint_resumes_to_the_same_bits(tmp_path, tiny_run):
    run = Run.create(tmp_path, tiny_run.config)
    with worker(run) as process:
        until(lambda: run.state is State.RUNNING and run.status().done >= 2)
        process.kill()
    assert run.state is State.INTERRUPTED
    assert execute(run) is State.FINISHED
    assert_equal_bits(run, tiny_run)


def test_a_run_killed_while_it_writes_a_checkpoint_resumes_to_the_same_bits(tmp_path, tiny_run):
    run = Run.create(tmp_path, tiny_run.config.with_(checkpoint_every_s=0.0))  # one before each phase
    with worker(run) as process:
        hold_at_a_write(process, lambda: leftovers(run))
        process.kill()
    assert run.state is State.INTERRUPTED
    assert leftovers(run)
    assert execute(run) is State.FINISHED
    assert_equal_bits(run, tiny_run)
    assert not leftovers(run)


def leftovers(run):
    return set((run.folder / "checkpoints").glob(LEFTOVERS))


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
        os.sched_yield()
