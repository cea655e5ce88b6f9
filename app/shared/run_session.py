"""Forms in the session (resets, values), links to pages, and the choice of a launcher."""

from typing import Any

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from pmsi.runs.launchers import available

_GENERATION = "form-generation"


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
