"""What is counted, timed and tabulated; parts of pages; batches as the network sees them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from streamlit.components.v2.types import ComponentRenderer

    from app.comparing import Protocol
    from app.mosaic_training import SeenPhase
    from app.training_batch import PhaseShown
    from pmsi.config import TrainConfig
    from pmsi.costs import Costs
    from pmsi.data.dataset import Dataset
    from pmsi.tables import Filled, Sets, Table


@st.cache_resource(show_spinner=False, max_entries=64)
def receptive_fields(backbone: str, stem_stride: int) -> tuple[int | None, ...]:
    """Return the receptive fields of S1…S5 of a backbone, in pixels; None where one is unknown."""
    from pmsi.model.backbone import receptive_fields_of

    return receptive_fields_of(backbone, stem_stride)


@st.cache_data(show_spinner=False, max_entries=512)
def _costs(fields: dict[str, Any], classes: int) -> "Costs":
    from pmsi.config import TrainConfig
    from pmsi.costs import costs_of

    return costs_of(TrainConfig(**fields), classes)


def costs_once(config: "TrainConfig", classes: int) -> "Costs":
    """Return what a config's system costs, counted once for all configs that differ in nothing that costs."""
    from pmsi.costs import FIELDS

    return _costs({name: getattr(config, name) for name in FIELDS}, classes)


@st.cache_data(show_spinner=False, max_entries=64)
def _protocols(number: str, root: str, ids: list[str]) -> "dict[str, Protocol]":
    from app.comparing import offered

    return offered(Path(root), number)


def protocols_once(number: str) -> "dict[str, Protocol]":
    """Return what can be shown of a table, looked for once as long as no run is added or removed."""
    from pmsi.runs import default_root, known_runs

    root = default_root().absolute()
    return _protocols(number, str(root), [run.id for run in known_runs(root)])


@st.cache_data(show_spinner="Counting images…", max_entries=16, ttl=600)
def _counts(_table: "Table", sets: "Sets") -> "Filled":
    from pmsi.runs import default_root
    from pmsi.tables import fill

    return fill(_table, default_root())


def counts_once(table: "Table") -> "Filled":
    """Return Table I: its data sets are opened and counted once in ten minutes."""
    return _counts(table, dict(table.sets))


@st.cache_data(show_spinner=False, max_entries=256, ttl=3600)
def tried_once(words: list[str]) -> float:
    """Return about how many seconds the runs of a command take, tried once in an hour for all visitors."""
    from app.trials import seconds_of

    return seconds_of(words)


@st.cache_data(show_spinner="Reading the first batch…", max_entries=16, ttl=600)
def _first_batch(fields: dict[str, Any], most: int, side: int) -> "list[PhaseShown]":
    from app.training_batch import encoded
    from pmsi.config import TrainConfig

    return encoded(TrainConfig(**fields), most, side)


def first_batch_once(config: "TrainConfig", most: int, side: int) -> "list[PhaseShown]":
    """Return what the first batch shows in each phase, read once for all configs that show the same."""
    from pmsi.shown import FIELDS

    return _first_batch({name: getattr(config, name) for name in FIELDS}, most, side)


SHARED = {"strip": ("tiles",), "steps": ("tiles",)}
"""By part, the scripts that it shares with others: they come before its own."""


@st.cache_resource(show_spinner=False)
def part(name: str) -> "ComponentRenderer":
    """Return a part of a page that works in the browser without the server; its files are ``app/parts/NAME.*``."""
    place = Path(__file__).parents[1] / "parts"
    texts = {kind: path.read_text() for kind in ("html", "css", "js") if (path := place / f"{name}.{kind}").exists()}
    shared = [(place / f"{script}.js").read_text() for script in SHARED.get(name, ())]
    return st.components.v2.component(f"pmsi_{name}", **texts | {"js": "".join([*shared, texts["js"]])})


@st.cache_data(show_spinner=False)
def layouts_once(seeds: int, r: int, permutation: str) -> list[list[int]]:
    """Return the layout of each seed below ``seeds`` as the browser draws it; see `app.mosaic_strip.numbers`."""
    from app.mosaic_strip import numbers

    return [numbers(r, seed, permutation) for seed in range(seeds)]


@st.cache_data(show_spinner="Making the batch…", max_entries=12)
def batch_once(fields: dict[str, Any], _dataset: "Dataset", epoch: int, batch: int) -> "list[SeenPhase]":
    """Return a batch of a run of the config ``fields``, phase by phase, made once for all visitors."""
    from app.mosaic_training import seen

    return seen(fields, _dataset, epoch, batch)
