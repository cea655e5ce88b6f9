"""Starting what a plan needs, and watching it until nothing is left that could go on.

Each run is started once by a campaign: one that fails while it is watched is reported, and tried again by the next.
"""

import shlex
import time
from pathlib import Path
from typing import TextIO

from pmsi.base.text import duration, percent
from pmsi.cli.console import one_line, say
from pmsi.runs import State, jobs
from pmsi.tables import Table
from pmsi.tables.plan import Plan, make_plan, start

POLL_S = 1.0

QUIET_LOOKS = 2
"""So often nothing must be live before a campaign is over: a launcher may be about to try a run again."""


def follow(table: Table, root: Path, seeds: tuple[int, ...], launcher: str, out: TextIO) -> Plan:
    """Start what the table needs and watch it to its end, one line for each run that ends; return how it ended.

    A KeyboardInterrupt ends the watching alone: what is queued is worked off, and ``out`` says how to stop that.
    """
    started: set[str] = set()
    try:
        told = {found.run.id for found in make_plan(table, root, seeds).found if found.state is State.FINISHED}
        plan, quiet = start(table, root, seeds, launcher, started), 0
        while quiet < QUIET_LOOKS:
            for run in plan.live:
                jobs.follow(run)  # or one that a cluster has lost would be waited for in vain
            _tell(plan, told, started, out)
            time.sleep(POLL_S)
            plan = start(table, root, seeds, launcher, started)
            quiet = 0 if plan.live else quiet + 1
        _tell(plan, told, started, out)
        return plan
    except KeyboardInterrupt:
        say(out, _farewell(make_plan(table, root, seeds), root))
        raise


def _tell(plan: Plan, told: set[str], started: set[str], out: TextIO) -> None:
    """Print a line for each run that has ended since the last look, and on a terminal how far the rest is."""
    for found in plan.found:
        if found.run.id in started - told and not found.state.is_live and found.state is not State.CREATED:
            told.add(found.run.id)
            say(out, one_line(found.run))
    if out.isatty():
        say(out, _how_far(plan), end="")


def _how_far(plan: Plan) -> str:
    done = sum(each.state is State.FINISHED for each in plan.needed)
    words = [f"{done} of {len(plan.needed)} finished"]
    for run in plan.live:
        status = run.status()
        if status.state is State.RUNNING and status.total:
            left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
            words.append(f"{run.id}: {percent(status.done / status.total)} {status.text}{left}")
    return "; ".join(words)


def _farewell(plan: Plan, root: Path) -> str:
    """Say what goes on without us and how to look at it or stop it: the queue first, or the next would begin."""
    if not plan.live:
        return "Not watching any more; nothing is queued. The same command goes on from here."
    waiting_first = sorted(plan.live, key=lambda run: run.state is not State.QUEUED)
    stop = " && ".join(shlex.join(["pmsi", "runs", "stop", run.id, "--runs", str(root)]) for run in waiting_first)
    return (
        f"Not watching any more; {len(plan.live)} queued or running runs go on. The same command watches them again, "
        f"with --show it prints what there is. To stop them: {stop}"
    )
