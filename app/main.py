"""The entry script: page configuration, login and navigation."""

import streamlit as st

from app.login import require_login
from app.shared import session
from app.shared.errors import guarded
from app.views.compare.page import page as compare
from app.views.data.page import page as data
from app.views.home.page import page as home
from app.views.maps.page import page as maps
from app.views.mosaic.page import page as mosaic
from app.views.numbers.page import page as numbers
from app.views.robustness.page import page as robustness
from app.views.runs.page import page as runs
from app.views.train.page import page as train
from pmsi.base.assets import ASSETS

VIEWS = (
    (home, "Start", ":material/home:"),
    (mosaic, "Mosaic", ":material/grid_view:"),
    (data, "Data", ":material/photo_library:"),
    (train, "Train", ":material/model_training:"),
    (runs, "Runs", ":material/monitoring:"),
    (robustness, "Robustness", ":material/tune:"),
    (maps, "Maps", ":material/visibility:"),
    (numbers, "Numbers", ":material/straighten:"),
    (compare, "Compare", ":material/table_chart:"),
)

STYLE = ASSETS / "style"

st.set_page_config(page_title="PMSI Lab", page_icon=str(STYLE / "icon.svg"), layout="wide")
st.html(STYLE / "page.css")
st.logo(str(STYLE / "logo.svg"), size="medium")
pages = [
    st.Page(view, title=title, icon=icon, default=view is home, url_path="" if view is home else title.lower())
    for view, title, icon in VIEWS
]
page = st.navigation(pages, position="top")
st.set_page_config(page_title=f"{page.title} · PMSI Lab")
session.enter(page.url_path)
with guarded():
    require_login()
    page.run()
