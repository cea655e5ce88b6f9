"""The strip of G(x, r) for r = 0…3, which the browser draws from one picture and the layouts of all seeds.

A choice in the strip is drawn at once, and sent to the server when the slider rests.
"""

import secrets
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import streamlit as st
from PIL.Image import Image

from app.shared.components import part
from app.shared.glossary import meaning
from app.shared.memory import once
from app.shared.session import choice, keep, key_of, moved, parsed, written
from pmsi.augment.mosaic import PERMUTATIONS as ORDERS
from pmsi.data.images import pixels_digest
from pmsi.pictures.encoding import data_uri, jpeg
from pmsi.pictures.mosaics import COLORS, layouts, square

SIDE = 448
"""Side of the pictures, in pixels: three recursions divide it."""
DEPTH = 3
FRACTIONS = ("1", "½", "¼", "⅛")
"""Side of the smallest patch after r recursions, of the image's."""
SEEDS = 1000
PERMUTATIONS = {"uniform": "Any order", "cycle": "4-cycle"}
LINK = key_of("strip")

HELP = (
    "Any of the 24 orders with equal chance (the paper), or one of the six in which no patch stays and all four move "
    "in one cycle."
)
LEGEND = "The framed block is the one that the next recursion cuts."


@dataclass(frozen=True)
class Chosen:
    """A layout and how it is drawn. The defaults are what a visitor sees first."""

    seed: int = 3
    """The first one is a layout in which the blocks that are picked show the bird."""
    permutation: str = "uniform"
    borders: bool = True


@dataclass(frozen=True)
class Strip:
    """What the browser is given: the picture, what it shows, and how it is drawn at first.

    ``link`` names the visit for which ``start`` holds: a strip that knows another one starts there.
    """

    picture: str
    title: str
    link: str
    start: Chosen


def opened(picture: str, title: str) -> Strip:
    """Return the strip of a picture, an address of JPEG, as the session or a link has it."""
    names = asdict(Chosen())
    if LINK not in st.session_state or any(moved(name) for name in names):
        st.session_state[LINK] = secrets.token_hex(4)
    start = allowed({name: parsed(choice(name), default) for name, default in names.items()})
    return Strip(picture, title, st.session_state[LINK], start or Chosen())


def allowed(values: Any) -> Chosen | None:
    """Return what a browser or an address says, or None where it is nothing that can be drawn."""
    if not isinstance(values, dict):
        return None
    seed, permutation, borders = (values.get(name) for name in asdict(Chosen()))
    fits = isinstance(seed, int) and 0 <= seed < SEEDS and permutation in PERMUTATIONS and isinstance(borders, bool)
    return Chosen(seed, permutation, borders) if fits else None


def strip(shown: Strip) -> Chosen:
    """Show the strip; return what is chosen, and keep it for other pages and in the address."""
    found = part("strip")(key="strip", data=data_of(shown), default={"chosen": None}, on_chosen_change=lambda: None)
    said = found.get("chosen")
    current = allowed(said) if said and said.get("link") == shown.link else None
    chosen = current or shown.start
    for (name, value), default in zip(asdict(chosen).items(), asdict(Chosen()).values(), strict=True):
        keep(name, "" if value == default else written(value))
    return chosen


def data_of(shown: Strip) -> dict[str, Any]:
    """Return what the part in the browser needs; the same for every choice, so that it is sent once."""
    return {
        "image": shown.picture,
        "title": shown.title,
        "link": shown.link,
        "start": asdict(shown.start),
        "orders": {name: ORDERS[name] for name in PERMUTATIONS},
        "layouts": {name: layouts_once(SEEDS, DEPTH, name) for name in PERMUTATIONS},
        "permutations": PERMUTATIONS,
        "help": HELP,
        "captions": [caption(r) for r in range(DEPTH + 1)],
        "colors": COLORS[:DEPTH],
        "legend": LEGEND,
        "meaning": meaning("r"),
    }


def numbers(r: int, seed: int, permutation: str) -> list[int]:
    """Return a layout of `pmsi.pictures.mosaics` as one number for each recursion: 4 × its order's place + its pick."""
    deepest = layouts(r, seed=seed, permutation=permutation)[-1]
    places = map(partial(tuple.index, ORDERS[permutation]), map(tuple, deepest.orders[0].tolist()))
    return [4 * place + pick for place, pick in zip(places, deepest.picks[0].tolist(), strict=True)]


def caption(r: int) -> tuple[str, str]:
    """Return the name and the words below the picture of r recursions."""
    return f"r = {r}", " · the image" if r == 0 else f" · smallest patch {FRACTIONS[r]}"


@st.cache_data(show_spinner=False)
def layouts_once(seeds: int, r: int, permutation: str) -> list[list[int]]:
    """Return the layout of each seed below ``seeds`` as the browser draws it; see `app.views.mosaic.strip.numbers`."""
    return [numbers(r, seed, permutation) for seed in range(seeds)]


def squared_once(image: Image) -> tuple[Image, str]:
    """Return the square of an image that is cut, and its address as JPEG, made once for all visitors."""

    def cut() -> tuple[Image, str]:
        made = square(image, SIDE)
        return made, data_uri(jpeg(made))

    return once(("square", pixels_digest(image)), cut, line=None)
