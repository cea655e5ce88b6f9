"""Addresses of pages that have moved: an old link opens the page of today, with all that it asks of it."""

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


def _of_robustness(asked: Mapping[str, str]) -> str:
    """Return the half of the former Robustness page that a link is about: ``view`` said so, or else what it names."""
    about = "sweep" if any(name.split("-")[0] == "sweep" for name in asked) else "image"
    return "sweeps" if asked.get("view", about) == "sweep" else "perturb"


MOVED: dict[str, Callable[[Mapping[str, str]], str]] = {
    "robustness": _of_robustness,
    "compare": lambda asked: "tables",
}
"""By the last part of an old address: the page of today, for what the address asks."""


class Moved:
    """ASGI middleware that redirects old addresses; relatively, so that it works below any base path."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope.get("path", "").rpartition("/")[2]
        answer = self.app
        if scope["type"] == "http" and name in MOVED:
            asked = Request(scope).query_params
            rest = urlencode([(key, value) for key, value in asked.multi_items() if key != "view"])
            answer = RedirectResponse(f"{MOVED[name](asked)}?{rest}".rstrip("?"), 308)
        await answer(scope, receive, send)
