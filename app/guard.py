"""What comes in over the network, before Streamlit sees it: which hosts, paths, messages and uploads may pass."""

from collections import Counter
from functools import partial
from http import HTTPStatus

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.runtime import get_instance
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

from app.shared.access import HOSTS, is_private
from app.shared.memory import UPLOADS, budget

METRICS, UPLOAD = "/_stcore/metrics", "/_stcore/upload_file/"

MESSAGES = frozenset(
    ("rerun_script", "stop_script", "app_heartbeat", "file_urls_request", "deferred_file", "dataframe_chunk")
)
"""What visitors of a public app may tell the server, with the kinds of backend_operation_request. Left out is
clear_cache, which empties the caches of all."""

UPLOADS_KEPT = 2
"""Largest uploads for which a session has room."""
MOST_SESSIONS = 500
"""Open pages. Beyond them, new visitors have to wait."""


class Guard:
    """ASGI middleware. A private app answers to its own hosts only; a public one hides its metrics, keeps its caches.

    Uploads are bounded for a session and in all, before they are read.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.arriving: Counter[str] = Counter()
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, path = headers.get("host"), scope["path"]
        if not is_host_allowed(host):
            answer: ASGIApp = _refused(HTTPStatus.MISDIRECTED_REQUEST, OTHER_HOST.format(host=host))
        elif path.endswith(METRICS) and not is_private():
            answer = _refused(HTTPStatus.NOT_FOUND, "Not found.")
        elif UPLOAD in path and scope.get("method") == "PUT":
            answer = partial(self._upload, path, headers.get("content-length", ""))
        else:
            answer = self._page if scope["type"] == "websocket" else self.app
        await answer(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.open >= MOST_SESSIONS:
            await _refused(HTTPStatus.SERVICE_UNAVAILABLE, "")(scope, receive, send)
            return
        self.open += 1
        try:
            await self.app(scope, receive if is_private() else known(receive), send)
        finally:
            self.open -= 1

    async def _upload(self, path: str, length: str, scope: Scope, receive: Receive, send: Send) -> None:
        session, size = path.partition(UPLOAD)[2].partition("/")[0], int(length) if length.isdecimal() else None
        if reason := self.refusal(session, size) if size is not None else "Its length is not said.":
            await _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, reason)(scope, receive, send)
            return
        self.arriving[session] += size or 0
        try:
            await self.app(scope, receive, send)
        finally:
            self.arriving[session] -= size or 0
            self.arriving += Counter()  # sessions without an upload are left out

    def refusal(self, session: str, size: int) -> str:
        """Return why an upload of ``size`` bytes is refused, or "".

        Where there is no room for it, sessions that hold more than this one lose theirs.
        """
        manager = get_instance().uploaded_file_mgr
        assert isinstance(manager, MemoryUploadedFileManager)
        files = {id: [len(file.data) for file in files.values()] for id, files in manager.file_storage.items()}
        held = Counter({id: sum(sizes) for id, sizes in files.items()})
        wanted = held[session] + self.arriving[session] + size
        room = int(UPLOADS * budget())
        most = room if is_private() else min(room, UPLOADS_KEPT * config.get_option("server.maxUploadSize") * 2**20)
        if wanted > most:
            return f"A page holds {most / 2**20:.0f} MB of uploads at most. Reload it to go on."
        for id, bytes in held.most_common():
            if held.total() + self.arriving.total() + size <= room or bytes <= wanted:
                break
            manager.remove_session_files(id)
            held.pop(id)
        fits = held.total() + self.arriving.total() + size <= room
        return "" if fits else "The uploads of other visitors leave no room now. Try again later."


def _refused(status: HTTPStatus, reason: str) -> ASGIApp:
    """Return what answers a request so, or closes a page's connection."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await PlainTextResponse(reason, status)(scope, receive, send)

    return answer


OTHER_HOST = (
    f"This app does not answer to the name {{host}}. Open it as localhost. Behind a proxy, start it with {HOSTS} set "
    "to the proxy's name; see docs/deploying.md."
)


def known(receive: Receive) -> Receive:
    """Return what receives only those of a page's messages that are in MESSAGES."""

    async def received() -> Message:
        while True:
            message = await receive()
            if message["type"] != "websocket.receive" or _is_known(message.get("bytes")):
                return message

    return received


def _is_known(data: bytes | None) -> bool:
    if not data or len(data) > config.get_option("server.maxWidgetStateSize") * 2**20:
        return True  # refused by Streamlit
    try:
        message = BackMsg.FromString(data)
        kind = message.WhichOneof("type")
        operation = kind == "backend_operation_request"
        return (message.backend_operation_request.WhichOneof("payload") if operation else kind) in MESSAGES
    except Exception:  # refused by Streamlit
        return True
