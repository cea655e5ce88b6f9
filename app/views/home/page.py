"""The Start page: the method in one picture with the visitor's image in it, and three ways to begin."""

from urllib.parse import urlencode

import streamlit as st

from app.shared import session
from app.shared.cached_models import predict_once, predictor_of
from app.shared.components import part
from app.shared.errors import guarded
from app.shared.image_links import image_actions
from app.shared.panels import Picked, default_run, image_picker, trained_runs, unknown_class
from app.shared.session import page_of
from app.shared.wording import name_of_run
from app.views.home.flow import Answer, flow
from app.views.mosaic.strip import DEPTH, Chosen
from pmsi.data.images import pixels_digest
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.mosaics import mosaics, square
from pmsi.predictor import Prediction
from pmsi.runs import Run

OWN_LINKS = "flow-links"
"""Key of the container of the links behind the picture's parts."""
PHOTO, MOSAIC = 320, 224
"""Sides of the pictures, in pixels."""

INTRO = (
    "Fine-grained recognition tells apart species that differ in small parts. RMG-PMSI teaches a small network to see "
    "them: it trains its stages one after the other on mosaics of growing patches, and lets the stages tell each other "
    "what they found. Choose an image, and follow it."
)
ANSWERED = "answered"
"""The session's key of the last run and image whose answer was shown: it need not be waited for again."""
WAITING = "Once a model is trained, this is where each head says what it sees."


def page() -> None:
    """Draw the page."""
    st.title("How a small network learns small differences", anchor=False)
    _picture()
    st.space("small")
    _beginnings()


@st.fragment
@guarded()
def _picture() -> None:
    left, right = st.columns([7, 5], gap="large", vertical_alignment="center")
    with left:
        st.markdown(INTRO)
        actions = st.container()
    with right, st.container(border=True):
        picked = image_picker()
    if picked is None:
        st.info("Choose an image, and it goes through the method here.", icon=":material/image:")
        return
    with actions:
        run = default_run(trained_runs(), picked.label)
        image_actions(picked, **({"run": run.id} if run else {}))
    with st.container(key=OWN_LINKS):  # hidden: what a click on a part of the picture clicks
        for name, query in links(picked, run).values():
            st.page_link(page_of(name), label=name, query_params=query)
    part("links")(key="links", data={"links": f".st-key-{OWN_LINKS}"})
    _flow(picked, run)


def _flow(picked: Picked, run: Run | None) -> None:
    """Draw the picture at once; what a model says of the image is added when it is known."""
    place = st.empty()
    seed = session.parsed(session.choice("seed"), Chosen.seed)
    cut = mosaics(square(picked.image, MOSAIC), DEPTH, seed=seed, borders=False)[::-1]
    photo, encoded = jpeg(square(picked.image, PHOTO)), [jpeg(mosaic, 82) for mosaic in cut]
    name = picked.title if picked.label else "Your image"
    if run is None:
        place.html(flow(name, photo, encoded, {}, WAITING, _addresses(picked, run)))
        return
    note, shown = f"What {name_of_run(run)} says of it.", pixels_digest(picked.image)
    if st.session_state.get(ANSWERED) != (run.id, shown):
        place.html(flow(name, photo, encoded, {}, note, _addresses(picked, run)))
    with guarded():
        predictor = predictor_of(run)
        prediction = predict_once(run, predictor.prepare(picked.image))
        strange = unknown_class(run, picked.label, prediction.best.name)
        answers = answers_of(prediction, None if strange else picked.label)
        place.html(flow(name, photo, encoded, answers, f"{note} {strange}", _addresses(picked, run)))
        st.session_state[ANSWERED] = (run.id, shown)


def answers_of(prediction: Prediction, truth: str | None) -> dict[str, Answer]:
    """Return what each head says; right or wrong where the image's class is one that the run knows (``truth``)."""
    best = {head: guesses[0] for head, guesses in prediction.heads.items()}
    return {
        head: Answer(guess.name, guess.probability, guess.name == truth if truth else None)
        for head, guess in best.items()
    }


def links(picked: Picked, run: Run | None) -> dict[str, tuple[str, dict[str, str]]]:
    """Return by part of the picture the page that it opens, and the query parameters, with the image in them."""
    image, model = dict(picked.query), {"run": run.id} if run else {}
    return {
        "image": ("perturb", image | model),
        "mosaics": ("mosaic", image | model),
        "stages": ("maps", image | model),
        "interaction": ("train", {}),
        "heads": ("tables", {}),
    }


def _addresses(picked: Picked, run: Run | None) -> dict[str, str]:
    """Return the links as addresses relative to the first page, for opening in another tab."""
    return {part: f"{name}?{urlencode(query)}".rstrip("?") for part, (name, query) in links(picked, run).items()}


def _beginnings() -> None:
    """Show three ways to begin."""
    run = default_run(trained_runs(), None)
    trained, train, numbers = st.columns(3, gap="medium")
    with trained, st.container(border=True, height="stretch"):
        st.markdown("**See it with a trained model**")
        if run is None:
            st.markdown("There is none yet. The quick preset trains one in about three minutes.")
        else:
            st.markdown("Where do its stages look, and does its answer survive a change of light?")
            with st.container(horizontal=True):
                for name, title, icon in (
                    ("maps", "Maps", ":material/visibility:"),
                    ("perturb", "Perturb", ":material/tune:"),
                ):
                    st.page_link(page_of(name), label=title, icon=icon, query_params={"run": run.id})
    with train, st.container(border=True, height="stretch"):
        st.markdown("**Train one**")
        st.markdown("On the built-in birds in minutes, or on your own images with the paper's recipe.")
        st.page_link(page_of("train"), label="Train", icon=":material/model_training:")
    with numbers, st.container(border=True, height="stretch"):
        st.markdown("**Read the numbers**")
        st.markdown("The paper's tables, filled from your runs and beside its printed values.")
        st.page_link(page_of("tables"), label="Tables", icon=":material/table_chart:")
