"""What is said about a run, the same on every page: its title, its state, how long, how long ago.

Words and colours only; nothing is drawn here.
"""

import re
import time
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pmsi.config import Config, TrainConfig
from pmsi.lifecycle import queued_request
from pmsi.runs import Run, State, list_runs


@dataclass(frozen=True)
class Look:
    """How a state is shown: a colour of st.badge and an icon."""

    color: str
    icon: str


LOOKS: dict[State, Look] = {
    State.CREATED: Look("gray", ":material/draft:"),
    State.QUEUED: Look("violet", ":material/schedule:"),
    State.RUNNING: Look("blue", ":material/autoplay:"),
    State.STOPPING: Look("orange", ":material/hourglass_bottom:"),
    State.STOPPED: Look("gray", ":material/stop_circle:"),
    State.FINISHED: Look("green", ":material/check_circle:"),
    State.FAILED: Look("red", ":material/error:"),
    State.INTERRUPTED: Look("orange", ":material/power_off:"),
}


def badge_of(state: State) -> str:
    """Return a state as a coloured badge, in markdown."""
    look = LOOKS[state]
    return f":{look.color}-badge[{look.icon} {state}]"


def title_of_run(config: Config) -> str:
    """Return a short title: the method and the data set, or the task and the run that it is about."""
    if hasattr(config, "method"):
        return f"{config.method} on {config.dataset}"
    of = getattr(config, "of", ())
    runs = [of] if isinstance(of, str) else list(of)
    about = short_id(runs[0]) if len(runs) == 1 else f"{len(runs)} runs"
    return f"{config.task} of {about}"


def short_id(id: str) -> str:
    """Return a run's id without the moment at which it was made."""
    return re.sub(r"^\d{8}-\d{6}-(train-)?", "", id)


def facts_of(config: Config) -> list[str]:
    """Return what sets a training run apart from others of the same method and data set."""
    if not isinstance(config, TrainConfig):
        return []
    return [config.backbone, f"{config.image_size} px", f"{config.epochs} epoch{'s' * (config.epochs != 1)}"]


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
