"""Streamlit components: the files in `app/parts`, which run in the browser without the server."""

from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

SHARED = {"strip": ("tiles",), "steps": ("tiles",), "maps_player": ("scrubber",), "theatre": ("scrubber",)}
"""By part, the scripts that it shares with others: they come before its own."""


@st.cache_resource(show_spinner=False)
def part(name: str) -> ComponentRenderer:
    """Return a part of a page that works in the browser without the server; its files are ``app/parts/NAME.*``."""
    place = Path(__file__).parents[1] / "parts"
    texts = {kind: path.read_text() for kind in ("html", "css", "js") if (path := place / f"{name}.{kind}").exists()}
    shared = [(place / f"{script}.js").read_text() for script in SHARED.get(name, ())]
    return st.components.v2.component(f"pmsi_{name}", **texts | {"js": "".join([*shared, texts["js"]])})
