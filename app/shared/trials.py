"""How long runs take, found out in a process of its own: torch's settings in this one belong to all visitors.

One trial at a time: two at once would each find the machine twice as slow.
"""

import json
import subprocess
import sys
import threading

import streamlit as st

from pmsi.base.errors import RunError

PATIENCE_S = 300
"""How long a trial may take."""

_TURN = threading.Lock()


def seconds_of(words: list[str]) -> float:
    """Return about how many seconds the runs of a command (``train …``, ``grid …``) take; raises RunError."""
    line = [sys.executable, "-m", "pmsi", *words, "--dry-run", "--json"]
    with _TURN:
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise RunError(f"No answer after {PATIENCE_S} s. The machine may be busy: try again later.") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise RunError(said[-1] if said else f"The trial ended with status {done.returncode}. See the server's log.")
    return float(json.loads(done.stdout)["seconds"])


@st.cache_data(show_spinner=False, max_entries=256, ttl=3600)
def tried_once(words: list[str]) -> float:
    """Return about how many seconds the runs of a command take, tried once in an hour for all visitors."""
    return seconds_of(words)
