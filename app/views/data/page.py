"""The Data page: a data set's images and problems, a run's mistakes, and the import of pictures."""

from collections.abc import Callable
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.shared.browse import ARCHIVES
from app.shared.browse import browse as browse_folders
from app.shared.cached_data import data_of_run
from app.shared.errors import guarded, plain
from app.shared.fields import entries
from app.shared.session import choice, keep, key_of, moved, remember, switch
from app.shared.wording import line_of_run, name_of_run, with_names
from app.views.data.classes import class_cards
from app.views.data.details import show_open_image
from app.views.data.grid import browse
from app.views.data.import_form import import_form
from app.views.data.mistakes import mistakes
from app.views.data.sources import FIRST, TYPED, Source, TypedSource, offered, typed_source
from pmsi.config import TrainConfig
from pmsi.data import DATASETS, official_of, read_as
from pmsi.data.completeness import completeness
from pmsi.data.dataset import Dataset, Sample
from pmsi.data.duplicates import Duplicates, find_duplicates
from pmsi.data.record import DataRecord
from pmsi.runs import Run
from pmsi.runs.record import data_of

MOST_SHOWN = 500
"""Pairs of duplicates in the table."""
WIDEST = 420
"""Width of the choice of a run in pixels."""

VIEWS = {"classes": "Classes", "images": "Images", "mistakes": "Mistakes", "left": "Left out", "import": "Import"}
OF_IMAGES = ("split", "only", "answer", "page")
"""Names in a URL that are about the images: it opens these where it does not say what to show."""


def page() -> None:
    """Draw the page."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.title("Data", anchor=False, width="content")
        source = _source(offered())
        run = _run(source)
    usual = "images" if any(map(st.query_params.get, OF_IMAGES)) else "classes"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        view = switch("show", usual, "Show", VIEWS)
        more = st.popover("More", icon=":material/more_horiz:")
        said = st.container()
    reading = _reading(more) if source is None or isinstance(source, TypedSource) else {}
    if isinstance(source, TypedSource) and any(reading.values()):
        source = typed_source(source.config.data or "", **reading)
    if view == "import":
        import_form()
    elif source is not None:
        with guarded():
            _look(source, run, view, said, more)


def _reading(place: DeltaGenerator) -> dict[str, str | None]:
    """Ask for what the files of a typed folder do not say themselves; few need it."""
    asked = {"name_encoding": "as the files say", "label_column": "by its name, in a list of images"}
    labels = {name: entry.label for name, entry in entries(TrainConfig).items()}
    return {
        name: remember(place.text_input, name, "", labels[name], placeholder=usual) or None
        for name, usual in asked.items()
    }


def _source(sources: dict[str, Source]) -> Source | None:
    """Let the visitor choose a data set; None while a folder is asked for and none is typed."""
    titles = {name: source.title for name, source in sources.items()} | {TYPED: "A folder …"}
    if moved("set") and choice("set") not in titles:
        st.caption("The data set that the link names is not here any more; another one is shown.")
    name = remember(st.selectbox, "set", FIRST, "Data set", titles, label_visibility="collapsed", width=250)
    if name != TYPED:
        return sources[name]
    help = (
        "A folder on the machine that runs the app: CUB-200-2011, Stanford Cars, FGVC-Aircraft, one folder of images "
        "for each class, or a zip of such folders."
    )
    browse_folders(key_of("data"), ARCHIVES)
    typed = remember(
        st.text_input, "data", "", "Folder", placeholder="/data/CUB_200_2011", help=help, label_visibility="collapsed",
        width=300,
    )  # fmt: skip
    return typed_source(typed) if typed else None


def _run(source: Source | None) -> Run | None:
    """Let the visitor choose whose answers are shown beside the images."""
    runs = {run.id: run for run in source.runs} if source else {}
    titles = {id: line_of_run(run, st.context.timezone) for id, run in runs.items()} | {"": "No run"}
    if not runs:
        return None
    default = next(iter(runs))
    chosen = remember(
        st.selectbox, "run", default, "Answers of", [*runs, ""], format_func=lambda id: titles.get(id, "No run"),
        label_visibility="collapsed", width=WIDEST,
    )  # fmt: skip
    keep("run", chosen)
    return runs.get(chosen)


def _look(source: Source, run: Run | None, view: str, said: DeltaGenerator, more: DeltaGenerator) -> None:
    dataset = source.open(run)
    with said:
        _facts(dataset)
    with more:
        _read(source, dataset)
        if run is not None:
            _of_run(run)
    if run is not None and (changed := data_of_run(run).reasons):
        st.caption(plain(with_names(changed, run)))
    shown = SHOWN[view](dataset, run)
    show_open_image(source, dataset, run, shown)


def _facts(dataset: Dataset) -> None:
    """Say in one line how much there is."""
    words = (
        f"**{len(dataset.classes):,}** classes · **{len(dataset.train):,}** training images · "
        f"**{len(dataset.test):,}** test images"
    )
    left = len(dataset.problems)
    st.markdown(words + (f" · **{left:,}** left out" if left else ""))


def _read(source: Source, dataset: Dataset) -> None:
    """Say how the data set was read, and whether a published one is whole."""
    st.caption(plain(" ".join([f"Read as: {read_as(dataset)}.", *dataset.notes])))
    if official := official_of(DATASETS[source.config.dataset], dataset):
        st.caption(plain(completeness(dataset, official)))


def _of_run(run: Run) -> None:
    """Say how many images a run used."""
    _, train, test = data_of(run)
    if train and test:
        st.caption(f"{plain(name_of_run(run))} used {train:,} training and {test:,} test images.")


def _left_out(dataset: Dataset, run: Run | None) -> list[Sample]:
    """Show the images that cannot be used, and why."""
    if not dataset.problems:
        st.info("Every image can be read: none was left out.", icon=":material/check_circle:")
    else:
        st.caption("Each image was opened once. These could not be used, and runs go without them.")
        _table(
            {
                "Image": [problem.key for problem in dataset.problems],
                "Why it was left out": [problem.reason for problem in dataset.problems],
            }
        )
    if dataset.passed_over:
        st.caption("Other files were passed over.")
        _table({"Files": list(dataset.passed_over.values()), "What they are": list(dataset.passed_over)})
    _duplicates(dataset)
    return []


SHOWN: dict[str, Callable[[Dataset, Run | None], list[Sample]]] = {
    "classes": class_cards, "images": browse, "mistakes": mistakes, "left": _left_out,
}  # fmt: skip
"""What draws each of `VIEWS`; it returns the images that are looked through, one after the other, in a dialog."""


@st.cache_resource(show_spinner="Comparing the images…", max_entries=8)
def _duplicates_of(_dataset: Dataset, digest: str) -> Duplicates:
    return find_duplicates(_dataset)


def _duplicates(dataset: Dataset) -> None:
    """Show the images that are the same picture, across splits and classes."""
    found = _duplicates_of(dataset, DataRecord.of(dataset).digest)
    st.caption(found.words or "No picture is in both splits, or in two classes.")
    if not found.pairs:
        return
    shown = found.pairs[:MOST_SHOWN]
    if len(found.pairs) > len(shown):
        st.caption(f"The first {len(shown):,} pairs; `pmsi data check --json` lists all.")
    _table(
        {
            "Picture": [pair.a.words for pair in shown],
            "The same picture": [pair.b.words for pair in shown],
            "Pixels": ["equal" if pair.exact else "nearly equal" for pair in shown],
        }
    )


def _table(rows: dict[str, list[Any]]) -> None:
    columns = {name: st.column_config.Column(name) for name in rows}
    st.dataframe(rows, hide_index=True, width="stretch", column_config=columns)
