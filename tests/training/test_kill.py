"""kill -9 of a real training worker: the run is shown as interrupted, and resuming ends in the same bits.

More places to be killed at, and more kills, are in benchmarks/kill.py.
"""

import os
import signal

import pytest
from learning import assert_equal_bits
from waiting import forked, until

from pmsi.base.files import LEFTOVERS
from pmsi.runs import Run, State
from pmsi.tasks import execute

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def leftovers(run):
    return set((run.folder / "checkpoints").glob(LEFTOVERS))


def in_the_first_batches(run, process):
    until(lambda: run.state is State.RUNNING and run.status().done >= 2)


def in_a_write(run, process):
    """Hold the worker in the middle of a write; that takes a millisecond, so it may take some attempts."""
    while True:
        assert process.is_alive(), "the run ended before it was met at a write"
        if leftovers(run):
            os.kill(process.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if leftovers(run):
                return
            os.kill(process.pid, signal.SIGCONT)
        os.sched_yield()


@pytest.mark.parametrize(("moment", "every_s"), [(in_the_first_batches, 1e6), (in_a_write, 0.0)])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, tiny_run, moment, every_s):
    """Before its first checkpoint, and while it writes one; there is one before each phase."""
    run = Run.create(tmp_path, tiny_run.config.with_(checkpoint_every_s=every_s))
    process = forked(execute, run)
    moment(run, process)
    process.kill()
    process.join()
    assert run.state is State.INTERRUPTED
    assert bool(leftovers(run)) == (moment is in_a_write)
    assert execute(run) is State.FINISHED
    assert_equal_bits(run, tiny_run)
    assert not leftovers(run)
