"""Inside a job of Slurm's: work on the one run that the job is for. ``job.sh`` in the run's folder runs this module.

    python -m pmsi.runs.launchers.slurm_job FOLDER COMMAND…

COMMAND is the worker. Slurm says SIGTERM when the job's time is almost up, when another job takes its place, and when
somebody cancels it; that becomes the request to stop which the worker knows, a file. Where Slurm will start the job
again the run goes back into the queue from its checkpoint, and that start goes on with it.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from pmsi.base.errors import RunError
from pmsi.runs.launchers.slurm_client import call, jobs
from pmsi.runs.launchers.worker import work
from pmsi.runs.lifecycle import GRACE_S, ONLY_QUEUED, State, enqueue, queued_request, request_stop
from pmsi.runs.run import Run

LEASE_S = 120.0
"""How long a dead node's lock may live on a file server, which waits for the node to come back."""

LOOK_S = 1.0
"""How often such a lock is looked at."""


class Job:
    """The job that this process is the batch script of, and whether Slurm has warned it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.number = os.environ["SLURM_JOB_ID"]
        self.restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
        self.warned = False
        self._asked = False

    def note(self, _number: int, _frame: FrameType | None) -> None:
        """Handle SIGTERM. No more than a note: the signal may come in the middle of a change to the run."""
        self.warned = True

    def heed(self) -> None:
        """After a warning, ask the worker to stop as soon as it has begun."""
        if self.warned and not self._asked and self.run.state is State.RUNNING:
            self._asked = True
            ask_to_stop(self.run, back_to="slurm" if self.comes_again() else None)

    def comes_again(self) -> bool:
        """Return whether the job shall be started again: Slurm does so already, or it runs and can be requeued."""
        try:
            job = jobs(fresh=True).get(self.number)
        except RunError as error:
            say(f"{error} So the run stops.")
            return False
        return job is not None and (job.restarts > self.restarts or job.state == "RUNNING")

    def requeue(self) -> None:
        """Give a run that is back in the queue this job's next start; where Slurm refuses, the run is stopped."""
        try:
            if jobs(fresh=True)[self.number].restarts == self.restarts:
                call("scontrol", "requeue", self.number)
        except (KeyError, RunError) as error:
            say(f"The job could not be requeued ({error}). Resume the run to go on with it.")
            ask_to_stop(self.run)


def ask_to_stop(run: Run, back_to: str | None = None) -> None:
    """Ask the run to stop, unless it has come to its end just now."""
    try:
        request_stop(run.folder, GRACE_S, back_to)
    except RunError as error:
        say(str(error))


def say(text: str) -> None:
    """Print into the run's log, which is where a job's output goes."""
    print(f"{time.strftime('%F %T')} {text}", flush=True)


def reclaim(run: Run) -> None:
    """Put a run back into the queue that this job's last start has left in the middle."""
    end = time.monotonic() + LEASE_S
    while run.state in (State.RUNNING, State.STOPPING) and time.monotonic() < end:
        time.sleep(LOOK_S)
    if run.state is State.INTERRUPTED:
        enqueue(run.folder, (State.INTERRUPTED,), "slurm")


def main(folder: Path, command: list[str]) -> int:
    """Work on the run in ``folder`` with ``command``; return the job's exit status."""
    run = Run(folder)
    job = Job(run)
    if job.restarts:
        reclaim(run)
    request = queued_request(folder)
    if request is None or request["launcher"] != "slurm":
        say(f"Slurm job {job.number} has nothing to do: run {run.id!r} is {run.state}, and not in its queue.")
        return 0
    work(run, request, lambda: start(command, job), job.heed)
    if job.warned and run.state is State.QUEUED:
        job.requeue()
    return 0 if run.state in (State.FINISHED, State.STOPPED, State.QUEUED) else 1


def start(command: list[str], job: Job) -> "subprocess.Popen[bytes]":
    """Start the worker, deaf to SIGTERM: Slurm sends it to all processes, and it is for `Job` to say what it means."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    environment = os.environ | {ONLY_QUEUED: "1", "PYTHONUNBUFFERED": "1"}
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, process_group=0)
    signal.signal(signal.SIGTERM, job.note)
    return worker


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
