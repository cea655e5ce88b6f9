"""What can be done with an image, from wherever it is shown: cut it, recognise it, perturb it, explain it.

The links name the image in their addresses, so that they can be copied; an upload is the session's alone.
"""

import streamlit as st

from app.shared import session
from app.shared.panels import Picked
from app.shared.run_session import page_of

BUILT_IN = "plumage"
PAIR = "The paper's pair"
"""The robustness page's choice of colour jitter and then noise, as in Table VII; the others are families."""
ACTIONS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "mosaic": ("Mosaic", "mosaic", ":material/grid_view:", {}),
    "predict": ("Predict", "robustness", ":material/label:", {"kind": PAIR, "k": "0", "sigma": "0"}),
    "perturb": ("Perturb", "robustness", ":material/tune:", {"kind": PAIR, "k": "0.5"}),
    "explain": ("Explain", "maps", ":material/visibility:", {}),
}
"""By name: what the link says, its page, its icon, and what it asks of that page besides the image."""


def place_of(picked: Picked, source: str = "sample") -> str:
    """Return where the image that the visitor has picked is from: "plumage", a folder, or "" for an upload.

    ``source`` is what the page's picker offers first.
    """
    if picked.key.startswith("upload:"):
        return ""
    return session.choice("data") if session.choice("source", source) == "data" else BUILT_IN


def query_of(picked: Picked, place: str | None = None) -> dict[str, str]:
    """Return the query parameters that open a page with this image.

    ``place`` is where it is from: "plumage", a folder, or "" for an upload; by default where the picker looks.
    """
    place = place_of(picked) if place is None else place
    if not place:
        return {"source": "upload"}
    source = {"source": "sample"} if place == BUILT_IN else {"source": "data", "data": place}
    return source | {"image": picked.key}


def image_actions(picked: Picked, *, here: str = "", place: str | None = None, **more: str) -> None:
    """Show a row of links to what can be done with an image, without those that open the page ``here``.

    ``more`` are query parameters that the links carry besides, such as ``run``.
    """
    image = query_of(picked, place)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.caption("This image:", width="content")
        for label, page, icon, asked in ACTIONS.values():
            if page != here:
                st.page_link(page_of(page), label=label, icon=icon, query_params=image | asked | more)
