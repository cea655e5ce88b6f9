"""Errors on a page: in the core's own words where it has some, else with a hint to the server's log."""

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import streamlit as st

from app.shared.access import require_writable
from app.shared.fields import entries
from pmsi.base.errors import PMSIError
from pmsi.config import TrainConfig
from pmsi.config.command import reworded
from pmsi.runs.record import INSIST

LOG = logging.getLogger("pmsi.app")


def plain(text: str) -> str:
    """Return text such that markdown shows it as it is; file names and messages may hold anything."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>~$:-])", r"\\\1", text)


def worded(message: str, insist: str = "tick “Insist”") -> str:
    """Return what the core says, with the words of the page in place of fields and flags."""
    labels = {name: entry.label for name, entry in entries(TrainConfig).items()}
    return reworded(message.replace(INSIST, insist), labels.get)


def error_panel(error: Exception) -> None:
    """Show an error: the core's own in its words, the system's in a line; any other is found in the server's log."""
    if isinstance(error, PMSIError):
        st.error(plain(worded(str(error))), icon=":material/info:")
        return
    if isinstance(error, OSError) and error.strerror:
        st.error(plain(f"A file could not be read or written: {error.strerror}."), icon=":material/info:")
        return
    st.error(
        "Something went wrong here, and it is not your doing. The details are in the server's log. Reload the page to "
        f"go on. ({plain(type(error).__name__)})",
        icon=":material/error:",
    )


def fix_buttons(error: PMSIError, key: str) -> None:
    """Offer the changes that take an error's cause away, in the form whose widgets' keys begin with ``key``."""
    if not error.fixes:
        return
    with st.container(horizontal=True):
        for fix in error.fixes:
            st.button(fix.title, key=f"{key}-fix-{fix.title}", on_click=_change, args=(key, fix.changes))


def _change(key: str, changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        is_text = entries(TrainConfig)[name].kind is str and value is None
        st.session_state[f"{key}-{name}"] = "" if is_text else value


@contextlib.contextmanager
def guarded(form: str = "") -> Iterator[None]:
    """Show whatever is raised inside in the error panel; also a decorator."""
    try:
        yield
    except PMSIError as error:
        error_panel(error)
        if form:
            fix_buttons(error, form)
    except Exception as error:
        LOG.exception("A page failed.")
        error_panel(error)


@contextlib.contextmanager
def changing(form: str = "") -> Iterator[None]:
    """Do what changes something, unless the app is read-only; an error is shown, and ends what is inside.

    What would help is offered where a form's key is given.
    """
    with guarded(form):
        require_writable()
        yield
