"""Links that open another page with an image: recognise it, cut it, perturb it, explain it.

The address has the image in it and can be copied; an uploaded image is in the session only.
"""

import streamlit as st

from app.shared.panels import Picked
from app.shared.session import page_of

PAIR = "The paper's pair"
"""The Perturb page's choice of colour jitter and then noise, as in Table VII; the others are families."""
ACTIONS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "mosaic": ("Mosaic", "mosaic", ":material/grid_view:", {}),
    "answer": ("Answer", "answer", ":material/label:", {}),
    "perturb": ("Perturb", "perturb", ":material/tune:", {"kind": PAIR, "k": "0.5"}),
    "stages": ("Stages", "stages", ":material/layers:", {}),
    "explain": ("Explain", "maps", ":material/visibility:", {}),
}
"""By name: what the link says, its page, its icon, and what it asks of that page besides the image."""


def image_actions(picked: Picked, *, here: str = "", **more: str) -> None:
    """Show a row of links to what can be done with an image, without those that open the page ``here``.

    ``more`` are query parameters that the links carry besides, such as ``run``.
    """
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption("This image:", width="content")
        for label, page, icon, asked in ACTIONS.values():
            if page != here:
                st.page_link(page_of(page), label=label, icon=icon, query_params={**picked.query, **asked, **more})
