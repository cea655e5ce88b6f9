"""What outlives one run of a page: resources shared by all visitors, and the choices of one visitor.

The only file with ``st.cache_*``, and the one that names the session's keys. A choice that matters is kept twice: in
the session, for the way from page to page, and in the URL, for reloads and links. The URL wins where they differ.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st
from PIL import Image

if TYPE_CHECKING:
    from app.comparing import Protocol
    from pmsi.config import TrainConfig
    from pmsi.costs import Costs
    from pmsi.data.dataset import Dataset
    from pmsi.predictor import Explanation, Prediction, Predictor
    from pmsi.runs import Run
    from pmsi.tables import Filled, Sets, Table

KEPT = "kept"
UPLOAD = "upload"
ESTIMATE = "estimate"
PAGE = "page"
OWN = ("kept-", "picker-")
"""How the keys of widgets begin whose values are kept here."""


# Resources


@st.cache_resource(show_spinner=False)
def open_builtin() -> "Dataset":
    """Return the built-in data set."""
    from pmsi.config import TrainConfig
    from pmsi.data import open_dataset

    return open_dataset(TrainConfig(dataset="plumage"))


@st.cache_resource(show_spinner="Reading the folder…", max_entries=8, ttl=600)
def open_folder(folder: str) -> "Dataset":
    """Return the data set in a folder: CUB-200-2011's layout where its list of images is there, else class folders."""
    from pmsi.config import TrainConfig
    from pmsi.data import open_dataset

    name = "cub" if (Path(folder) / "images.txt").exists() else "folder"
    return open_dataset(TrainConfig(dataset=name, data=folder))


@st.cache_resource(show_spinner=False, max_entries=64)
def sample_image(_dataset: "Dataset", place: str, key: str) -> Image.Image:
    """Return the image of a sample; ``place`` tells data sets apart. Not to be changed by anybody."""
    return _dataset.open_image(_dataset.find(key))


@st.cache_resource(show_spinner=False, max_entries=64)
def receptive_fields(backbone: str) -> tuple[int | None, ...]:
    """Return the receptive fields of S1…S5 of a backbone, in pixels; None where one is unknown."""
    import torch

    from pmsi.model.backbone import find_backbone

    row = find_backbone(backbone)
    with torch.device("meta"):  # sizes are all that matters, and a typed network may be large
        return row.make(None).receptive_fields()


@st.cache_data(show_spinner=False, max_entries=512)
def _costs(fields: dict[str, Any], classes: int) -> "Costs":
    from pmsi.config import TrainConfig
    from pmsi.costs import costs_of

    return costs_of(TrainConfig(**fields), classes)


def costs_once(config: "TrainConfig", classes: int) -> "Costs":
    """Return what a config's system costs, counted once for all configs that differ in nothing that costs."""
    from pmsi.costs import FIELDS

    return _costs({name: getattr(config, name) for name in FIELDS}, classes)


@st.cache_resource(show_spinner="Loading the model…", max_entries=6)
def _predictor(folder: str, stamp: int) -> "Predictor":
    from pmsi.predictor import Predictor
    from pmsi.runs import Run

    return Predictor.load(Run(Path(folder)))


def stamp_of(run: "Run") -> int:
    """Return a number that changes with the run's checkpoint; 0 while there is none."""
    from pmsi.checkpoints import CHECKPOINT

    try:
        return (run.folder / "checkpoints" / CHECKPOINT).stat().st_mtime_ns
    except OSError:
        return 0


def predictor_of(run: "Run") -> "Predictor":
    """Return the predictor of a run's newest checkpoint, loaded once for all visitors."""
    return _predictor(str(run.folder), stamp_of(run))


@st.cache_data(show_spinner=False, max_entries=512)
def _predict(_predictor: "Predictor", _prepared: Image.Image, model: tuple[str, int], picture: str) -> "Prediction":
    return _predictor.predict(_prepared, top=len(_predictor.classes))


def predict_once(run: "Run", prepared: Image.Image, picture: str) -> "Prediction":
    """Return the run's prediction for a picture that ``picture`` names, computed once for all visitors."""
    return _predict(predictor_of(run), prepared, (str(run.folder), stamp_of(run)), picture)


@st.cache_data(show_spinner=False, max_entries=256)
def _explain(
    _predictor: "Predictor",
    _prepared: Image.Image,
    model: tuple[str, int],
    picture: str,
    head: str,
    label: int | None,
) -> "Explanation":
    return _predictor.explain(_prepared, head=head, label=label)


def explain_once(run: "Run", prepared: Image.Image, picture: str, head: str, label: int | None) -> "Explanation":
    """Return the run's maps for a picture that ``picture`` names, computed once for all visitors."""
    model = (str(run.folder), stamp_of(run))
    return _explain(predictor_of(run), prepared, model, picture, head, label)


@st.cache_data(show_spinner=False, max_entries=64)
def _protocols(number: str, root: str, ids: list[str]) -> "dict[str, Protocol]":
    from app.comparing import offered

    return offered(Path(root), number)


def protocols_once(number: str) -> "dict[str, Protocol]":
    """Return what can be shown of a table, looked for once as long as no run is added or removed."""
    from pmsi.runs import default_root, list_runs

    root = default_root().absolute()
    return _protocols(number, str(root), [run.id for run in list_runs(root)])


@st.cache_data(show_spinner="Counting images…", max_entries=16, ttl=600)
def _counts(_table: "Table", sets: "Sets") -> "Filled":
    from pmsi.runs import default_root
    from pmsi.tables import fill

    return fill(_table, default_root())


def counts_once(table: "Table") -> "Filled":
    """Return Table I: its data sets are opened and counted once in ten minutes."""
    return _counts(table, dict(table.sets))


# Choices of one visitor


def enter(page: str) -> None:
    """Note which page is shown; on the way to another, forget widgets, so that all of them follow the kept choices.

    Streamlit knows a widget of the page before by its key, but does not hand its value on to the one of this page.
    """
    if st.session_state.get(PAGE) != page:
        st.session_state[PAGE] = page
        for key in [key for key in st.session_state if str(key).startswith(OWN)]:
            del st.session_state[key]


def choice(name: str, default: str = "") -> str:
    """Return a choice: the URL's, or else the one kept from another page, or else the default."""
    return st.query_params.get(name) or st.session_state.setdefault(KEPT, {}).get(name) or default


def moved(name: str) -> bool:
    """Return whether the URL names another choice than the one kept: it was opened, not written by `keep`."""
    linked = st.query_params.get(name)
    return linked is not None and linked != st.session_state.setdefault(KEPT, {}).get(name)


def keep(name: str, value: str) -> None:
    """Keep a choice for other pages and write it into the URL; an empty one is taken out of both."""
    st.session_state.setdefault(KEPT, {})[name] = value
    if not value:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def choose(name: str, value: str) -> None:
    """Make a choice for the visitor; the widget that shows it follows. To be called before that widget is drawn."""
    st.session_state.pop(key_of(name), None)
    keep(name, value)


def follow(name: str, key: str, default: Any, allowed: Callable[[Any], bool]) -> None:
    """Give the widget ``key`` its value where it is new, where a link has changed it, or where it is not allowed.

    The value has the type of ``default``, which also stands in for a choice that is not allowed.
    """
    if key in st.session_state and not moved(name) and allowed(st.session_state[key]):
        return
    wanted = parsed(choice(name), default)
    st.session_state[key] = wanted if allowed(wanted) else default


def parsed(text: str, default: Any) -> Any:
    """Return the text of a URL as the type of ``default``, or the default where it is not one."""
    if not text:
        return default
    if isinstance(default, bool):
        return text == "1"
    try:
        return type(default)(text)
    except ValueError:
        return default


def written(value: Any) -> str:
    """Return a widget's value as the text of a URL: the inverse of `parsed`."""
    return str(int(value)) if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def remember(widget: Callable[..., Any], name: str, default: Any, label: str, *arguments: Any, **options: Any) -> Any:
    """Show a widget whose value is kept from page to page and in the URL (where it is not the default); return it.

    ``arguments`` and ``options`` are the widget's own; a number's are its least and largest value, a choice's first one
    its options.
    """
    key = key_of(name)
    follow(name, key, default, _allowed(default, arguments, typed=options.get("accept_new_options", False)))
    value = widget(label, *arguments, key=key, **options)
    value = default if value is None else value
    keep(name, "" if value == default else written(value))
    return value


def relabel(name: str) -> None:
    """Let the next `remember` of a choice show its label of now; the browser keeps the one that was chosen."""
    if (key := key_of(name)) in st.session_state:
        st.session_state[key] = st.session_state[key]


def key_of(name: str) -> str:
    """Return the session's key of the widget that `remember` shows."""
    return f"kept-{name}"


def _allowed(default: Any, arguments: tuple[Any, ...], typed: bool) -> Callable[[Any], bool]:
    if typed:
        return lambda value: isinstance(value, str) and bool(value)
    if isinstance(default, bool):
        return lambda value: isinstance(value, bool)
    if isinstance(default, (int, float)) and isinstance(arguments[0], (int, float)):
        return lambda value: isinstance(value, (int, float)) and arguments[0] <= value <= arguments[1]
    return lambda value: value in arguments[0]


def keep_estimate(of: Any, text: str) -> None:
    """Keep what was found out about the time that something takes."""
    st.session_state[ESTIMATE] = (of, text)


def kept_estimate(of: Any) -> str:
    """Return the last estimate if it is one of this, else nothing."""
    known, text = st.session_state.get(ESTIMATE, (None, ""))
    return text if known == of else ""


def keep_upload(name: str, image: Image.Image, digest: str) -> None:
    """Keep the visitor's picture, so that it is still there on the next page."""
    st.session_state[UPLOAD] = (name, image, digest)


def kept_upload() -> tuple[str, Image.Image, str] | None:
    """Return (name, image, digest) of the visitor's last upload."""
    return st.session_state.get(UPLOAD)
