"""A run in words: its name, state, age and data set, the same on every page."""

import calendar
import re
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pmsi.base.errors import RunError
from pmsi.base.text import duration, plural
from pmsi.config import Config, RobustnessConfig, TrainConfig
from pmsi.data import DATASETS
from pmsi.explain.methods import CAM_METHODS
from pmsi.methods import METHODS
from pmsi.perturbations import PERTURBATIONS
from pmsi.runs import Run, State, list_runs
from pmsi.runs.labels import labels_of
from pmsi.runs.lifecycle import queued_request
from pmsi.runs.status import Status

TASKS = {"evaluate": "evaluation"}
"""Nouns for tasks whose name is a verb."""

STATE_STYLES: dict[State, tuple[str, str]] = {
    State.CREATED: ("gray", ":material/draft:"),
    State.QUEUED: ("violet", ":material/schedule:"),
    State.RUNNING: ("blue", ":material/autoplay:"),
    State.STOPPING: ("orange", ":material/hourglass_bottom:"),
    State.STOPPED: ("gray", ":material/stop_circle:"),
    State.FINISHED: ("green", ":material/check_circle:"),
    State.FAILED: ("red", ":material/error:"),
    State.INTERRUPTED: ("orange", ":material/power_off:"),
}
"""The badge of a state: a colour of st.badge and an icon."""

DAMAGED = ":red-badge[:material/broken_image: damaged]"
"""A badge in place of a state's, for a run whose files cannot be read."""


def badge_of(state: State) -> str:
    """Return a state as a coloured badge, in markdown."""
    color, icon = STATE_STYLES[state]
    return f":{color}-badge[{icon} {state}]"


def title_of_run(config: Config) -> str:
    """Return a short title: the method and the data set, or the task and the run that it is about."""
    if isinstance(config, TrainConfig):
        return f"{method_title(config.method)} on {data_title(config)}"
    of = getattr(config, "of", ())
    runs = [of] if isinstance(of, str) else list(of)
    about = short_id(runs[0]) if len(runs) == 1 else f"{len(runs)} runs"
    return f"{TASKS.get(config.task, config.task)} of {about}"


def method_title(name: str) -> str:
    """Return what a method is called, also one that exists no more."""
    return METHODS[name].title if name in METHODS else name


def cam_title(method: str) -> str:
    """Return what a CAM method is called, also one that exists no more."""
    return CAM_METHODS[method].title if method in CAM_METHODS else method


def data_title(config: TrainConfig) -> str:
    """Return what the data set of a training run is called: a published one's name, or else that of its folder."""
    row = DATASETS.get(config.dataset)
    if row is not None and row.official:
        return row.title
    return Path(config.data).name if config.data else config.dataset


def called(run: Run) -> str:
    """Return what people call a run, or else its title, or its id where the config cannot be read."""
    try:
        return labels_of(run).name or title_of_run(run.config)
    except RunError:
        return run.id


def ending_of(id: str) -> str:
    """Return the end of a run's id, which distinguishes runs of the same name; an id without a date as a whole."""
    return id[-4:] if re.match(r"\d{8}-\d{6}-", id) else id


def name_of_run(run: Run) -> str:
    """Return what a run is called, with the end of its id. People may have written it: not for HTML or markdown."""
    return f"{called(run)} · {ending_of(run.id)}"


def with_names(reasons: Iterable[str], *runs: Run) -> str:
    """Return sentences in which runs are called by their ids with the runs' names instead."""
    text = " ".join(reasons)
    for run in runs:
        text = re.sub(rf"\b[Rr]un {re.escape(run.id)}", lambda _, run=run: name_of_run(run), text)
    return text


def line_of_run(run: Run, zone: str | None = None) -> str:
    """Return a run's name, what it is, when it was made, and its facts: what a list to choose from shows."""
    title = [title_of_run(run.config)] if labels_of(run).name else []
    made = ["comes with the program"] if run.is_shipped else [moment(made_at(run), zone)]
    return " · ".join([name_of_run(run), *title, *made, *facts_of(run.config)])


def stuck_words(status: Status) -> str:
    """Return in a line that a run may be stuck, or nothing."""
    if status.silent_s is None:
        return ""
    return f"no sign of life for {duration(status.silent_s)}: it may be stuck"


def made_at(run: Run) -> float:
    """Return when a run was made: its id says so, in UTC."""
    try:
        return calendar.timegm(time.strptime(run.id[:15], "%Y%m%d-%H%M%S"))
    except ValueError:
        return run.folder.stat().st_ctime


def short_id(id: str) -> str:
    """Return a run's id without the moment at which it was made."""
    return re.sub(r"^\d{8}-\d{6}-(train-)?", "", id)


def facts_of(config: Config) -> list[str]:
    """Return what sets a run apart from others with the same title."""
    if isinstance(config, RobustnessConfig):
        return ["; ".join(perturbation_title(name).lower() for name in config.perturbations)]
    if not isinstance(config, TrainConfig):
        return []
    return [config.backbone, f"{config.image_size} px", plural(config.epochs, "epoch")]


def perturbation_title(name: str) -> str:
    """Return the title of a perturbation, also of one that exists no more."""
    name, _, own = name.partition("=")
    row = PERTURBATIONS.get(name)
    title = row.title if row is not None else name.replace("_", " ").capitalize()
    return f"{title} ({own})" if own else title


def ago(moment: float | None, now: float | None = None) -> str:
    """Return how long ago a moment was, in one unit."""
    if moment is None:
        return ""
    seconds = max(0.0, (time.time() if now is None else now) - moment)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"


def moment(at: float, zone: str | None) -> str:
    """Return day and time of day in a time zone (``st.context.timezone`` is the visitor's), or in the server's."""
    try:
        place = ZoneInfo(zone) if zone else None
    except (ValueError, ZoneInfoNotFoundError):
        place = None
    return f"{datetime.fromtimestamp(at, place):%d %b, %H:%M}"


def runs_before(run: Run) -> int:
    """Return how many runs of the same folder will be worked on, or are, before this queued one has its turn."""
    own = queued_request(run.folder)
    before = 0
    for other in list_runs(run.folder.parent):
        state = other.state
        request = queued_request(other.folder) if state is State.QUEUED else None
        waits_longer = own is not None and request is not None and request["at"] < own["at"]
        before += waits_longer or state in (State.RUNNING, State.STOPPING)
    return before
