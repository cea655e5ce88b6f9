"""Time trials: the command line's ``--dry-run`` in a process of its own, one at a time.

In this process torch has one thread, and two trials at once would slow each other down.
"""

import json
import shlex
import subprocess
import sys
import threading

import streamlit as st

from app.shared.errors import error_panel
from pmsi.base.errors import PMSIError, RunError
from pmsi.config.command import command
from pmsi.config.declare import Config
from pmsi.runs import default_root

PATIENCE_S = 300
"""How long a trial may take."""
TRIED, MOST = "tried", 32
"""The session's key of the seconds of trials by command, and the number of trials that it keeps."""

_TURN = threading.Lock()


def dry_run(words: list[str]) -> str:
    """Return what a command (``train …``, ``tables …``) prints with ``--dry-run``; raises RunError."""
    line = [sys.executable, "-m", "pmsi", *words, "--dry-run"]
    with _TURN:
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise RunError(f"No estimate after {PATIENCE_S} s. The machine may be busy: try again later.") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RunError(said[-1] if said else f"The trial ended with status {done.returncode}. See the server's log.")
    return done.stdout.strip()


@st.cache_data(show_spinner=False, max_entries=256, ttl=3600)
def _seconds(words: list[str]) -> float:
    """Return about how many seconds the runs of a command take, tried once in an hour for all visitors."""
    return float(json.loads(dry_run([*words, "--json"]))["seconds"])


def words_of(config: Config) -> list[str]:
    """Return the words of the command that makes a run, without ``python -m pmsi``."""
    return shlex.split(command(config, default_root().absolute()))[3:]


def measured(words: list[str]) -> float | None:
    """Return the seconds of a command by a trial of this session; None without one."""
    return st.session_state.get(TRIED, {}).get(shlex.join(words))


def measure(words: list[str], doing: str) -> bool:
    """Try a command, with a spinner that says ``doing``; return whether the seconds of its runs are known now."""
    try:
        with st.spinner(doing, show_time=True):
            seconds = _seconds(words)
    except PMSIError as error:
        error_panel(error)
        return False
    known = st.session_state.setdefault(TRIED, {})
    while len(known) >= MOST:
        known.pop(next(iter(known)))
    known[shlex.join(words)] = seconds
    return True
