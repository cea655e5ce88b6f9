"""The entry script: page configuration, login and navigation."""

import streamlit as st

from app.login import require_login
from app.shared import session
from app.shared.components import part
from app.shared.errors import guarded
from app.views.answer.page import page as answer
from app.views.data.page import page as data
from app.views.game.page import page as game
from app.views.home.page import page as home
from app.views.maps.page import page as maps
from app.views.mosaic.page import page as mosaic
from app.views.numbers.page import page as numbers
from app.views.perturb.page import page as perturb
from app.views.runs.page import page as runs
from app.views.stages.page import page as stages
from app.views.sweeps.page import page as sweeps
from app.views.tables.page import page as tables
from app.views.train.page import page as train
from pmsi.base.assets import ASSETS

VIEWS = {
    "Explore": (
        (home, "Start", ":material/home:"),
        (answer, "Answer", ":material/label:"),
        (mosaic, "Mosaic", ":material/grid_view:"),
        (stages, "Stages", ":material/layers:"),
        (maps, "Maps", ":material/visibility:"),
        (perturb, "Perturb", ":material/tune:"),
        (game, "Game", ":material/extension:"),
    ),
    "Train": (
        (data, "Data", ":material/photo_library:"),
        (train, "Train", ":material/model_training:"),
        (runs, "Runs", ":material/monitoring:"),
    ),
    "Results": (
        (sweeps, "Sweeps", ":material/show_chart:"),
        (numbers, "Numbers", ":material/straighten:"),
        (tables, "Tables", ":material/table_chart:"),
    ),
}
"""The sections of the menu. A page's address is its title in lower case, the first one's is the app's own."""

PLACES = {"runs": ("run", "runs")}
"""By page, the query parameters of which another value is another place, to which the way back leads."""

STYLE = ASSETS / "style"

st.set_page_config(page_title="PMSI Lab", page_icon=str(STYLE / "icon.svg"), layout="wide")
st.html(STYLE / "page.css")
st.logo(str(STYLE / "logo.svg"), size="medium")
pages = {
    section: [
        st.Page(view, title=title, icon=icon, default=view is home, url_path="" if view is home else title.lower())
        for view, title, icon in views
    ]
    for section, views in VIEWS.items()
}
page = st.navigation(pages, position="top")
st.set_page_config(page_title=f"{page.title} · PMSI Lab")
if session.enter(page.url_path):
    session.begin()
with guarded():
    require_login()
    page.run()
section = next(section for section, views in VIEWS.items() if any(title == page.title for _, title, _ in views))
query, before = session.first_address()
address = {"page": page.url_path, "query": query, "before": before}
part("window")(key="window", data={"places": PLACES, "section": section, **address})
