"""The entry of the app: page configuration and navigation, and nothing else."""

from pathlib import Path

import streamlit as st

from app import session
from app.panels import guarded
from app.views import maps, mosaic, robustness, runs, train

VIEWS = (
    (mosaic, "Mosaic", ":material/grid_view:"),
    (train, "Train", ":material/model_training:"),
    (runs, "Runs", ":material/monitoring:"),
    (robustness, "Robustness", ":material/tune:"),
    (maps, "Maps", ":material/visibility:"),
)

STYLE = Path(__file__).parent.parent / "assets" / "style"

st.set_page_config(page_title="PMSI Lab", page_icon=str(STYLE / "icon.svg"), layout="wide")
st.logo(str(STYLE / "logo.svg"), size="medium")
page = st.navigation(
    [
        st.Page(view.page, title=title, icon=icon, url_path=title.lower(), default=view is mosaic)
        for view, title, icon in VIEWS
    ],
    position="top",
)
session.enter(page.title)
with guarded():
    page.run()
