"""The robustness page: one image perturbed by sliders, with its predictions before and after; and sweeps as jobs."""

import streamlit as st

from app.bench import bench
from app.panels import no_runs_yet, trained_runs
from app.sweeps import sweeps

INTRO = (
    "Does the prediction survive a change of light or a noisy sensor? Move a slider and compare. The draw depends on "
    "the seed and on the image alone, so two models are always shown the same pixels."
)


def page() -> None:
    """Draw the page."""
    st.title("Robustness", anchor=False)
    st.markdown(INTRO, width=820)
    runs = trained_runs()
    if not runs:
        no_runs_yet("Robustness is measured on a trained model.")
        return
    bench(runs)
    st.space("small")
    sweeps(runs)
