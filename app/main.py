"""The entry of the app: page configuration and navigation, and nothing else."""

from pathlib import Path

import streamlit as st

from app import session
from app.panels import guarded
from app.views import compare, maps, mosaic, robustness, runs, train

VIEWS = (
    (mosaic, "Mosaic", ":material/grid_view:"),
    (train, "Train", ":material/model_training:"),
    (runs, "Runs", ":material/monitoring:"),
    (robustness, "Robustness", ":material/tune:"),
    (maps, "Maps", ":material/visibility:"),
    (compare, "Compare", ":material/table_chart:"),
)

STYLE = Path(__file__).parent.parent / "assets" / "style"

st.set_page_config(page_title="PMSI Lab", page_icon=str(STYLE / "icon.svg"), layout="wide")
st.html(STYLE / "contrast.css")
st.logo(str(STYLE / "logo.svg"), size="medium")
pages = [
    st.Page(view.page, title=title, icon=icon, default=view is mosaic, url_path="" if view is mosaic else title.lower())
    for view, title, icon in VIEWS
]
named = st.Page(mosaic.page, title="Mosaic", url_path="mosaic", visibility="hidden")  # the default page is only at /
page = st.navigation([*pages, named], position="top")
st.set_page_config(page_title=f"{page.title} · PMSI Lab")
session.enter(page.url_path)
with guarded():
    page.run()
