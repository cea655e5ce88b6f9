"""The Robustness page: one image perturbed live, or sweeps over all test images."""

import streamlit as st

from app.shared.panels import no_runs_yet, trained_runs
from app.shared.session import choose, key_of, remember
from app.views.robustness.form import FIELDS
from app.views.robustness.one_image import bench
from app.views.robustness.sweeps import sweeps

INTRO = (
    "Does the prediction survive a change of light or a noisy sensor? Draws depend on the seed and on the image alone, "
    "so two models of one image size are shown the same pixels."
)

VIEW, OF_SWEEPS = "view", ("sweep", *FIELDS)
"""In the URL: which of the two is seen; what is about sweeps."""
VIEWS = {"image": "One image, live", "sweep": "All test images: sweeps"}


def page() -> None:
    """Draw the page."""
    st.title("Robustness", anchor=False)
    st.markdown(INTRO, width=820)
    runs = trained_runs()
    if not runs:
        no_runs_yet("Robustness is measured on a trained model.")
        return
    _follow_link()
    view = remember(
        st.segmented_control, VIEW, "image", "What is perturbed", VIEWS, required=True, label_visibility="collapsed"
    )
    if view == "sweep":
        sweeps(runs)
        return
    for name in OF_SWEEPS:
        st.query_params.pop(name, None)  # kept in the session: with it, a reload would be a link to a sweep
    bench(runs)


def _follow_link() -> None:
    """Where a link has opened the page that does not say which of the two is seen, show what it is about."""
    if key_of(VIEW) in st.session_state or VIEW in st.query_params:
        return
    if any(name in st.query_params for name in OF_SWEEPS):
        choose(VIEW, "sweep")
    elif len(st.query_params) > 0:
        choose(VIEW, "image")
