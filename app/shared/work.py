"""The line before heavy work: few places, taken in the order of asking, and left by visitors who have gone.

Work comes in small pieces (one explanation, one trial), and each piece waits anew. So a visitor who asks for hundreds
gets as much of the machine as one who asks for a single one.
"""

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator

import streamlit as st
from streamlit.runtime.scriptrunner_utils.script_run_context import get_script_run_ctx

from app.shared.session import PAGE

LOOK_S = 0.5
"""How often one who waits looks whether they are still wanted, and what place they have."""

OnWait = Callable[[int], None]


class Line:
    """A line before some places."""

    def __init__(self, places: int) -> None:
        self._places = self._free = places
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def turn(self, on_wait: OnWait) -> Iterator[None]:
        """Wait for a place and hold it; ``on_wait`` gets the number of those before, and may raise to leave."""
        mark = object()
        with self._changed:
            self._waiting.append(mark)
        try:
            while not self._taken(mark):
                on_wait(self._before(mark))
        except BaseException:
            with self._changed:
                self._waiting.remove(mark)
                self._changed.notify_all()
            raise
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    @property
    def asked(self) -> int:
        """How many work or wait now."""
        return self._places - self._free + len(self._waiting)

    def _before(self, mark: object) -> int:
        with self._changed:
            return self._waiting.index(mark)

    def _taken(self, mark: object) -> bool:
        """Take a place if it is this one's turn, at once or after a while."""
        with self._changed:
            if self._changed.wait_for(lambda: self._waiting.index(mark) < self._free, LOOK_S):
                self._waiting.remove(mark)
                self._free -= 1
                self._changed.notify_all()
                return True
        return False


CORES = os.cpu_count() or 1
SHORT, LONG = Line(max(2, CORES)), Line(max(1, CORES // 2))
"""The lines before pieces that take up to about a second, and before longer ones, so that nobody waits behind these."""

_HELD = threading.local()


@contextlib.contextmanager
def turn(line: Line | None, doing: str = "") -> Iterator[None]:
    """Wait in a line for this visitor's turn, with the place shown, and do the work; ``doing`` is shown meanwhile.

    Without a line, or within work whose turn it is, nobody waits. Work of a visitor who has gone stops here.
    """
    stop_if_gone()
    with contextlib.ExitStack() as stack:
        if line is not None and not getattr(_HELD, "place", False):
            stack.enter_context(_place(line))
        if doing and get_script_run_ctx(suppress_warning=True) is not None:
            stack.enter_context(st.spinner(doing))
        yield


@contextlib.contextmanager
def _place(line: Line) -> Iterator[None]:
    shown: list[st.delta_generator.DeltaGenerator] = []

    def on_wait(before: int) -> None:
        stop_if_gone()
        if get_script_run_ctx(suppress_warning=True) is not None:
            if not shown:
                shown.append(st.empty())
            words = f"{before} before you" if before else "you are next"
            shown[0].caption(f":material/hourglass_top: Others are being served: {words}.")

    with line.turn(on_wait):
        for place in shown:
            place.empty()
        _HELD.place = True
        try:
            yield
        finally:
            _HELD.place = False


def stop_if_gone() -> None:
    """Stop the run of a page whose visitor has left, or has asked for another one: at each look at the session."""
    if get_script_run_ctx(suppress_warning=True) is not None:
        st.session_state.get(PAGE)
