"""Run: a folder with a config, metrics, a log, checkpoints and a result.

``config.json`` is written when the run is created and never changed. ``metrics.jsonl`` grows line by line.
``progress.json`` is the worker's heartbeat. The state follows from files that `pmsi.runs.lifecycle` lists. Any process
can read a run; reading changes nothing.
"""

import contextlib
import difflib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from pmsi.base.assets import ASSETS
from pmsi.base.errors import ConfigError, RunError
from pmsi.base.files import LARGE, disk_full, open_regular, read_file, stamp, telling_full, to_json, write_atomically
from pmsi.base.text import printable, shortened
from pmsi.config import Config, from_json
from pmsi.runs.damage import METRICS, damage_of, metrics_record, read
from pmsi.runs.lifecycle import ENDINGS, LEAST_ROOM, MARKS, State, request_stop, state_of
from pmsi.runs.status import ErrorReport, Heartbeat, Status, status_of

SHIPPED = ASSETS / "demo"
"""Finished runs that ship with the program. They are never written to."""

SALIENT = {
    "train": ("method", "dataset"),
    "evaluate": ("split",),
    "robustness": ("perturbations",),
    "maps": ("method",),
}
"""Config fields whose values are part of the run's id, by task."""

CHECKPOINT = "last.safetensors"
"""The one checkpoint of a training run: its last finished epoch, or the batch at which it was stopped."""

TAIL_BYTES = 1 << 16


class Stopped(Exception):
    """Raised by `Run.check_stop` inside a task whose run was asked to stop."""


class Run:
    """One run folder. It holds no state of its own: two objects on one folder, in any processes, see the same run."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._heartbeat = Heartbeat(self.folder / "progress.json")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and self.folder == other.folder

    def __hash__(self) -> int:
        return hash(self.folder)

    # Making and finding

    @classmethod
    def create(cls, root: Path, config: Config, *, name: str | None = None) -> "Run":
        """Create a run folder in ``root`` and return its run; ``name`` replaces the config's values in its id."""
        root = Path(root)
        root.mkdir(parents=True, exist_ok=True)
        moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        while True:
            folder = root / "-".join([moment, _slug(config, name), secrets.token_hex(2)])
            try:
                with telling_full(folder, LEAST_ROOM):
                    folder.mkdir()
            except FileExistsError:
                continue
            try:
                write_atomically(folder / "config.json", config.to_json())
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            return cls(folder)

    @classmethod
    def open(cls, root: Path, id: str) -> "Run":
        """Return the run ``id``, or the only run whose id starts with it; shipped runs are found in any ``root``.

        Raises RunError if there is no such run, or more than one.
        """
        if id not in ("", "..") and Path(id).name == id:  # no path leads out of the runs folder
            for place in (Path(root), SHIPPED):
                if _is_run(place / id):
                    return cls(place / id)
        known = {run.id: run for run in known_runs(root, damaged=True)}
        ids, id = list(known), printable(id, keep="")
        found = [other for other in ids if id and other.startswith(id)]
        if len(found) == 1 or id in known:
            return known[id if id in known else found[0]]
        id = shortened(id)
        if found:
            raise RunError(f"{len(found)} runs start with '{id}': {', '.join(found[:4])}. Type more of the id.")
        close = difflib.get_close_matches(id, ids, n=3)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise RunError(f"There is no run '{id}' in {root}.{hint} See: pmsi runs list.")

    def sibling(self, id: str) -> "Run":
        """Return another run of the same runs folder; raises RunError if there is none."""
        return Run.open(self.folder.parent, id)

    @property
    def id(self) -> str:
        """The folder's name, as it can be shown and typed."""
        return printable(self.folder.name, keep="")

    @property
    def is_shipped(self) -> bool:
        """Whether the run came with the program."""
        return self.folder.parent == SHIPPED

    @cached_property
    def config(self) -> Config:
        """The config; raises RunError if it cannot be read."""
        try:
            return from_json(read_file(self.folder / "config.json"))
        except (OSError, ConfigError) as error:
            raise RunError(f"Run {self.id!r} is damaged. {self.damage or error}") from error

    # Reading

    @property
    def state(self) -> State:
        """The run's state now."""
        return state_of(self.folder)

    @property
    def damage(self) -> str | None:
        """What is wrong with the folder, in a sentence; None if nothing is."""
        return damage_of(self.folder)

    def status(self) -> Status:
        """Return the run's state, progress, times and error, which is the damage of a damaged run."""
        status = status_of(self.folder, self.log_tail)
        damage = self.damage
        error = ErrorReport("RunError", f"Run {self.id!r} is damaged. {damage}")
        return replace(status, error=error) if damage else status

    def result(self) -> dict[str, Any] | None:
        """Return what the task returned; None unless the run has finished, and its result can be read."""
        ending = read(self.folder / ENDINGS[State.FINISHED])
        return None if ending is None else ending.get("result")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the records logged so far; a line cut short by a crash is skipped.

        Raises RunError if the file cannot be read, or a record is not what is logged.
        """
        path = self.folder / METRICS
        try:
            lines = read_file(path, LARGE).splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f"Run {self.id!r}: its {path.name} cannot be read ({error.strerror}).") from error
        found = []
        for number, line in enumerate(lines, 1):
            record, wrong = metrics_record(line)
            if wrong is not None:
                raise RunError(f"Run {self.id!r}: line {number} of its {path.name} is damaged ({wrong}). Remove it.")
            found += [] if record is None else [record]
        return found

    @property
    def log_path(self) -> Path:
        """File of the worker's output."""
        return self.folder / "log.txt"

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the log."""
        try:
            with open_regular(self.log_path) as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:]) if lines > 0 else ""

    # Working: for the task, inside the worker

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, created if it is missing."""
        folder = self.folder / "checkpoints"
        if not folder.is_dir():
            folder.mkdir(exist_ok=True)
        return folder

    def log(self, record: dict[str, Any]) -> None:
        """Append one record to the metrics; NaN and infinities become null."""
        line = to_json(record).encode() + b"\n"
        path = self.folder / METRICS
        with telling_full(path, len(line)), open_regular(path, "ab+") as file:
            if file.seek(0, os.SEEK_END) > 0:
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line  # an earlier worker died within a line
            whole = file.seek(0, os.SEEK_END)
            if os.write(file.fileno(), line) < len(line):  # the disk is full: no half of a line stays
                os.truncate(path, whole)
                raise disk_full(path, len(line))

    def flush_metrics(self) -> None:
        """Write the metrics logged so far to the disk, so that they survive a power cut."""
        with contextlib.suppress(FileNotFoundError), open_regular(self.folder / METRICS, "ab") as file:
            os.fsync(file.fileno())

    def truncate_metrics(self, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Keep only the records for which ``keep`` is true, so that a resumed run does not log an epoch twice."""
        lines = [to_json(record) + "\n" for record in self.metrics() if keep(record)]
        write_atomically(self.folder / METRICS, "".join(lines))

    def progress(self, done: int, total: int, text: str) -> None:
        """Report ``done`` of ``total`` steps, the worker's heartbeat; cheap enough for every step."""
        self._heartbeat.beat(done, total, text)

    def flush_progress(self) -> None:
        """Write the last `progress` call if it is not written yet."""
        self._heartbeat.flush()

    @property
    def stop_requested(self) -> bool:
        """Whether the run was asked to stop."""
        return (self.folder / "stop").exists()

    def check_stop(self) -> None:
        """Raise `Stopped` if the run was asked to stop."""
        if self.stop_requested:
            raise Stopped(f"Run {self.id!r} was asked to stop.")

    def step(self, done: int, total: int, text: str) -> None:
        """Report ``done`` of ``total`` steps; raises `Stopped` if the run was asked to stop."""
        self.check_stop()
        self.progress(done, total, text)

    def steps(self, total: int, text: str) -> Callable[[], None]:
        """Return what is to be called after each of ``total`` steps: it counts them for `step`."""
        done = count(1)
        return lambda: self.step(next(done), total, text)

    def append_log(self, text: str) -> None:
        """Add ``text`` to the log."""
        with open_regular(self.log_path, "ab") as file:
            file.write((text if text.endswith("\n") else text + "\n").encode(errors="backslashreplace"))

    # Stopping

    def request_stop(self, grace_s: float = 30.0) -> None:
        """Ask a running worker to stop within ``grace_s`` seconds, or take a queued run out of the queue."""
        request_stop(self.folder, grace_s)


class SecondaryRun(Run):
    """The run of a rank other than 0: rank 0 writes the files, and decides when all ranks stop."""

    def _leave_it(self, *_: object, **__: object) -> None: ...

    log = truncate_metrics = progress = check_stop = _leave_it


def _slug(config: Config, name: str | None) -> str:
    """Return the middle of an id, in letters, digits and hyphens: the task and ``name`` or the `SALIENT` fields."""
    if name is None:
        values = [getattr(config, field) for field in SALIENT.get(config.task, ())]
        name = "-".join("-".join(value) if isinstance(value, tuple) else str(value) for value in values if value)
    words = re.sub(r"[^a-z0-9]+", "-", f"{config.task}-{name}".lower())
    return words[:48].strip("-")


BEGINS = re.compile(r"\d{8}-\d{6}(?=-)")
"""How the ids of runs begin: when they were made, in UTC."""


def list_runs(root: Path) -> list[Run]:
    """Return the runs in ``root``, newest first. Damaged runs are included; `Run.damage` says what is wrong."""
    found = []
    with contextlib.suppress(OSError):
        for folder in Path(root).iterdir():
            if _is_run(folder):
                changed = stamp(folder / "config.json")[0]
                moment = BEGINS.match(folder.name)
                made = moment[0] if moment else time.strftime("%Y%m%d-%H%M%S", time.gmtime(changed // 10**9))
                found.append((made, changed, folder))
    return [Run(folder) for _, _, folder in sorted(found, reverse=True)]


def _is_run(folder: Path) -> bool:
    """Return whether a folder is a run, also a damaged one: it has a run's files, or may not be looked into."""
    if not os.path.isdir(folder):  # noqa: PTH112 (which raises OSError for a name that is too long)
        return False
    for name in ("config.json", *MARKS):
        try:
            (folder / name).lstat()
        except PermissionError:
            return bool(BEGINS.match(folder.name))
        except OSError:
            continue
        return True
    return False


def known_runs(root: Path, *, damaged: bool = False) -> list[Run]:
    """Return the runs in ``root``, newest first, followed by those that ship with the program.

    Damaged runs are left out unless they are asked for.
    """
    own = list_runs(root)
    names = {run.id for run in own}
    all = own + [run for run in list_runs(SHIPPED) if run.id not in names]
    return all if damaged else [run for run in all if run.damage is None]


def default_root() -> Path:
    """Return the runs folder: the environment's PMSI_RUNS, or ``runs`` in the current folder."""
    return Path(os.environ.get("PMSI_RUNS") or "runs")
