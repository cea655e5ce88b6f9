"""The Stages page: the channels of S1…S5 over an image, what a cell can see, and the interaction switched off."""

import secrets
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.shared.bar import bar
from app.shared.components import part
from app.shared.errors import guarded
from app.shared.glossary import meaning
from app.shared.panels import Picked, no_runs_yet
from app.shared.session import choice, keep, key_of, moved, parsed, remember, switch
from app.views.stages.channel import channel
from app.views.stages.interaction import interaction
from app.views.stages.looks import Look, Shown, data_of, look
from pmsi.augment.mosaic import PERMUTATIONS
from pmsi.explain.cam import STAGE_INDEX
from pmsi.explain.stages import ORDERS
from pmsi.runs import Run

INTRO = (
    "A network has five stages. Each turns the image into a grid of cells, and writes many numbers into each cell: its "
    "channels. Above is the strongest channel of every stage, bright where it is large; lit is what the cell under the "
    "pointer can see of the image, its **receptive field**: little in S1, nearly all in S5."
)
SHOWN = {0: "Image", 1: "r = 1", 2: "r = 2", 3: "r = 3"}
FIRST = "S3"
LINK = key_of("stages")
PART = "stages"
CLOSER = {"channel": ("This channel", channel), "gates": ("The interaction", interaction)}


def page() -> None:
    """Draw the page."""
    st.title("What the stages see", anchor=False, help=meaning("stage", "channel", "receptive field", "r"))
    chosen = bar(here="stages")
    if chosen.run is None:
        no_runs_yet("The stages of a trained network are shown here.")
    elif chosen.picked is None:
        st.info("Choose an image to see what the stages make of it.", icon=":material/image:")
    else:
        stages(chosen.picked, chosen.runs, chosen.output)


@st.fragment
@guarded()
def stages(picked: Picked, runs: list[Run], output: str) -> None:
    """Draw the page's content for an image and one run or two; ``output`` is that of the evidence, "" the primary."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        help = "The image, or its mosaic of r recursions, with the layout of the Mosaic page."
        r = switch("cut", 0, "Shown to the network", SHOWN, width="content", help=help)
        with st.popover("More", icon=":material/tune:"):
            order = remember(
                st.selectbox,
                "order",
                "peak",
                "Strongest channels",
                {name: words.capitalize() for name, words in ORDERS.items()},
                help="By their largest value, by their mean, or by how much they add to the score of the output in "
                "the bar, for the class that it predicts: gradient × value, summed over the cells.",
            )
            strength = remember(
                st.slider, "overlay", 55, "Overlay", 0, 100, step=5, format="%d %%", help="0 shows the image alone."
            )
    looks = [look(run, picked, output, int(r), _layout()) for run in runs]
    _inside(looks, [picked.key, int(r)], Shown(picked.title, str(order), strength / 100))


def _layout() -> tuple[int, str]:
    """Return the seed and the permutation that the Mosaic page shows."""
    permutation = choice("permutation", "uniform")
    return max(0, parsed(choice("seed"), 3)), permutation if permutation in PERMUTATIONS else "uniform"


@dataclass(frozen=True)
class Chosen:
    """A stage, its channel of each run where one was picked, and a cell, where one was."""

    stage: str
    channels: tuple[int | None, ...]
    cell: tuple[int, int] | None = None


@st.fragment
@guarded()
def _inside(looks: list[Look], about: list[Any], shown: Shown) -> None:
    link = _link([*about, shown.order, *(one.run.id for one in looks)])
    said = st.session_state.get(PART, {}).get("chosen")
    chosen = allowed(said, looks, link) or _linked(looks)
    keep("channel", "" if written(chosen) == FIRST else written(chosen))
    data = data_of(looks, shown, chosen.stage, chosen.channels, link)
    part("stages")(key=PART, data=data, default={"chosen": None}, on_chosen_change=lambda: None)
    st.markdown(INTRO, width=820)
    closer = switch("closer", "channel", "Look closer", {name: row[0] for name, row in CLOSER.items()})
    strongest = [one.found.stages[chosen.stage].strongest(1, shown.order)[0] for one in looks]
    channels = [best if asked is None else asked for asked, best in zip(chosen.channels, strongest, strict=True)]
    CLOSER[closer][1](looks, chosen.stage, channels, cells_of(looks, chosen, channels[0]))


def cells_of(looks: list[Look], chosen: Chosen, channel: int) -> list[tuple[int, int]]:
    """Return each run's cell at the lit place: at first where the first run's channel is largest."""
    stages = [one.found.stages[chosen.stage] for one in looks]
    cell, shape = chosen.cell or stages[0].peak(channel), stages[0].values.shape[1:]
    places = [(index + 0.5) / count for index, count in zip(cell, shape, strict=True)]
    sides = [stage.values.shape[1:] for stage in stages]
    return [(int(places[0] * rows), int(places[1] * columns)) for rows, columns in sides]


def _link(about: list[Any]) -> str:
    """Return the name of what is shown, another one once a link was opened: the browser then starts anew."""
    known = st.session_state.get(LINK)
    if known is None or known[1] != about or moved("channel"):
        known = st.session_state[LINK] = (secrets.token_hex(4), about)
    return str(known[0])


def allowed(said: Any, looks: list[Look], link: str) -> Chosen | None:
    """Return what the browser says was chosen, or None where it is of another view or nothing that exists."""
    if not isinstance(said, dict) or said.get("link") != link:
        return None
    stage, channels, cell = (said.get(name) for name in ("stage", "channels", "cell"))
    if stage not in list(STAGE_INDEX) or not isinstance(channels, list) or len(channels) != len(looks):
        return None
    shapes = [one.found.stages[stage].values.shape for one in looks]
    whole = all(one is None or is_below(one, shape[0]) for one, shape in zip(channels, shapes, strict=True))
    inside = isinstance(cell, list) and len(cell) == 2 and all(map(is_below, cell, shapes[0][1:]))
    return Chosen(stage, tuple(channels), (cell[0], cell[1]) if inside else None) if whole else None


def is_below(value: Any, count: int) -> bool:
    """Return whether a value is a whole number from 0 to ``count`` − 1."""
    return isinstance(value, int) and 0 <= value < count


def _linked(looks: list[Look]) -> Chosen:
    """Return the stage and channel that the address names, such as "S4:17" or "S4"."""
    stage, _, number = choice("channel").partition(":")
    stage = stage if stage in STAGE_INDEX else FIRST
    there = number.isdecimal() and is_below(int(number[:6]), len(looks[0].found.stages[stage].values))
    return Chosen(stage, (int(number) if there else None, *[None] * (len(looks) - 1)))


def written(chosen: Chosen) -> str:
    """Return a stage, and the first run's channel where one was picked, as the address has them."""
    return chosen.stage + ("" if chosen.channels[0] is None else f":{chosen.channels[0]}")
