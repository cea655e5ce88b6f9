"""The first page: the method in one picture with the visitor's own image in it, and three ways to begin."""

from typing import TYPE_CHECKING
from urllib.parse import urlencode

import streamlit as st

from app.shared import session
from app.shared.cached_models import predict_once, predictor_of
from app.shared.components import part
from app.shared.errors import guarded
from app.shared.image_links import image_actions, query_of
from app.shared.panels import Picked, image_picker, trained_runs
from app.shared.run_session import page_of
from app.shared.wording import name_of_run
from app.views.home.flow import Answer, flow
from app.views.mosaic.strip import DEPTH, Chosen
from pmsi.pictures.encoding import jpeg
from pmsi.tables.matching import result_of

if TYPE_CHECKING:
    from pmsi.runs import Run

OWN_LINKS = "flow-links"
"""Key of the container of links that the picture's parts stand for."""
PHOTO, MOSAIC = 320, 224
"""Sides of the pictures, in pixels."""

INTRO = (
    "Fine-grained recognition tells apart species that differ in small parts. RMG-PMSI teaches a small network to see "
    "them: it trains its stages one after the other on mosaics of growing patches, and lets the stages tell each other "
    "what they found. Choose an image, and follow it."
)
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
        image_actions(picked)
    with st.container(key=OWN_LINKS):  # hidden: what a click on a part of the picture clicks
        for name, query in links(picked, answering_run(picked.label)).values():
            st.page_link(page_of(name), label=name, query_params=query)
    part("links")(key="links", data={"links": f".st-key-{OWN_LINKS}"})
    _flow(picked)


def _flow(picked: Picked) -> None:
    """Draw the picture at once; what a model says of the image is added when it is known."""
    from pmsi.pictures.mosaics import mosaics, square

    place = st.empty()
    seed = session.parsed(session.choice("seed"), Chosen.seed)
    cut = mosaics(square(picked.image, MOSAIC), DEPTH, seed=seed, borders=False)[::-1]
    photo, encoded = jpeg(square(picked.image, PHOTO)), [jpeg(mosaic, 82) for mosaic in cut]
    run = answering_run(picked.label)
    name = picked.title if picked.label else "Your image"
    if run is None:
        place.html(flow(name, photo, encoded, {}, WAITING, _addresses(picked, run)))
        return
    strange = picked.label is not None and picked.label not in (_classes(run) or [picked.label])
    note = f"What {name_of_run(run)} says of it" + (", which has never seen this class." if strange else ".")
    if not session.is_answered(run.id, picked.key):
        place.html(flow(name, photo, encoded, {}, note, _addresses(picked, run)))
    with guarded():
        answers = answers_of(run, picked)
        place.html(flow(name, photo, encoded, answers, note, _addresses(picked, run)))
        session.keep_answered(run.id, picked.key)


def answering_run(label: str | None = None) -> "Run | None":
    """Return the run that answers: the one chosen on another page, or else one that knows the class ``label``.

    Of several, or where none does, one with many heads comes before one with a single head, and a new one before an
    old one.
    """
    from pmsi.methods import METHODS

    runs = trained_runs()
    chosen = session.choice("run")
    heads = {run.id: len(METHODS[run.config.method].phases(run.config)) > 1 for run in runs}
    best = max(runs, key=lambda run: (label in _classes(run), heads[run.id]), default=None)
    return next((run for run in runs if run.id == chosen), best)


def _classes(run: "Run") -> list[str]:
    """Return the classes of a finished run; those of another are only in its model."""
    result = result_of(run) or {}
    return list(result.get("classes", ()))


def answers_of(run: "Run", picked: Picked) -> "dict[str, Answer]":
    """Return what each head of a run says of an image; right or wrong where its class is one that the run knows."""
    predictor = predictor_of(run)
    prediction = predict_once(run, predictor.prepare(picked.image), picked.key)
    known = picked.label in predictor.classes
    best = {head: guesses[0] for head, guesses in prediction.heads.items()}
    return {
        head: Answer(guess.name, guess.probability, guess.name == picked.label if known else None)
        for head, guess in best.items()
    }


def links(picked: Picked, run: "Run | None") -> "dict[str, tuple[str, dict[str, str]]]":
    """Return by part of the picture the page that it opens, and the query parameters, with the image in them."""
    image = query_of(picked)
    model = {"run": run.id} if run else {}
    return {
        "image": ("robustness", image | model),
        "mosaics": ("mosaic", image),
        "stages": ("maps", image | model),
        "interaction": ("train", {}),
        "heads": ("compare", {}),
    }


def _addresses(picked: Picked, run: "Run | None") -> dict[str, str]:
    """Return the same as addresses, relative to the first page's, for who opens one elsewhere."""
    return {part: f"{name}?{urlencode(query)}".rstrip("?") for part, (name, query) in links(picked, run).items()}


def _beginnings() -> None:
    """Show three ways to begin."""
    run = answering_run()
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
                    ("robustness", "Robustness", ":material/tune:"),
                ):
                    st.page_link(page_of(name), label=title, icon=icon, query_params={"run": run.id})
    with train, st.container(border=True, height="stretch"):
        st.markdown("**Train one**")
        st.markdown("On the built-in birds in minutes, or on your own images with the paper's recipe.")
        st.page_link(page_of("train"), label="Train", icon=":material/model_training:")
    with numbers, st.container(border=True, height="stretch"):
        st.markdown("**Read the numbers**")
        st.markdown("The paper's tables, filled from your runs and beside its printed values.")
        st.page_link(page_of("compare"), label="Compare", icon=":material/table_chart:")
