"""The robustness page: one image perturbed by sliders, with its prediction before and after; and a sweep as a job."""

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.charts import confidence_bars
from app.images import jpeg
from app.palette import head_color
from app.panels import (
    Picked,
    guarded,
    image_picker,
    no_runs_yet,
    picture,
    plain,
    run_picker,
    start_of_picker,
    trained_runs,
)
from app.resources import predict_once, predictor_of
from app.session import remember
from app.sweeps import sweeps

if TYPE_CHECKING:
    from PIL.Image import Image

    from pmsi.predictor import Prediction
    from pmsi.runs import Run

INTRO = (
    "Does the prediction survive a change of light or a noisy sensor? Move a slider and compare. The draw depends on "
    "the seed and on the image alone, so two models are always shown the same pixels."
)
NOISES = {"gaussian_noise": "Each channel", "gaussian_noise_mono": "Grey", "gaussian_noise_legacy": "Legacy snippet"}
SIGMA = 64
"""Largest σ on the slider; beyond it a photo is hardly recognisable."""


def page() -> None:
    """Draw the page."""
    st.title("Robustness", anchor=False)
    st.markdown(INTRO, width=820)
    runs = trained_runs()
    if not runs:
        no_runs_yet("Robustness is measured on a trained model.")
        return
    _bench(runs)
    st.space("small")
    sweeps(runs)


@st.fragment
@guarded()
def _bench(runs: "list[Run]") -> None:
    left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        run = run_picker(runs)
        assert run is not None
        picked = image_picker(*start_of_picker(run))
    with right, st.container(border=True, height="stretch"):
        k, sigma, noise, seed = _settings()
    if picked is None:
        st.info("Choose an image to perturb.", icon=":material/image:")
        return
    prepared = predictor_of(run).prepare(picked.image)
    perturbed, words = _perturb(prepared, picked.key, k, sigma, noise, seed)
    before = predict_once(run, prepared, picked.key)
    after = predict_once(run, perturbed, repr((picked.key, k, sigma, noise, seed)))
    _show(picked, prepared, perturbed, before, after, words)


def _settings() -> tuple[float, int, str, int]:
    """Return k, σ, the kind of noise and the seed."""
    k = remember(
        st.slider,
        "k",
        0.5,
        "Colour jitter k",
        0.0,
        1.0,
        step=0.05,
        help="Brightness, contrast and saturation, each times a factor from 1 − k to 1 + k. The paper's k is 1.",
    )
    sigma = remember(
        st.slider,
        "sigma",
        0,
        "Gaussian noise σ (grey levels of 255)",
        0,
        SIGMA,
        help="Added to every pixel. The paper's σ is 5.",
    )
    with st.container(horizontal=True):
        noise = remember(
            st.segmented_control,
            "noise",
            "gaussian_noise",
            "Noise is drawn for",
            list(NOISES),
            required=True,
            format_func=NOISES.__getitem__,
            help="Each channel on its own; one value for all three; or as a widely copied snippet does it: grey, "
            "truncated, and wrapped around below 0.",
        )
        seed = remember(st.number_input, "draw", 0, "Seed", 0, 9999, width=130)
    return float(k), int(sigma), noise, int(seed)


def _perturb(image: "Image", key: str, k: float, sigma: int, noise: str, seed: int) -> "tuple[Image, str]":
    """Return the image after jitter and then noise, and the drawn factors in words."""
    from pmsi.perturbations import perturb

    words = []
    if k > 0:
        image, factors = perturb(image, "color_jitter", k, seed=seed, key=key)
        words.append(", ".join(f"{name} × {factors[name]:.2f}" for name in factors["order"]))
    if sigma > 0:
        image, _ = perturb(image, noise, sigma, seed=seed, key=key)
        words.append(f"noise with σ = {sigma}")
    return image, ", then ".join(words) or "unchanged"


def _show(
    picked: Picked, prepared: "Image", perturbed: "Image", before: "Prediction", after: "Prediction", words: str
) -> None:
    pictures, numbers = st.columns([2, 1.1], gap="medium")
    first, second = pictures.columns(2, gap="small", wrap=False)
    with first:
        picture(jpeg(prepared), alt=f"{picked.title}, as the network sees it", caption="**Before**")
    with second:
        picture(jpeg(perturbed), alt=f"{picked.title}, {words}", caption=f"**After** · {words}")
    with numbers:
        _sentence(before, after, picked.label)
        color = head_color(before.primary)
        st.html(confidence_bars(before.heads[before.primary], after.heads[after.primary], color, truth=picked.label))
        st.caption(f"Probability at output {before.primary}: grey before, coloured after.")
    with st.expander("Every output"):
        _heads(before, after, picked.label)


def _sentence(before: "Prediction", after: "Prediction", truth: str | None) -> None:
    """Say in a line what became of the prediction."""

    def named(guess: Any) -> str:
        mark = "" if truth is None else " ✓" if guess.name == truth else " ✗"
        return f"**{plain(guess.name)}**{mark} ({guess.probability:.0%})"

    if before.best.label == after.best.label:
        st.markdown(f"Still {named(after.best)}, before {before.best.probability:.0%}.")
    else:
        st.markdown(f"From {named(before.best)} to {named(after.best)}.")


def _heads(before: "Prediction", after: "Prediction", truth: str | None) -> None:
    columns = st.columns(min(3, len(before.heads)), gap="large")
    for i, (head, guesses) in enumerate(before.heads.items()):
        with columns[i % len(columns)]:
            st.markdown(f"**{head}**")
            st.html(confidence_bars(guesses, after.heads[head], head_color(head), top=3, truth=truth))
