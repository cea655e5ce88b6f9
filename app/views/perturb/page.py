"""The Perturb page: one image perturbed live, for one run or two."""

import streamlit as st

from app.shared.panels import no_runs_yet, trained_runs
from app.views.perturb.one_image import bench

INTRO = (
    "Does the prediction survive a change of light or a noisy sensor? Draws depend on the seed and on the image alone, "
    "so two models of one image size are shown the same pixels."
)


def page() -> None:
    """Draw the page."""
    st.title("Perturb an image", anchor=False)
    st.markdown(INTRO, width=820)
    if runs := trained_runs():
        bench(runs)
    else:
        no_runs_yet("Robustness is measured on a trained model.")
