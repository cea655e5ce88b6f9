"""Trials that a visitor has asked for: how long the work of a config takes here, remembered for this session."""

import shlex

import streamlit as st

from app.shared.errors import error_panel
from app.shared.session import tried
from app.shared.trials import tried_once
from pmsi.base.errors import PMSIError
from pmsi.config.command import command
from pmsi.config.declare import Config
from pmsi.runs import default_root

MOST = 32
"""Trials that a session remembers."""


def measured(config: Config) -> float | None:
    """Return the seconds that a trial of this session has told for a config, if there was one."""
    return tried().get(command(config))


def measure(config: Config, doing: str) -> bool:
    """Try a config in a process of its own; return whether that told how long it takes. ``doing`` is said meanwhile."""
    try:
        with st.spinner(doing, show_time=True):
            seconds = tried_once(shlex.split(command(config, default_root().absolute()))[3:])
    except PMSIError as error:
        error_panel(error)
        return False
    known = tried()
    while len(known) >= MOST:
        known.pop(next(iter(known)))
    known[command(config)] = seconds
    return True
