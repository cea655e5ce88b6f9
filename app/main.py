"""The entry of the app: page configuration and navigation, and nothing else."""

from pathlib import Path

import streamlit as st

from app import session
from app.access import require_login
from app.panels import guarded
from app.views import compare, data, home, maps, mosaic, robustness, runs, train

VIEWS = (
    (home, "Start", ":material/home:"),
    (mosaic, "Mosaic", ":material/grid_view:"),
    (data, "Data", ":material/photo_library:"),
    (train, "Train", ":material/model_training:"),
    (runs, "Runs", ":material/monitoring:"),
    (robustness, "Robustness", ":material/tune:"),
    (maps, "Maps", ":material/visibility:"),
    (compare, "Compare", ":material/table_chart:"),
)

STYLE = Path(__file__).parent.parent / "assets" / "style"

st.set_page_config(page_title="PMSI Lab", page_icon=str(STYLE / "icon.svg"), layout="wide")
st.html(STYLE / "page.css")
st.logo(str(STYLE / "logo.svg"), size="medium")
pages = [
    st.Page(view.page, title=title, icon=icon, default=view is home, url_path="" if view is home else title.lower())
    for view, title, icon in VIEWS
]
page = st.navigation(pages, position="top")
st.set_page_config(page_title=f"{page.title} · PMSI Lab")
session.enter(page.url_path)
with guarded():
    require_login()
    page.run()
