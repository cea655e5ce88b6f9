"""Hostile addresses, and a page in a read-only app; pages, parameters and good values are learned from the app."""

import json
import os
import random
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from streamlit.runtime.state.query_params_proxy import QueryParamsProxy
from streamlit.testing.v1 import AppTest

from app.server import load
from app.shared import memory, session
from app.shared.access import READ_ONLY
from benchmarks.abuse.kind import MB, Kind
from benchmarks.app_server import PAGES
from pmsi.runs import known_runs

PAGE = """
from importlib import import_module
import streamlit as st
from app.shared import session
from app.shared.errors import guarded
from benchmarks.app_server import PAGES
views = {{name: import_module(f"app.views.{{name}}.page").page for name in dict.fromkeys(({name!r}, *PAGES))}}
page = st.navigation([st.Page(view, title=name, url_path=name) for name, view in views.items()])
session.enter(page.url_path)
with guarded():
    page.run()
"""

HOSTILE: tuple[Callable[[random.Random], str], ...] = (
    lambda draw: str(draw.choice((-1, 0, 1, 3, 64, 1024, 4096, 500_000, 2**31, 10**30))),
    lambda draw: "9" * 5000,
    lambda draw: draw.choice(("nan", "inf", "1e308", "", "\0", "../" * 50, "~nosuch/x", "/etc", "timm:resnet18")),
    lambda draw: "x" * draw.choice((5000, 60_000)),
    lambda draw: ",".join(map(str, range(draw.choice((3, 700, 10_000))))),
    lambda draw: "seed=" + ",".join(map(str, range(draw.choice((3, 700))))),
    lambda draw: "|".join(f"train/gorget_crestjay/{i:04d}" for i in range(400)),
    lambda draw: " ".join(f"gaussian_noise={i}" for i in range(draw.choice((3, 2000)))),
)

ASKED: dict[str, dict[str, list[str]]] = {name: {} for name in PAGES}
"""The parameters that each page has asked for so far, with the values that it offered for them."""


@cache
def _runs() -> tuple[str, ...]:
    """Load what pages need, and return the runs that ship."""
    load()
    return tuple(sorted(run.id for run in known_runs(Path(os.devnull))))


def address(draw: random.Random, folder: Path) -> Path:
    """Write a page and its query: at first none, then one to six parameters that it is known to ask for."""
    _runs()
    name = draw.choice([name for name in PAGES if not ASKED[name]] or PAGES)
    known = ASKED[name]
    query = {one: _value(draw, known[one]) for one in draw.sample(sorted(known), min(len(known), draw.randrange(1, 7)))}
    path = folder / "address"
    path.write_text(json.dumps([name, query]))
    return path


def _value(draw: random.Random, good: list[str]) -> str:
    runs = _runs()
    values = (lambda: draw.choice(good or runs), lambda: draw.choice(runs), lambda: ",".join(draw.sample(runs, 2)))
    return draw.choice(values)() if draw.random() < 0.5 else draw.choice(HOSTILE)(draw)


def open_page(path: Path) -> None:
    """Open a page in a read-only app, and write what it asked for beside its address."""
    name, query = json.loads(path.read_text())
    os.environ |= {READ_ONLY: "1", "PMSI_RUNS": str(path.parent / "runs"), "PMSI_DATA": str(path.parent)}
    asked: dict[str, list[str]] = {}
    _listen(asked)
    memory.loaded()
    test = AppTest.from_string(PAGE.format(name=name), default_timeout=1000)
    for key, value in query.items():
        test.query_params[key] = value
    test.run()
    path.with_suffix(".asked").write_text(json.dumps([name, asked]))
    if test.exception:
        raise AssertionError(test.exception[0].message)
    if any("not your doing" in error.value for error in test.error):
        raise AssertionError(f"an unforeseen error at {name}?{urlencode(query)[:300]}")


def _listen(asked: dict[str, list[str]]) -> None:
    """Let reading of the address note the parameter, and `remember` the values that it offers."""

    def noting(read: Callable[..., Any]) -> Callable[..., Any]:
        def noted(self: QueryParamsProxy, name: str, *rest: Any) -> Any:
            asked.setdefault(name, [])
            return read(self, name, *rest)

        return noted

    for read in ("__getitem__", "__contains__", "get", "get_all"):
        setattr(QueryParamsProxy, read, noting(getattr(QueryParamsProxy, read)))
    remember = session.remember

    def remembered(widget: Any, name: str, default: Any, label: str, *arguments: Any, **options: Any) -> Any:
        offered = [default, *_offered(arguments)]
        asked[name] = [session.written(value) for value in offered if isinstance(value, (str, int, float))]
        return remember(widget, name, default, label, *arguments, **options)

    for module in [module for key, module in sys.modules.items() if key.startswith("app.")]:
        if getattr(module, "remember", None) is remember:
            module.remember = remembered  # type: ignore[attr-defined]


def _offered(arguments: tuple[Any, ...]) -> list[Any]:
    """Return the values that a widget offers: its options, or its limits; both for a checkbox."""
    if not arguments:
        return [False, True]
    return list(arguments[0])[:100] if isinstance(arguments[0], (Mapping, list, tuple)) else list(arguments[:2])


def learn(path: Path) -> None:
    """Learn what a page has asked for."""
    if (found := path.with_suffix(".asked")).exists():
        name, asked = json.loads(found.read_text())
        ASKED[name] |= asked


ADDRESSES = Kind(500, address, open_page, 1000 * MB, 60, learn=learn)
