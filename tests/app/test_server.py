"""The start of the server, and what a visitor sees of an error that nobody caught."""

from types import SimpleNamespace

import pytest
import streamlit as st
from starlette.websockets import WebSocketDisconnect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.testing.v1 import AppTest

from app import guard, moved, server
from app.shared import access
from app.shared.memory import UPLOADS


def test_the_warm_up_runs():
    server.load()


def test_the_whole_app_opens_on_the_first_screen():
    test = AppTest.from_file(str(server.HERE / "main.py"), default_timeout=60).run()
    assert not test.exception
    assert not test.error
    assert [title.value for title in test.title] == ["How a small network learns small differences"]


def test_an_unforeseen_error_is_shown_without_its_text():
    def script():
        from app.server import on_script_error
        from app.shared.errors import guarded
        from pmsi.base.errors import DataError

        with guarded():
            raise KeyError("/secret/path")
        with guarded():
            raise DataError("No *images* here. Choose another folder.")
        assert on_script_error(ValueError("/secret/path")) is True

    test = AppTest.from_function(script).run()
    assert not test.exception
    unforeseen, known, uncaught = (error.value for error in test.error)
    assert "secret" not in unforeseen + uncaught
    assert "server's log" in unforeseen
    assert known == "No \\*images\\* here. Choose another folder."


@pytest.mark.parametrize(
    ("environment", "address", "hosts"),
    [
        ({}, "127.0.0.1", True),
        ({"ADDRESS": ""}, "127.0.0.1", True),  # to Streamlit, that means all addresses
        ({"ADDRESS": "0.0.0.0"}, "0.0.0.0", False),
        ({"ADDRESS": "unix:///tmp/lab"}, "unix:///tmp/lab", False),
        ({"HOSTS": "lab.example.org"}, "127.0.0.1", True),
    ],
)
def test_it_listens_and_answers_to_this_machine_only_unless_told_otherwise(monkeypatch, environment, address, hosts):
    for name in ("ADDRESS", "HOSTS"):
        monkeypatch.delenv(getattr(access, name), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(getattr(access, name), value)
    monkeypatch.setattr("sys.argv", ["server.py", "--port", "8765"])
    served = []
    monkeypatch.setattr(type(server.app), "run", lambda app, config: served.append(config))
    server.main()
    assert (served[0]["server.port"], served[0]["server.address"]) == (8765, address)
    assert access.is_private() == (address == "127.0.0.1" and "HOSTS" not in environment)
    assert bool(served[0]["server.allowedHosts"]) == hosts
    assert "evil.example" not in served[0]["server.allowedHosts"]
    if "HOSTS" in environment:
        assert "lab.example.org" in served[0]["server.allowedHosts"]


# --- What comes in over the network --------------------------------------------------------------------------------


@pytest.fixture
def guarded(monkeypatch):
    """A browser before the guard of a public app; behind it a server that answers with what it got."""
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.testclient import TestClient

    async def page(socket):
        await socket.accept()
        await socket.send_bytes(await socket.receive_bytes())

    async def answer(request):
        manager.add_file(request.path_params["session"], UploadedFileRec("id", "name", "", await request.body()))
        return PlainTextResponse("taken")

    manager = MemoryUploadedFileManager("")
    monkeypatch.setattr(guard, "get_instance", lambda: SimpleNamespace(uploaded_file_mgr=manager))
    monkeypatch.setattr(guard, "is_private", lambda: False)
    monkeypatch.setenv("PMSI_MEMORY", f"{2**10 / UPLOADS:.0f}K")
    routes = [Route(guard.METRICS, lambda request: PlainTextResponse("numbers")), WebSocketRoute("/stream", page),
              Route(guard.UPLOAD + "{session}/{file}", answer, methods=["PUT"])]  # fmt: skip
    return TestClient(Starlette(routes=routes, middleware=[Middleware(guard.Guard)]), "http://localhost"), manager


def test_a_public_app_keeps_its_numbers_and_its_caches(guarded, monkeypatch):
    browser, _ = guarded
    assert browser.get(guard.METRICS).status_code == 404
    with browser.websocket_connect("/stream") as socket:
        socket.send_bytes(BackMsg(clear_cache=True).SerializeToString())
        wanted = BackMsg(app_heartbeat=True).SerializeToString()
        socket.send_bytes(wanted)
        assert socket.receive_bytes() == wanted
    monkeypatch.setattr(guard, "is_private", lambda: True)
    assert browser.get(guard.METRICS).text == "numbers"


def test_another_sites_name_is_not_answered_to(guarded):
    browser, _ = guarded
    st.config.set_option("server.allowedHosts", ["localhost"])
    try:
        assert browser.get("/", headers={"host": "evil.example"}).status_code == 421
        with pytest.raises(WebSocketDisconnect):
            browser.websocket_connect("/stream", headers={"host": "evil.example"}).__enter__()
        assert browser.get("/").status_code == 404  # nothing is there
    finally:
        st.config.set_option("server.allowedHosts", [])


@pytest.mark.parametrize(
    ("asked", "today"),
    [
        ("/robustness", "/perturb"),
        ("/robustness?run=a&k=0.5", "/perturb?run=a&k=0.5"),
        ("/robustness?sweep-of=a%2Cb", "/sweeps?sweep-of=a%2Cb"),
        ("/lab/robustness?sweep=s&part=flips", "/lab/sweeps?sweep=s&part=flips"),
        ("/robustness?sweep=s&view=image", "/perturb?sweep=s"),
        ("/robustness?view=sweep&run=a", "/sweeps?run=a"),
        ("/compare?table=7", "/tables?table=7"),
    ],
)
def test_old_addresses_open_the_pages_of_today_with_what_they_ask(asked, today):
    from starlette.testclient import TestClient

    answer = TestClient(moved.Moved(None), "http://localhost").get(asked, follow_redirects=False)
    assert str(answer.url.join(answer.headers["location"])) == f"http://localhost{today}"


def test_uploads_are_bounded_in_all_and_who_holds_most_makes_room(guarded):
    """There is room for 1 MB."""
    browser, manager = guarded

    def put(session, size):
        return browser.put(f"{guard.UPLOAD}{session}/id", content=b"x" * size).status_code

    assert put("hostile", 2**20 + 1000) == 413
    assert put("hostile", 800_000) == 200
    assert put("other", 300_000) == 200
    assert set(manager.file_storage) == {"other"}
    assert put("late", 800_000) == 413
    assert set(manager.file_storage) == {"other"}
