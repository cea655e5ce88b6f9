"""Can you beat the network? Name the class from an image's mosaics, against a run's heads on the same pictures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

import streamlit as st
from PIL.Image import Image

from app.shared import session
from app.shared.bar import bar
from app.shared.cached_data import boxed_once, clearest_once, data_of_run, sample_image, thumbnail_once
from app.shared.cached_models import predict_once, predictor_of
from app.shared.errors import guarded, plain
from app.shared.glossary import meaning
from app.shared.images import Figure, download, figure_grid, picture
from app.shared.palette import NEUTRAL, head_color
from app.shared.panels import no_runs_yet
from app.shared.wording import name_of_run
from app.views.game.rounds import DEPTHS, ROUNDS, Round, Said, draw_rounds, network_says, points, total, verdict
from pmsi.data.dataset import Dataset
from pmsi.pictures.card import score_card
from pmsi.pictures.encoding import jpeg, png
from pmsi.pictures.mosaics import mosaics
from pmsi.pictures.sheets import enlarged
from pmsi.runs import Run

YOU = "You"
STATE = "game-played"
"""The session's key of the game that is played."""
SIDE = 448
MOST_TAUGHT = 40
"""Classes that are shown before a game."""
INTRO = (
    "A picture is cut into a mosaic of small patches. Name what it shows. Then the patches grow: r = 3, 2, 1, and the "
    "whole picture. Each head of the network answers on the very same four pictures, and chooses from the same names. "
    "A right name on a picture is a point."
)


@dataclass
class Played:
    """A game: which one, whether it has begun, and what you have said of each picture of each round."""

    of: tuple[str, int]
    begun: bool = False
    said: list[list[str]] = field(default_factory=lambda: [[]])


@guarded()
def page() -> None:
    """Draw the page."""
    st.title("Can you beat the network?", anchor=False, help=meaning("mosaic", "r", "head"))
    run = bar(here="game", image=False, beside=False, output=False).run
    if run is None:
        no_runs_yet("Here you play against a trained network.")
        return
    game = max(1, session.parsed(session.choice("game"), 1))
    dataset = data_of_run(run).dataset
    rounds = draw_rounds(dataset, game)
    played = st.session_state.get(STATE)
    if played is None or played.of != (run.id, game):
        played = st.session_state[STATE] = Played((run.id, game))
    at = len(played.said) - 1
    if not played.begun:
        _lesson(dataset, played)
    elif at == ROUNDS:
        _end(run, dataset, rounds, played)
    elif len(played.said[at]) < len(DEPTHS):
        _picture(run, dataset, rounds[at], played)
    else:
        _reveal(run, dataset, rounds[at], played)


# The lesson


def _lesson(dataset: Dataset, played: Played) -> None:
    """Show what distinguishes the classes, and the button that begins."""
    left, right = st.columns([7, 2], gap="medium", vertical_alignment="center")
    left.markdown(INTRO)
    with right:
        st.button(
            "Begin", type="primary", icon=":material/play_arrow:", shortcut="Enter", on_click=_begin, args=(played,),
            width="stretch",
        )  # fmt: skip
    st.html(_species(dataset))
    if len(dataset.classes) > MOST_TAUGHT:
        st.caption(f"The first {MOST_TAUGHT} of {len(dataset.classes)} classes. The Data page has all.")


def _species(dataset: Dataset) -> str:
    """Return a figure for each class, with its distinctive parts in boxes where they are known."""
    figures = []
    for label, name in enumerate(dataset.classes[:MOST_TAUGHT]):
        sample = clearest_once(dataset, label)
        if sample is not None:
            known = dataset.distinctions.get(name)
            small = (boxed_once if known else thumbnail_once)(dataset, sample, 224)
            words = ", ".join(f"{part}: {form}" for part, form in known.parts.items()) if known else ""
            figures.append(Figure(small, name, name, words))
    return figure_grid(figures, "clamp(105px, 14%, 190px)")


def _begin(played: Played) -> None:
    played.begun = True


# A round


def _cut(run: Run, dataset: Dataset, one: Round) -> list[Image]:
    """Return the network's input for each picture of a round."""
    prepared = predictor_of(run).prepare(sample_image(dataset, one.sample))
    return mosaics(prepared, max(DEPTHS), seed=one.seed, borders=False)[::-1]


def _picture(run: Run, dataset: Dataset, one: Round, played: Played) -> None:
    """Show the next picture of a round with the names."""
    said, at = played.said[-1], len(played.said)
    left, right = st.columns([4, 5], gap="medium")
    r = DEPTHS[len(said)]
    with left:
        picture(jpeg(enlarged(_cut(run, dataset, one)[len(said)], SIDE)), alt=f"The image of round {at} at r = {r}")
    with right:
        st.markdown(f"**Round {at} of {ROUNDS}** · picture {len(said) + 1} of {len(DEPTHS)}, r = {r}. Which is it?")
        places = st.columns(2, gap="small", wrap=False)
        for number, name in enumerate(one.names, 1):
            before = ":material/check:" if said and said[-1] == name else None
            places[(number - 1) % 2].button(
                plain(name), key=f"name-{number}", shortcut=str(number), on_click=said.append, args=(name,),
                width="stretch", icon=before,
            )  # fmt: skip
        if said:
            st.caption(f":material/check: is what you said at r = {DEPTHS[len(said) - 1]}.")
        if dataset.distinctions:
            with st.popover("The classes", icon=":material/menu_book:"):
                st.html(_species(dataset))


def _said(run: Run, dataset: Dataset, one: Round, yours: list[str]) -> Said:
    """Return what you and each head said of the pictures of a round."""
    predictions = [predict_once(run, cut) for cut in _cut(run, dataset, one)]
    known = predictions[0].heads
    heads = dict.fromkeys([*(stage for stage in predictor_of(run).stages if stage in known), predictions[0].primary])
    return {YOU: tuple(yours), **network_says(predictions, list(heads), one.names)}


def _reveal(run: Run, dataset: Dataset, one: Round, played: Played) -> None:
    """Show what it was, and who said what."""
    said, at = _said(run, dataset, one, played.said[-1]), len(played.said)
    left, right = st.columns([4, 5], gap="medium")
    with left:
        picture(jpeg(enlarged(_cut(run, dataset, one)[-1], SIDE)), alt=one.truth)
    with right:
        st.markdown(f"**Round {at} of {ROUNDS}**: it is a **{plain(one.truth)}**.")
        if known := dataset.distinctions.get(one.truth):
            st.caption(plain(", ".join(f"{part}: {form}" for part, form in known.parts.items())))
        st.html(_table(said, one.truth))
        label = "Next round" if at < ROUNDS else "The score"
        st.button(
            label, type="primary", icon=":material/arrow_forward:", shortcut="Enter", on_click=played.said.append,
            args=([],),
        )  # fmt: skip
    of = len(dataset.classes)
    st.caption(
        f"{plain(name_of_run(run))} saw the same four pictures at {predictor_of(run).config.image_size} px. It knows "
        f"{of} classes; of the {len(one.names)} names here, each head says the one most probable to it."
    )


def _table(said: Said, truth: str) -> str:
    """Return who said what of which picture, as HTML."""
    head = "".join(f'<th scope="col">r = {r}</th>' for r in DEPTHS)
    scores, rows = points(said, truth), ""
    for player, names in said.items():
        cells = "".join(f"<td>{'✓' if name == truth else '✗'} {escape(name)}</td>" for name in names)
        mark = f'<i style="background:{_color(player)}"></i>'
        rows += f'<tr><th scope="row">{mark}{escape(player)}</th><td>{scores[player]}</td>{cells}</tr>'
    return (
        f'<div class="said"><table class="sided"><thead><tr><th></th><th scope="col">Points</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _color(player: str) -> str:
    return NEUTRAL if player == YOU else head_color(player)


# The end


def _end(run: Run, dataset: Dataset, rounds: tuple[Round, ...], played: Played) -> None:
    """Show the score as a card, which can be downloaded, and the way to another game."""
    each = [points(_said(run, dataset, one, yours), one.truth) for one, yours in zip(rounds, played.said, strict=False)]
    scores, game = total(each), played.of[1]
    card = png(_card(run, dataset, rounds, each, scores, game))
    left, right = st.columns([5, 3], gap="medium")
    with left:
        st.image(card, width="stretch", alt=f"The score: {', '.join(f'{who} {n}' for who, n in scores.items())}")
    with right:
        st.markdown(f"**{scores[YOU]} of {ROUNDS * len(DEPTHS)} points.** {verdict(scores, YOU)}")
        st.button(
            "Another game", type="primary", icon=":material/replay:", on_click=session.choose,
            args=("game", str(game + 1)),
        )  # fmt: skip
        download("The card", lambda: card, f"beat-the-network-{game}.png")
        st.caption("This page's address opens the same game for others: the same pictures, cut alike.")


def _card(
    run: Run, dataset: Dataset, rounds: tuple[Round, ...], each: list[dict[str, int]], scores: Mapping[str, int],
    game: int,
) -> Image:  # fmt: skip
    small = []
    for one, got in zip(rounds, each, strict=True):
        cut = _cut(run, dataset, one)[0]
        small.append((cut, f"{one.truth}\n{got[YOU]} of {len(DEPTHS)}"))
    words = f"Named from mosaics, r = 3 to 0 · game {game} · {name_of_run(run)}"
    colors = {player: _color(player) for player in scores}
    return score_card("Can you beat the network?", words, scores, ROUNDS * len(DEPTHS), colors, small)
