"""The session state of the pages about runs: first values of widgets, resets of forms, the launcher."""

from typing import Any

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from pmsi.runs.launchers import available

_SEEDED, _GENERATION, _SHOWN, _DELETED = "form-seeded", "form-generation", "runs-shown", "runs-deleted"

PAGE = 20
"""Runs that the list shows before it is asked for more."""


def seed_widget(key: str, value: Any) -> None:
    """Give a widget its first value, once in a session."""
    seeded = st.session_state.setdefault(_SEEDED, set())
    if key not in seeded:
        seeded.add(key)
        st.session_state[key] = value


def widget_value(key: str, default: Any) -> Any:
    """Return the value that a widget is going to have, before it is drawn."""
    return st.session_state.get(key, default)


def generation(key: str) -> int:
    """Return how often a form was reset: part of its widgets' keys, so that a reset makes new ones."""
    return int(st.session_state.setdefault(_GENERATION, {}).get(key, 0))


def reset(key: str) -> None:
    """Forget what was typed into a form."""
    st.session_state.setdefault(_GENERATION, {})[key] = generation(key) + 1


def page_of(name: str) -> StreamlitPage:
    """Return the page at a URL path, for links: Streamlit finds it by that path among those that `app.main` runs."""
    return st.Page(_run_by_main, title=name.capitalize(), url_path=name)


def _run_by_main() -> None:
    """Stand for a page in a link; it is never called."""


def shown_runs() -> int:
    """Return how many runs the list shows."""
    return int(st.session_state.get(_SHOWN, PAGE))


def show_more_runs() -> None:
    """Let the list show one page more."""
    st.session_state[_SHOWN] = shown_runs() + PAGE


def just_deleted() -> list[tuple[str, str]]:
    """Return (id, name) of the runs that the visitor has deleted last, while that can be undone in place."""
    return list(st.session_state.get(_DELETED, []))


def remember_deleted(runs: list[tuple[str, str]]) -> None:
    """Keep (id, name) of the runs that the visitor has deleted last."""
    st.session_state[_DELETED] = runs


def launcher_choice(key: str) -> str:
    """Show the choice of a launcher, if there are several, and return its name."""
    rows = available()
    names = list(rows)
    if len(names) == 1:
        return names[0]
    chosen = st.selectbox(
        "Worked on by",
        names,
        format_func=lambda name: rows[name].title,
        help=" ".join(f"{row.title}: {row.help}" for row in rows.values()),
        key=f"{key}-launcher",
        persist_state="session",
        label_visibility="collapsed",
        width=180,
    )
    return str(chosen)
