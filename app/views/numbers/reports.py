"""Finished measurements of runs, and the button that starts a missing one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import streamlit as st

from app.shared.access import read_only
from app.shared.errors import changing, plain
from app.shared.memory import once
from app.shared.panels import runs_of
from app.shared.session import page_of
from app.shared.wording import name_of_run
from pmsi import tasks
from pmsi.base.errors import RunError
from pmsi.base.files import LARGE, read_json, stamp
from pmsi.config import CalibrateConfig, Config, UnknownsConfig
from pmsi.runs import Run, default_root
from pmsi.runs.record import is_of_earlier_model

Result = dict[str, Any]
Value = TypeVar("Value")


def reports(run: Run, kind: type[Config], named_by: Sequence[str] = ("of",)) -> Iterator[tuple[Run, Result]]:
    """Yield the finished measurements of a kind that are about a run's model of now, the newest first.

    ``named_by`` are the fields of their configs in which the run may stand.
    """
    for job in runs_of(kind):
        named = [getattr(job.config, field, None) or () for field in named_by]
        about = run.id in {id for of in named for id in ([of] if isinstance(of, str) else of)}
        if about and (result := job.result()) is not None and not is_of_earlier_model(job, run):
            yield job, result


def report_on(runs: Sequence[Run], kind: type[Config]) -> tuple[Run, Result] | None:
    """Return the newest measurement of a kind that is about all of these runs."""
    ids = {run.id for run in runs}
    return next((found for found in reports(runs[0], kind) if ids <= set(found[1]["of"])), None)


def offer(words: str, config: Config, key: str) -> None:
    """Say what is missing, and start its measurement on request."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(plain(words), width="content")
        if st.button("Measure it", key=f"measure-{key}", icon=":material/straighten:", disabled=read_only()):
            with changing():
                made = tasks.queue(config, default_root())
                st.switch_page(page_of("runs"), query_params={"run": made.id})


def measured(
    run: Run, beside: Run | None, kind: type[CalibrateConfig] | type[UnknownsConfig], takes: str
) -> tuple[list[Run], Run, Result] | None:
    """Return the runs that a measurement of a kind is about, its run and its result: of both, else of the first alone.

    What is missing is offered to be measured; ``takes`` says about how long that is.
    """
    for runs in [[run, beside], [run]] if beside is not None else [[run]]:
        if (found := report_on(runs, kind)) is not None:
            return runs, *found
        if len(runs) == 2 or beside is None:
            together = " together" if len(runs) == 2 else ""
            words = f"Not measured{together} yet: {names(runs)}. It takes {takes} on two cores."
            offer(words, kind(of=tuple(each.id for each in runs)), f"{kind.__name__}-{len(runs)}")
    return None


def kept(job: Run, name: str, restored: Callable[[Any], Value]) -> dict[str, Value]:
    """Return by run what a measurement keeps in a file beside its result, read once for all visitors."""

    def read() -> dict[str, Value]:
        stored = read_json(job.folder / name, LARGE)
        if stored is None:
            raise RunError(f"Run {job.id}: its {name} cannot be read. Measure it again.")
        return {id: restored(each) for id, each in stored["runs"].items()}

    return once((name, str(job.folder), stamp(job.folder / name)), read)


def interval(ends: Mapping[str, float] | None, scale: int = 1) -> str:
    """Return a mean with its interval as text."""
    if ends is None:
        return "–"
    digits = 1 if scale > 1 else 2
    mean, low, high = (scale * ends[end] for end in ("mean", "low", "high"))
    return f"{mean:z.{digits}f} ({low:z.{digits}f} to {high:z.{digits}f})"


def names(runs: Sequence[Run]) -> str:
    """Return what runs are called, in a line."""
    return " and ".join(map(name_of_run, runs))
