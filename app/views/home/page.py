"""The Start page: what one network makes of the visitor's image, from its mosaics to its answer, in one scroll."""

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from app import phone
from app.shared import session
from app.shared.bar import bar
from app.shared.cached_data import data_of_run
from app.shared.cached_models import model_of, predict_once, predictor_of
from app.shared.charts import answers_html, mark
from app.shared.errors import guarded, plain
from app.shared.gates import heard
from app.shared.glossary import meaning
from app.shared.images import Figure, figure_grid, picture
from app.shared.memory import once
from app.shared.panels import OF_RUN, Picked, own_source, say_unfamiliar, unknown_class
from app.shared.session import page_of
from app.shared.wording import name_of_run
from app.views.home.story import (
    DEPTH,
    Story,
    cut_figures,
    cut_pictures,
    stage_figures,
    story_of,
    strips_html,
)
from app.views.mosaic.strip import Chosen
from pmsi.augment import AUGMENTATIONS
from pmsi.base.text import plural
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.images import pixels_digest
from pmsi.methods import resolve
from pmsi.pictures.encoding import jpeg
from pmsi.pictures.mosaics import square
from pmsi.predictor import Prediction
from pmsi.runs import Run
from pmsi.runs.mistakes import Predictions, has_predictions, read_predictions, rescued, shown_in

PHOTO = 448
"""Side of the first picture in pixels."""
INTRO = (
    "Species can differ in a bill, an eye ring, a wing bar. RMG-PMSI teaches a small network to see such parts: it "
    "trains its stages one after the other on mosaics of growing patches, and puts gates between the stages by which "
    "they can tell each other what they found. Below is what a trained network makes of this picture."
)
MOSAIC_WORDS = (
    "In training a batch is shown four times, from patches down to an eighth of its side up to the whole image. Small "
    "patches leave only small parts to learn from. Below each stands what **its** head answers on this very mosaic."
)
PLAIN_WORDS = (
    "RMG-PMSI is trained on such mosaics, each size of patches for one of its heads. This network was trained without "
    "them; below each stands what it answers on the mosaic."
)
CUT = ("mosaic", "r", "phase")
"""Words of which the mosaics need the meaning."""
FOUR, FIVE = "clamp(150px, 22%, 230px)", "clamp(105px, 18%, 190px)"
"""Widths of figures of which so many fit beside each other on a wide page."""


@guarded()
def page() -> None:
    """Draw the page."""
    st.title("How a small network learns small differences", anchor=False)
    chosen = bar(here="home", beside=False, output=False)
    picked, run = chosen.picked, chosen.run
    if picked is None:
        st.info("Choose an image, and it goes through the method here.", icon=":material/image:")
        return
    beginning = _beginning(picked, run)
    seed = session.parsed(session.choice("seed"), Chosen.seed)
    if run is None:
        _untrained(picked, seed)
        return
    with guarded():
        predictor = predictor_of(run)
        prepared = predictor.prepare(picked.image)
        prediction = predict_once(run, prepared)
        strange = unknown_class(run, picked.label, prediction.best.name)
        truth = None if strange else picked.label
        with beginning:
            _answer(run, prediction, truth, strange)
        key = ("story", model_of(run), pixels_digest(prepared), seed)
        place = _steps(picked, run, once(key, lambda: story_of(predictor, prepared, seed)), truth)
        _answers(run, prediction, truth)
        _rescue(run)
        if place is not None and (words := heard(run)):  # last, as it looks at many images
            place.markdown(f"**What the gates do in this network.** {words}")
    _goodbye(run)


def _beginning(picked: Picked, run: Run | None) -> "st.delta_generator.DeltaGenerator":
    """Show the picture, the first words and the one button; return where the answer goes."""
    left, right = st.columns([3, 8], gap="medium")
    with left:
        picture(jpeg(square(picked.image, PHOTO)), alt=picked.title if picked.label else "Your image")
    with right:
        st.markdown(INTRO)
        place = st.container()
        if st.button("Train your own network", type="primary", icon=":material/model_training:"):
            st.switch_page(page_of("train"))
    return place


def _answer(run: Run, prediction: Prediction, truth: str | None, strange: str) -> None:
    best = prediction.best
    said = f"**{plain(best.name)}**{mark(best.name, truth)}, {best.probability:.0%}"
    st.markdown(f"**{plain(name_of_run(run))}** says: {said}.")
    if strange:
        st.caption(plain(strange))
    say_unfamiliar(prediction)


@contextmanager
def _step(
    number: int, title: str, words: str, link: tuple[str, str], query: dict[str, str], means: tuple[str, ...]
) -> Iterator[None]:
    """Draw a step: words and a link at the left, what is drawn inside at the right, or below on a phone."""
    st.divider()
    left, right = st.columns([3, 8], gap="medium")
    with left:
        st.subheader(f"{number} · {title}", anchor=False, help=meaning(*means))
        st.markdown(words)
        page, label = link
        st.page_link(page_of(page), label=label, icon=":material/arrow_forward:", query_params=query)
    with right:
        yield


def _untrained(picked: Picked, seed: int) -> None:
    """Show the mosaics, which need no network, and say what a trained one would add."""
    words = "RMG-PMSI shows a network each batch four times, from small patches up to the whole image."
    with _step(1, "Cut into mosaics", words, ("mosaic", "See the recursion"), dict(picked.query), CUT):
        cuts = zip(range(DEPTH, -1, -1), cut_pictures(square(picked.image, PHOTO), seed), strict=True)
        st.html(figure_grid([Figure(cut, f"r = {r}", f"r = {r}") for r, cut in cuts], FOUR))
    st.info(
        "Once a model is trained, this page shows its stages, its gates and its answers, for your picture. The quick "
        "look takes about three minutes.",
        icon=":material/model_training:",
    )


def _steps(picked: Picked, run: Run, story: Story, truth: str | None) -> "st.delta_generator.DeltaGenerator | None":
    """Show the picture's way through the network; return where there is room for what its gates do, if it has some."""
    query = {**picked.query, "run": run.id}
    words = MOSAIC_WORDS if resolve(run.config).augmentation is AUGMENTATIONS["rmg"] else PLAIN_WORDS
    with _step(1, "Cut into mosaics", words, ("mosaic", "See the recursion"), dict(picked.query), CUT):
        st.html(figure_grid(cut_figures(story, truth), FOUR))
    words = (
        "Five stages look at the picture, each more coarsely than the one before. Of each, you see the channel that "
        "adds most to the answer: bright places are where it is strong."
    )
    with _step(2, "Seen by five stages", words, ("stages", "Look closer"), query, ("stage", "channel")):
        st.html(figure_grid(stage_figures(story), FIVE))
    if not story.strips:
        return None
    words = (
        "The method's idea: the last three stages are mixed into one vector xₘ. It opens or closes a gate for each "
        "channel of each of them: bright is open, dark is closed. So a stage can hear what the others found."
    )
    query |= {"closer": "gates"}
    with _step(3, "Gates between the stages", words, ("stages", "Switch it off"), query, ("interaction", "gate")):
        st.html(strips_html(story))
        return st.empty()


def _answers(run: Run, prediction: Prediction, truth: str | None) -> None:
    words = (
        "Each of the last three stages has a head of its own, and **concat** is one on all of them together. The mix "
        "is the mean of these four."
    )
    if len(prediction.heads) == 1:
        words = "This network has one head, on its last stage."
    with _step(4, "Every head answers", words, ("tables", "Read the numbers"), {}, ("head",)):
        answers = {head: (guesses[0].name, guesses[0].probability) for head, guesses in prediction.heads.items()}
        st.html(answers_html(answers, truth, f"Answers of {name_of_run(run)}"))


def _rescue(run: Run) -> None:
    """Show a test image that the first head gets wrong and the primary one right, as the run has recorded it."""
    if not has_predictions(run):
        return
    answers = read_predictions(run)
    found, here = rescued(answers, answers.primary), shown_in(run, answers, data_of_run(run).dataset)
    best = next((image for image in found if image.key in here), None)
    if best is None:
        return
    dataset, sample, at = data_of_run(run).dataset, here[best.key], answers.keys.index(best.key)
    picked = _of_run(run, dataset, sample)
    with _step(
        5, "Where the mix is worth it", _rescue_words(answers, len(found)), ("maps", "See where the stages looked"),
        {**picked.query, "run": run.id}, ("map", "✗"),
    ):  # fmt: skip
        left, right = st.columns([3, 5], gap="medium")
        with left:
            picture(jpeg(square(picked.image, PHOTO)), alt=f"{picked.title}, which the first head takes for another")
        with right:
            truth = answers.classes[best.label]
            st.markdown(f"**{plain(truth)}**, a test image")
            given = {head: (answers.classes[labels[at]], None) for head, labels in answers.predicted.items()}
            st.html(answers_html(given, truth, f"Recorded answers of {name_of_run(run)}"))


def _rescue_words(answers: Predictions, saved: int) -> str:
    """Return how often the first head is wrong, and what the primary one makes of that."""
    first = next(iter(answers.predicted))
    pairs = list(zip(answers.labels, answers.predicted[first], answers.predicted[answers.primary], strict=True))
    wrong = sum(one != truth for truth, one, _ in pairs)
    lost = sum(one == truth != both for truth, one, both in pairs)
    return (
        f"Of {plural(len(pairs), 'test image')}, {plain(first)} gets **{wrong}** wrong; {plain(answers.primary)} "
        f"gets **{saved}** of these right, and **{lost}** wrong that {plain(first)} had right. Here is the one on "
        f"which {plain(first)} was furthest off."
    )


def _of_run(run: Run, dataset: Dataset, sample: Sample) -> Picked:
    own = {"source": OF_RUN, "run": run.id} if own_source(run) else {"source": "sample"}
    return Picked.of(dataset, sample, **own)


def _goodbye(run: Run) -> None:
    """Lead on."""
    st.divider()
    with st.container(horizontal=True, gap="medium"):
        for name, label, icon, query in (
            ("game", "Can you beat the network?", ":material/extension:", {"run": run.id}),
            ("perturb", "Does its answer survive a change of light?", ":material/tune:", {"run": run.id}),
            ("data", "What makes the classes different?", ":material/photo_library:", {}),
            ("tables", "The paper's tables, from your runs", ":material/table_chart:", {}),
        ):
            st.page_link(page_of(name), label=label, icon=icon, query_params=query)
        label = "Try it with your own photos, here or on a phone"
        st.link_button(label, phone.address_of(run), icon=":material/smartphone:", type="tertiary")
