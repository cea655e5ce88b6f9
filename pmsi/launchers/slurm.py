"""The Slurm launcher: each queued run becomes a job of its own, which Slurm starts on some node of the cluster.

A submit writes ``job.sh`` into the run folder, hands it to sbatch, and keeps the job's number in ``slurm.json``. What
happens inside the job is `pmsi.launchers.slurm_job`. Nobody here waits for anything: Slurm is asked when somebody looks
at a run or resumes it. This module does not know what a worker computes.
"""

import contextlib
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pmsi import ranks
from pmsi.errors import ConfigError, RunError
from pmsi.files import read_json, to_json, write_atomically
from pmsi.launchers import Look
from pmsi.launchers.worker import CHECKOUT, no_worker
from pmsi.lifecycle import give_up, queued_request, settle
from pmsi.runs import Run, State

OPTIONS = "PMSI_SLURM_OPTIONS"
"""Environment: sbatch's own options for every job, such as ``--partition=gpu --gres=gpu:1 --time=12:00:00``."""

SCRIPT, RECORD = "job.sh", "slurm.json"

WARNING_S = 60
"""How long before its time is up a job is told, so that a checkpoint can be written."""

ANSWER_S, SUBMIT_S = 20.0, 120.0
"""How long a question to Slurm, and a submit, may take."""

FRESH_S = 5.0
"""How long an answer is good for: a page that looks at many runs asks Slurm once."""

HANDING_S = SUBMIT_S + 60
"""A run that is queued for longer than this and has no job was never handed to Slurm."""

ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
}  # fmt: skip
"""States of a job that will not run again."""


FORMAT = "JobID:|,State:|,Reason:|,NodeList:|,RestartCnt:|"
"""What squeue prints of each job, as `Job` has it."""


@dataclass(frozen=True)
class Job:
    """A job as squeue sees it; ``restarts`` counts how often Slurm has put it back into its queue."""

    state: str
    reason: str
    nodes: str
    restarts: int

    @property
    def waits(self) -> bool:
        """Whether Slurm will start the job, or start it again."""
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")

    def __str__(self) -> str:
        words = "requeued, pending" if self.waits and self.restarts else self.state.lower().replace("_", " ")
        if self.waits:
            return f"{words} ({self.reason})"
        return f"{words} on {self.nodes}" if self.nodes and self.state not in ENDED else words


# Submitting


def submit(run: Run) -> None:
    """Hand a queued run to sbatch; what refuses is raised, and leaves the run failed with the reason."""
    request = queued_request(run.folder)
    if request is None:
        return  # withdrawn just now
    try:
        if not _has_waiting_job(run):
            _hand_over(run, request["cwd"])
    except (ConfigError, RunError, OSError) as error:
        if give_up(run.folder, request):
            settle(run.folder, State.FAILED, no_worker(str(error)) | {"remedy": "Put that right, then resume the run."})
        raise


def _has_waiting_job(run: Run) -> bool:
    """Return whether Slurm will start a job for the run anyway: one submitted twice, or requeued and then resumed."""
    record = _record(run)
    job = jobs(fresh=True).get(record["job"]) if record and _is_ours(record) else None
    return job is not None and job.waits


def _hand_over(run: Run, cwd: str | None) -> None:
    (run.folder / RECORD).unlink(missing_ok=True)
    write_atomically(run.folder / SCRIPT, script(run, cwd))
    number = call("sbatch", "--parsable", str(run.folder.resolve() / SCRIPT), patience_s=SUBMIT_S).partition(";")[0]
    record = {"job": number.strip(), "at": time.time(), "uid": os.getuid()}
    write_atomically(run.folder / RECORD, to_json(record))


def script(run: Run, cwd: str | None) -> str:
    """Return the batch script of a run; it can also be handed to sbatch by hand."""
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
    job = [sys.executable, "-m", "pmsi.launchers.slurm_job", str(folder)]
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {line}" for line in lines),
            "",
            f'export PYTHONPATH={shlex.quote(str(CHECKOUT))}"${{PYTHONPATH:+:$PYTHONPATH}}"',
            f"exec {shlex.join(job)} \\\n  {shlex.join(worker_command(run))}",
            "",
        ]
    )


def worker_command(run: Run) -> list[str]:
    """Return the command that executes ``run``, with torchrun where it asks for several devices.

    Slurm sends SIGTERM to every process of a job; torchrun would kill its ranks for it before their checkpoint.
    """
    folder = run.folder.resolve()
    devices = ranks.wanted(run.config)
    if devices == 1:
        return [sys.executable, "-m", "pmsi", "execute", str(folder)]
    command = ranks.torchrun(folder, devices)
    after = command.index("--max-restarts=0") + 1
    return [*command[:after], "--signals-to-handle=SIGINT", *command[after:]]


def own_options() -> list[str]:
    """Return the options of `OPTIONS`, each as a line: those written later win, so they may change ours."""
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


# Following


def look(run: Run) -> Look | None:
    """Return what Slurm says of the run's job, or None where it has none, or the run has come to its end."""
    request, record = queued_request(run.folder), _record(run)
    if request is None:
        return _look_at_begun(run, record)
    if request["launcher"] != "slurm":
        return None
    try:
        return _look_at_queued(request, record)
    except RunError as error:
        return Look(str(error))


def _look_at_begun(run: Run, record: dict[str, Any] | None) -> Look | None:
    """Return a look where the job works on the run, or will go on with it."""
    if record is None or run.state not in (State.RUNNING, State.STOPPING, State.INTERRUPTED):
        return None
    try:
        job = jobs().get(record["job"])
    except RunError as error:
        return Look(str(error))
    return Look(f"Slurm job {record['job']}: {job}") if job and job.state not in ENDED else None


def _look_at_queued(request: dict[str, Any], record: dict[str, Any] | None) -> Look:
    if record and not _is_ours(record):
        return Look(f"Slurm job {record['job']} of user {record['uid']}")
    job = jobs().get(record["job"]) if record else None
    if record and job and job.state not in ENDED:
        return Look(f"Slurm job {record['job']}: {job}")
    if record and job and record["at"] >= request["at"]:
        return Look(f"Slurm job {record['job']} ended before a worker began ({job}).", is_lost=True)
    # It may be on its way: sbatch has not answered yet, or the answer that we keep is older than the job.
    if time.time() < max(request["at"], record["at"] if record else 0.0) + HANDING_S:
        return Look("Being handed to Slurm")
    return Look(
        f"Slurm does not know job {record['job']}." if record else "It was never handed to Slurm.", is_lost=True
    )


def withdraw(run: Run) -> None:
    """Cancel the job of a run that was stopped while it waited; a job that works sees the request itself."""
    record = _record(run)
    if record and run.state is State.STOPPED:
        # Where this fails the job comes in vain: its run is no longer in the queue.
        with contextlib.suppress(RunError):
            call("scancel", "--state=PENDING", record["job"])


def _record(run: Run) -> dict[str, Any] | None:
    record = read_json(run.folder / RECORD)
    return record if record and {"job", "at", "uid"} <= record.keys() else None


def _is_ours(record: dict[str, Any]) -> bool:
    return bool(record["uid"] == os.getuid())


# Asking Slurm


def jobs(*, fresh: bool = False) -> dict[str, Job]:
    """Return this user's jobs by number, those lately ended among them; at most `FRESH_S` old, or asked for now."""
    if fresh:
        _ask.cache_clear()
    answer = _ask(int(time.monotonic() / FRESH_S))
    if isinstance(answer, RunError):
        raise answer
    return answer


@lru_cache(maxsize=1)
def _ask(_moment: int) -> dict[str, Job] | RunError:
    """Ask squeue; a failure is an answer too, so that a Slurm which hangs is not asked for each run of a page."""
    try:
        text = call("squeue", "--me", "--states=all", "--noheader", f"--Format={FORMAT}")
    except RunError as error:
        return error
    rows = [line.strip().split("|") for line in text.splitlines()]
    return {row[0]: Job(row[1], row[2], row[3], int(row[4] or 0)) for row in rows if len(row) > 4}


def call(*words: str, patience_s: float = ANSWER_S) -> str:
    """Return what a command of Slurm's prints, or raise a RunError with what it complains about."""
    filters = ("SQUEUE_", "SCANCEL_")  # what a person likes to see would hide jobs from us
    environment = {name: value for name, value in os.environ.items() if not name.startswith(filters)}
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience_s, env=environment
        )
    except FileNotFoundError as error:
        raise RunError(
            f"Slurm's command {words[0]} is not on this machine. Do this on a login node of the cluster, or install "
            "it (on Debian: apt install slurm-client)."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise RunError(
            f"{words[0]} has not answered for {patience_s:.0f} s. Is Slurm up? See: scontrol ping"
        ) from error
    if done.returncode:
        raise RunError(f"{words[0]} failed: {' '.join((done.stderr or done.stdout).split())}")
    return done.stdout
