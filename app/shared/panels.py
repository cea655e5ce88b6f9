"""What pages are about: an image that was chosen, the runs, and the message where there is none."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import streamlit as st
from PIL import Image

from app.shared import session
from app.shared.cached_data import is_drawn, sample_image
from app.shared.cached_models import classes_of_run, has_model
from app.shared.errors import plain
from app.shared.palette import spread
from app.shared.wording import data_title, line_of_run, with_names
from pmsi.base.errors import RunError
from pmsi.config import Config, TrainConfig
from pmsi.data import PER_CLASS
from pmsi.data.dataset import Dataset, Sample
from pmsi.predictor import Prediction
from pmsi.runs import Run, default_root, known_runs, list_runs
from pmsi.runs.launchers import available
from pmsi.runs.record import comparable, differences_in, is_alike, why_not_comparable

# Pictures


@dataclass(frozen=True)
class Picked:
    """An image that was chosen. ``key`` is its identity for random draws; ``label`` its class, where that is known.

    ``dataset`` and ``sample`` are where it is from, None for an upload; ``place`` names that: "plumage", a folder, or
    "" where only the session or a run has it. ``query`` are the query parameters that open a page with it.
    """

    image: Image.Image
    key: str
    title: str
    label: str | None = None
    dataset: Dataset | None = None
    sample: Sample | None = None
    place: str = ""
    query: Mapping[str, str] = field(default_factory=lambda: {"source": "upload"})

    @classmethod
    def of(cls, dataset: Dataset, sample: Sample, title: str = "", place: str = "", **query: str) -> "Picked":
        """Return an image of a data set."""
        name = dataset.classes[sample.label]
        title = title or f"{name}, {PurePath(sample.key).stem}"
        query |= {"image": sample.key}
        return cls(sample_image(dataset, sample), sample.key, title, name, dataset, sample, place, query)


BUILT_IN = "plumage"
OF_RUN = "run"
"""The source of images that are a run's own and that no other source has."""


def own_source(run: Run) -> Run | None:
    """Return a training run whose images are not those of the source "sample", else None."""
    config = run.config
    more = max(config.train_per_class or 0, config.test_per_class or 0) > PER_CLASS
    return run if not is_drawn(config) or config.split_seed or more else None


# Runs


def runs_of(kind: type[Config]) -> Iterator[Run]:
    """Yield the runs of a kind, newest first; those that came with the program come last."""
    for run in known_runs(default_root()):
        with contextlib.suppress(RunError):
            if isinstance(run.config, kind):
                yield run


def trained_runs() -> list[Run]:
    """Return the training runs that have a checkpoint, newest first; those that came with the program come last."""
    return [run for run in runs_of(TrainConfig) if has_model(run)]


def default_run(runs: Sequence[Run], label: str | None) -> Run | None:
    """Return the run that answers for an image of a class: the one chosen, else the first that knows the class.

    Where the class is unknown, to all runs or altogether, it is the first one.
    """
    chosen = next((run for run in runs if run.id == session.choice("run")), None)
    knowing = (run for run in runs if label is not None and label in classes_of_run(run))
    return chosen or next(knowing, next(iter(runs), None))


def run_picker(runs: Sequence[Run], label: str = "Run", name: str = "run", **options: Any) -> Run | None:
    """Let the visitor choose one of ``runs``, at first the first."""
    by_id = {run.id: run for run in runs}
    titles = {run.id: line_of_run(run, st.context.timezone) for run in runs}
    wanted = session.choice(name)
    if wanted and wanted not in by_id:
        st.caption(f"Run {plain(wanted)} has no checkpoint here; another one is shown.")
    chosen = session.remember(st.selectbox, name, runs[0].id, label, titles, **options)
    session.keep(name, chosen)
    return by_id.get(chosen)


def beside_picker(run: Run, runs: Sequence[Run], label: str, name: str) -> Run | None:
    """Let the visitor choose a run to see beside ``run``, of those that can be compared, or one that a link names.

    What keeps the two from being compared is then said below the choice.
    """
    fitting = sorted(comparable(run, (one for one in runs if one != run)), key=lambda one: not is_alike(run, one))
    offered = {one.id: one for one in (*fitting, *(one for one in runs if one.id == session.choice(name)))}
    titles = {id: line_of_run(one, st.context.timezone) for id, one in offered.items()}
    chosen = session.remember(
        st.selectbox, name, "", label, ["", *titles], format_func=lambda id: titles.get(id, "No other run")
    )
    session.keep(name, chosen)
    other = offered.get(chosen)
    if other is not None:
        say_apart(run, other)
    return other


def any_run() -> bool:
    """Return whether the visitor insists on runs that cannot be compared."""
    return bool(st.session_state.get(session.key_of("any"), session.choice("any")))


def any_run_box() -> None:
    """Let the visitor insist on runs that cannot be compared."""
    help = "Other classes, other test images, or test images that one of the two was trained on."
    session.remember(st.checkbox, "any", False, "Also runs that cannot be compared", help=help)


def say_apart(run: Run, other: Run) -> None:
    """Say what keeps two training runs from being compared, if anything does."""

    if reasons := why_not_comparable(run, other):
        words = with_names(["These two cannot be compared.", *reasons], run, other)
        st.warning(plain(words), icon=":material/warning:")


def say_differences(result: Mapping[str, Any], *runs: Run) -> None:
    """Say how the data of a result differ from what the runs in it were trained on, if they do."""
    if found := differences_in(result):
        st.warning(plain(with_names(found, *runs)), icon=":material/warning:")


SUBJECTS = {"plumage": "invented birds"}
"""What the classes of a data set are, where its name does not say it."""


def unknown_class(run: Run, label: str | None, best: str) -> str:
    """Return in words that a run cannot know an image's class, with the nearest that it knows; "" where it may."""
    classes = classes_of_run(run)
    if label in classes:
        return ""
    kind = SUBJECTS.get(run.config.dataset) or f"classes of {data_title(run.config)}"
    return f"This network knows {len(classes)} {kind}{f', not {label}' if label else ''}; nearest: {best}."


def say_unfamiliar(prediction: Prediction) -> None:
    """Say that an image may be of none of the classes, where its score is below the run's threshold."""
    if prediction.familiarity is not None and prediction.familiarity.is_unknown:
        words = "Not one of its classes? 19 in 20 images of them look more familiar to this network."
        st.caption(f":material/help: {words}")


def run_colors(runs: Sequence[Run]) -> dict[str, str]:
    """Return the colour of each of ``runs`` by id: the same on every page, and different as long as ten suffice.

    A run's colour goes by its place among all runs, the oldest first, so that a new run changes none. Of two that
    meet, the later one takes the next that is free.
    """
    order = [run.id for run in reversed(known_runs(default_root()))]
    return spread({run.id: order.index(run.id) if run.id in order else len(order) for run in runs})


def no_runs_yet(what: str, title: str = "No trained model yet") -> None:
    """Say calmly that there is nothing to show yet, with the way to a trained model."""
    live = _training_run()
    with st.container(border=True, horizontal_alignment="center", gap="medium"):
        st.subheader(title, anchor=False, text_alignment="center")
        if live is not None:
            words = f"{what} One is being trained now, and can be used here after its first epoch."
            st.markdown(words, text_alignment="center")
            st.page_link(
                session.page_of("runs"), label="Watch it", icon=":material/monitoring:", query_params={"run": live.id}
            )
            return
        words = f"{what} The quick preset trains a model on the built-in birds in about three minutes."
        st.markdown(words, text_alignment="center")
        if st.button("Train a model", type="primary", icon=":material/model_training:"):
            st.switch_page(session.page_of("train"))


def _training_run() -> Run | None:
    """Return the training run that is worked on, or will be next."""
    for run in reversed(list_runs(default_root())):
        with contextlib.suppress(RunError):
            if run.state.is_live and isinstance(run.config, TrainConfig):
                return run
    return None


def launcher_choice(key: str) -> str:
    """Show the choice of a launcher, if there are several, and return its name."""
    rows = available()
    names = list(rows)
    if len(names) == 1:
        return names[0]
    chosen = st.selectbox(
        "Worked on by",
        names,
        format_func=lambda name: rows[name].title,
        help=" ".join(f"{row.title}: {row.help}" for row in rows.values()),
        key=f"{key}-launcher",
        persist_state="session",
        label_visibility="collapsed",
        width=180,
    )
    return str(chosen)
