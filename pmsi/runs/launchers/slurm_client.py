"""Calls of Slurm's commands, and the jobs that squeue lists."""

import os
import subprocess
import time
from dataclasses import dataclass
from functools import lru_cache

from pmsi.base.errors import RunError

ANSWER_S = 20.0
"""Seconds that a command of Slurm may take."""

FRESH_S = 5.0
"""Seconds for which squeue's answer is cached, since a page shows many runs."""

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


def jobs(*, fresh: bool = False) -> dict[str, Job]:
    """Return this user's jobs by number, recently ended ones too; cached for `FRESH_S` unless ``fresh``."""
    if fresh:
        _ask.cache_clear()
    answer = _ask(int(time.monotonic() / FRESH_S))
    if isinstance(answer, RunError):
        raise answer
    return answer


@lru_cache(maxsize=1)
def _ask(_moment: int) -> dict[str, Job] | RunError:
    """Return squeue's jobs or its error; errors are cached too, so that a page waits once for a Slurm that hangs."""
    try:
        text = call("squeue", "--me", "--states=all", "--noheader", f"--Format={FORMAT}")
    except RunError as error:
        return error
    rows = [line.strip().split("|") for line in text.splitlines()]
    return {row[0]: Job(row[1], row[2], row[3], int(row[4] or 0)) for row in rows if len(row) > 4}


def call(*words: str, patience_s: float = ANSWER_S) -> str:
    """Return what a command of Slurm prints; raises RunError if it fails, is missing or takes too long."""
    filters = ("SQUEUE_", "SCANCEL_")  # a user's own filters would hide jobs
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
