"""The Perturb page: one image perturbed live, for one run or two."""

import streamlit as st

from app.shared.bar import bar
from app.shared.glossary import meaning
from app.shared.panels import no_runs_yet
from app.views.perturb.one_image import bench

INTRO = (
    "Does the prediction survive a change of light or a noisy sensor? Draws depend on the seed and on the image alone, "
    "so two models of one image size are shown the same pixels."
)


def page() -> None:
    """Draw the page."""
    st.title("Perturb an image", anchor=False, help=f"{INTRO}\n\n{meaning('severity', 'k', 'σ')}")
    chosen = bar(here="perturb")
    if chosen.run is None:
        no_runs_yet("Robustness is measured on a trained model.")
    elif chosen.picked is None:
        st.info("Choose an image to perturb.", icon=":material/image:")
    else:
        bench(chosen.picked, chosen.runs, chosen.output)
