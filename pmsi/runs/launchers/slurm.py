"""The Slurm launcher: each queued run becomes a Slurm job of its own.

A submit writes ``job.sh`` into the run folder, submits it with sbatch, and keeps the job's number in ``slurm.json``.
The job runs `pmsi.runs.launchers.slurm_job`. No process waits for the job: squeue is asked when a run's status is read
or the run is resumed.
"""

import contextlib
import os
import shlex
import sys
import time
from typing import Any

from pmsi.base.assets import CHECKOUT
from pmsi.base.errors import ConfigError, RunError
from pmsi.base.files import to_json, write_atomically
from pmsi.runs import ranks
from pmsi.runs.damage import read
from pmsi.runs.launchers.row import LauncherStatus
from pmsi.runs.launchers.slurm_client import ENDED, call, jobs
from pmsi.runs.launchers.worker import no_worker
from pmsi.runs.lifecycle import State, mark_interrupted, queued_request, settle
from pmsi.runs.run import Run

OPTIONS = "PMSI_SLURM_OPTIONS"
"""Environment: sbatch's own options for every job, such as ``--partition=gpu --gres=gpu:1 --time=12:00:00``."""

SCRIPT, RECORD = "job.sh", "slurm.json"

WARNING_S = 60
"""Seconds before its time limit at which Slurm signals a job, so that a checkpoint can be written."""

SUBMIT_S = 120.0
"""Seconds that sbatch may take."""

SUBMITTING_S = SUBMIT_S + 60
"""A run that is queued for longer than this many seconds and has no job was never submitted to Slurm."""


# Submitting


def submit(run: Run) -> None:
    """Submit a queued run with sbatch; an error is raised, and the run fails with it."""
    request = queued_request(run.folder)
    if request is None:
        return  # the run was stopped just now
    try:
        if not _has_waiting_job(run):
            _sbatch(run, request["cwd"])
    except (ConfigError, RunError, OSError) as error:
        if mark_interrupted(run.folder, request):
            settle(run.folder, State.FAILED, no_worker(str(error)) | {"remedy": "Put that right, then resume the run."})
        raise


def _has_waiting_job(run: Run) -> bool:
    """Return whether a job of the run is pending already, for a run submitted twice, or requeued and then resumed."""
    record = _record(run)
    job = jobs(fresh=True).get(record["job"]) if record and _is_ours(record) else None
    return job is not None and job.waits


def _sbatch(run: Run, cwd: str | None) -> None:
    (run.folder / RECORD).unlink(missing_ok=True)
    write_atomically(run.folder / SCRIPT, script(run, cwd))
    number = call("sbatch", "--parsable", str(run.folder.resolve() / SCRIPT), patience_s=SUBMIT_S).partition(";")[0]
    record = {"job": number.strip(), "at": time.time(), "uid": os.getuid()}
    write_atomically(run.folder / RECORD, to_json(record))


def script(run: Run, cwd: str | None) -> str:
    """Return the batch script of a run; it can also be submitted by hand."""
    folder = run.folder.resolve()
    options = [
        f"--job-name=pmsi-{run.id}",
        f"--chdir={cwd or folder}",
        f"--output={str(folder / 'log.txt').replace('%', '%%')}",
        "--open-mode=append",
        "--ntasks=1",
        "--requeue",
        f"--signal=B:TERM@{WARNING_S}",
    ]
    lines = [shlex.quote(option) for option in options] + own_options()
    job = [sys.executable, "-m", "pmsi.runs.launchers.slurm_job", str(folder)]
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {line}" for line in lines),
            "",
            *([f'export PYTHONPATH={shlex.quote(str(CHECKOUT))}"${{PYTHONPATH:+:$PYTHONPATH}}"'] if CHECKOUT else []),
            f"exec {shlex.join(job)} \\\n  {shlex.join(worker_command(run))}",
            "",
        ]
    )


def worker_command(run: Run) -> list[str]:
    """Return the command that executes ``run``, with torchrun if it asks for several devices.

    Slurm sends SIGTERM to every process of a job. torchrun must ignore it, or it would kill its ranks before their
    checkpoint.
    """
    folder = run.folder.resolve()
    devices = ranks.wanted(run.config)
    if devices == 1:
        return [sys.executable, "-m", "pmsi", "execute", str(folder)]
    command = ranks.torchrun(folder, devices)
    after = command.index("--max-restarts=0") + 1
    return [*command[:after], "--signals-to-handle=SIGINT", *command[after:]]


def own_options() -> list[str]:
    """Return the options in `OPTIONS`, one per line; they follow ours in the script, so they override them."""
    text = os.environ.get(OPTIONS, "")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{OPTIONS} = {text!r} cannot be read ({error}). Expected options of sbatch.") from error
    if words and not words[0].startswith("-"):
        raise ConfigError(f"{OPTIONS} = {text!r} begins with {words[0]!r}. Expected options, as in --partition=gpu.")
    lines: list[list[str]] = []
    for word in words:
        if word.startswith("-"):
            lines.append([])
        lines[-1].append(word)
    return [shlex.join(line) for line in lines]


# Status


def status(run: Run) -> LauncherStatus | None:
    """Return Slurm's status of the run's job; None if it has no job or the run has ended."""
    request, record = queued_request(run.folder), _record(run)
    if request is None:
        return _status_of_begun(run, record)
    if request["launcher"] != "slurm":
        return None
    try:
        return _status_of_queued(request, record)
    except RunError as error:
        return LauncherStatus(str(error))


def _status_of_begun(run: Run, record: dict[str, Any] | None) -> LauncherStatus | None:
    """Return the status if the job works on the run, or will continue it."""
    if record is None or run.state not in (State.RUNNING, State.STOPPING, State.INTERRUPTED):
        return None
    try:
        job = jobs().get(record["job"])
    except RunError as error:
        return LauncherStatus(str(error))
    return LauncherStatus(f"Slurm job {record['job']}: {job}") if job and job.state not in ENDED else None


def _status_of_queued(request: dict[str, Any], record: dict[str, Any] | None) -> LauncherStatus:
    if record and not _is_ours(record):
        return LauncherStatus(f"Slurm job {record['job']} of user {record['uid']}")
    job = jobs().get(record["job"]) if record else None
    if record and job and job.state not in ENDED:
        return LauncherStatus(f"Slurm job {record['job']}: {job}")
    if record and job and record["at"] >= request["at"]:
        return LauncherStatus(f"Slurm job {record['job']} ended before a worker began ({job}).", is_lost=True)
    # It may be just being submitted: sbatch has not answered yet, or the cached answer of squeue is older than the job.
    if time.time() < max(request["at"], record["at"] if record else 0.0) + SUBMITTING_S:
        return LauncherStatus("Being submitted to Slurm")
    return LauncherStatus(
        f"Slurm has no job {record['job']}." if record else "It was never submitted to Slurm.", is_lost=True
    )


def withdraw(run: Run) -> None:
    """Cancel the pending job of a run that was stopped; a running job sees the request to stop itself."""
    record = _record(run)
    if record and run.state is State.STOPPED:
        # If this fails, the job starts and does nothing: its run is no longer queued.
        with contextlib.suppress(RunError):
            call("scancel", "--state=PENDING", record["job"])


def _record(run: Run) -> dict[str, Any] | None:
    return read(run.folder / RECORD)


def _is_ours(record: dict[str, Any]) -> bool:
    return bool(record["uid"] == os.getuid())


# Asking Slurm
