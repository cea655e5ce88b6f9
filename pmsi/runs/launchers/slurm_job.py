"""The batch script of a Slurm job: works on one run. ``job.sh`` in the run's folder runs this module.

    python -m pmsi.runs.launchers.slurm_job FOLDER COMMAND…

COMMAND is the worker. Slurm sends SIGTERM shortly before the job's time limit, when the job is preempted, and when it
is cancelled. This module then writes the run's request to stop. If Slurm will start the job again, the run goes back
into the queue, and the next start continues from its checkpoint.
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
"""Seconds that a file server may keep the lock of a dead node."""

POLL_S = 1.0
"""Seconds between two checks of such a lock."""


class Job:
    """The job of this batch script, and whether Slurm has sent it SIGTERM."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.number = os.environ["SLURM_JOB_ID"]
        self.restarts = int(os.environ.get("SLURM_RESTART_COUNT") or 0)
        self.warned = False
        self._asked = False

    def on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        """Record SIGTERM; nothing else, since the signal may come in the middle of a change to the run."""
        self.warned = True

    def forward_stop(self) -> None:
        """After SIGTERM, ask the worker to stop as soon as it has begun."""
        if self.warned and not self._asked and self.run.state is State.RUNNING:
            self._asked = True
            ask_to_stop(self.run, back_to="slurm" if self.will_restart() else None)

    def will_restart(self) -> bool:
        """Return whether the job will start again: Slurm has requeued it, or it is running and can be requeued."""
        try:
            job = jobs(fresh=True).get(self.number)
        except RunError as error:
            say(f"{error} So the run stops.")
            return False
        return job is not None and (job.restarts > self.restarts or job.state == "RUNNING")

    def requeue(self) -> None:
        """Requeue this job for its run, which is queued again; if Slurm refuses, stop the run."""
        try:
            if jobs(fresh=True)[self.number].restarts == self.restarts:
                call("scontrol", "requeue", self.number)
        except (KeyError, RunError) as error:
            say(f"The job could not be requeued ({error}). Resume the run to go on with it.")
            ask_to_stop(self.run)


def ask_to_stop(run: Run, back_to: str | None = None) -> None:
    """Ask the run to stop, unless it has just ended."""
    try:
        request_stop(run.folder, GRACE_S, back_to)
    except RunError as error:
        say(str(error))


def say(text: str) -> None:
    """Print a line with the time; the job's output is the run's log."""
    print(f"{time.strftime('%F %T')} {text}", flush=True)


def reclaim(run: Run) -> None:
    """Queue a run again that an earlier start of this job left interrupted."""
    end = time.monotonic() + LEASE_S
    while run.state in (State.RUNNING, State.STOPPING) and time.monotonic() < end:
        time.sleep(POLL_S)
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
    work(run, request, lambda: start(command, job), job.forward_stop)
    if job.warned and run.state is State.QUEUED:
        job.requeue()
    return 0 if run.state in (State.FINISHED, State.STOPPED, State.QUEUED) else 1


def start(command: list[str], job: Job) -> "subprocess.Popen[bytes]":
    """Start the worker with SIGTERM ignored: Slurm sends it to all processes, and `Job` handles it for the worker."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    environment = os.environ | {ONLY_QUEUED: "1", "PYTHONUNBUFFERED": "1"}
    worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, process_group=0)
    signal.signal(signal.SIGTERM, job.on_sigterm)
    return worker


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
