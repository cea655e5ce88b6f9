"""Time trials: the command line's ``--dry-run`` in a process of its own, one at a time.

In this process torch has one thread, and two trials at once would slow each other down.
"""

import json
import shlex
import subprocess
import sys
import time

import streamlit as st

from app.shared.access import require_writable
from app.shared.errors import error_panel
from app.shared.memory import once
from app.shared.work import LOOK_S, Line, stop_if_gone, turn
from pmsi.base.errors import PMSIError, RunError
from pmsi.config.command import command
from pmsi.config.declare import Config
from pmsi.runs import default_root

PATIENCE_S = 300
"""How long a trial may take."""
TRIED, MOST = "tried", 32
"""The session's key of the seconds of trials by command, and the number of trials that it keeps."""

_TRIALS = Line(1)


def dry_run(words: list[str]) -> str:
    """Return what a command (``train …``, ``tables …``) prints with ``--dry-run``; raises RunError."""
    return printed([*words, "--dry-run"])


def printed(words: list[str], patience_s: int = PATIENCE_S) -> str:
    """Return what a command prints, which works in a process of its own, one at a time; raises RunError.

    It is killed where its visitor leaves. Refused in a read-only app, which starts no process for a visitor.
    """
    require_writable()
    line = [sys.executable, "-m", "pmsi", *words]
    with turn(_TRIALS):
        end = time.monotonic() + patience_s
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            while (said := _said(process)) is None:
                stop_if_gone()
                if time.monotonic() > end:
                    raise RunError(f"No answer after {patience_s} s. The machine may be busy: try again later.")
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        errors = said[1].strip().splitlines()
        raise RunError(errors[-1] if errors else f"It ended with status {process.returncode}.")
    return said[0].strip()


def _said(process: "subprocess.Popen[str]") -> tuple[str, str] | None:
    """Return what a process has written if it ends soon, else None."""
    try:
        return process.communicate(timeout=LOOK_S)
    except subprocess.TimeoutExpired:
        return None


def _seconds(words: list[str], images: int | None = None) -> float:
    """Return about how many seconds the runs of a command take, tried once in an hour for all visitors."""
    make = lambda: float(json.loads(dry_run([*words, "--json"]))["seconds"])  # noqa: E731
    return once(("trial", *words, images), make, line=None, ttl=3600)


def words_of(config: Config) -> list[str]:
    """Return the words of the command that makes a run, without ``python -m pmsi``."""
    return shlex.split(command(config, default_root().absolute()))[3:]


def measured(words: list[str], images: int | None = None) -> float | None:
    """Return the seconds of a command by a trial of this session; None without one.

    ``images`` is how many the data set has: a trial of when it had others is none.
    """
    return st.session_state.get(TRIED, {}).get((*words, images))


def measure(words: list[str], doing: str, images: int | None = None) -> bool:
    """Try a command, with a spinner that says ``doing``; return whether the seconds of its runs are known now."""
    try:
        with st.spinner(doing, show_time=True):
            seconds = _seconds(words, images)
    except PMSIError as error:
        error_panel(error)
        return False
    known = st.session_state.setdefault(TRIED, {})
    while len(known) >= MOST:
        known.pop(next(iter(known)))
    known[*words, images] = seconds
    return True
