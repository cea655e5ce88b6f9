"""The app's pages without its menu, for AppTest: scripts call `navigate`."""

from importlib import import_module

import streamlit as st


def navigate(*names: str) -> None:
    """Show the first of some pages; links and buttons lead to the others."""
    from app.shared import session
    from app.shared.errors import guarded

    views = {name: import_module(f"app.views.{name}.page").page for name in dict.fromkeys(names)}
    page = st.navigation([st.Page(view, title=name.capitalize(), url_path=name) for name, view in views.items()])
    session.enter(page.url_path)
    with guarded():
        page.run()
