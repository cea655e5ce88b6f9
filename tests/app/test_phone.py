"""A run's page for phones under the app: made once, with the headers it needs, for those who may come in."""

import json
import os
import sys
import zipfile
from functools import partial

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from streamlit import config
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value
from waiting import until

from app import login, phone
from app.shared.background import Background
from pmsi.base import steps

SECRET = "long-enough-and-only-for-tests-0123456789"


class Maker(Background):
    """Makes pages on demand, in place of the command."""

    def __init__(self):
        super().__init__()
        self.said, self.asked = None, []

    def ask(self, key, words, then=lambda: None, urgent=False):
        self.asked.append(words)
        return self.said


@pytest.fixture
def maker(monkeypatch, cache_folder):
    monkeypatch.setattr(phone, "BACKGROUND", Maker())
    return phone.BACKGROUND


@pytest.fixture
def client():
    return TestClient(Starlette(routes=phone.ROUTES), follow_redirects=False)


@pytest.fixture
def ready(maker, make_run):
    """A run whose page is there."""
    run = make_run()
    folder = phone._folder_of(run)
    folder.parent.mkdir(parents=True)
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as site:
        for name in ("index.html", "worker.js", "manifest.webmanifest"):
            site.writestr(name, f"this is {name}")
    phone._unpack(folder.with_suffix(".zip"), folder)
    return run


def test_a_page_is_made_when_it_is_asked_for_and_else_the_reason_is_said(maker, make_run, client):
    address = f"/phone/{make_run().id}/"
    coming = client.get(address)
    assert coming.status_code == 202
    assert "http-equiv" in coming.text
    assert maker.asked[0][:2] == ["pmsi", "export"]
    maker.said = "This model has no page."
    refused = client.get(address)
    assert (refused.status_code, refused.text) == (404, maker.said)
    for other in ("/phone/nothing/", "/phone/..%2Fsecret/", f"/lab{address}"):
        assert client.get(other).status_code == 404


def test_its_files_come_with_the_headers_that_threads_need(ready, client):
    address = f"/phone/{ready.id}"
    assert client.get(address).headers["location"].endswith(f"{address}/")
    page = client.get(f"{address}/")
    assert page.text == "this is index.html"
    assert page.headers["cross-origin-embedder-policy"] == "require-corp"
    assert page.headers["cross-origin-opener-policy"] == "same-origin"
    assert client.get(f"{address}/manifest.webmanifest").headers["content-type"].startswith("application/manifest+json")
    for other in ("nothing", "%2e%2e/lock"):
        assert client.get(f"{address}/{other}").status_code == 404


def test_below_a_base_path_it_is_there_alone(ready, client):
    before = config.get_option("server.baseUrlPath")
    config.set_option("server.baseUrlPath", "labs/birds")
    try:
        assert client.get(f"/labs/birds/phone/{ready.id}/").status_code == 200
        assert client.get(f"/phone/{ready.id}/").status_code == 404
    finally:
        config.set_option("server.baseUrlPath", before)


def test_only_who_is_logged_in_and_on_the_list_gets_it(ready, client, monkeypatch):
    monkeypatch.setattr(login, "auth_section", lambda: {"client_id": "x"})
    monkeypatch.setattr(login, "get_cookie_secret", lambda: SECRET)
    monkeypatch.setenv(login.ALLOWED_EMAILS, "ann@example.org")
    address = f"/phone/{ready.id}/"

    def status(secret, **account):
        content = json.dumps({"origin": "http://testserver", "email_verified": True} | account)
        value = create_signed_value(secret, login.USER_COOKIE_NAME, content).decode()
        return client.get(address, headers={"cookie": f"{login.USER_COOKIE_NAME}={value}"}).status_code

    assert client.get(address).status_code == 303
    assert status(SECRET, is_logged_in=True, email="ann@example.org") == 200
    assert status(SECRET, is_logged_in=True, email="eve@example.org") == 303
    assert status(SECRET, is_logged_in=False, email="ann@example.org") == 303
    assert status("another-secret-that-is-long-enough-too", is_logged_in=True, email="ann@example.org") == 303


def test_work_in_the_background_is_done_once_and_says_why_it_failed():
    work, done = Background(), []
    assert work.ask("zen", ["this"], lambda: done.append(1)) is None
    assert work.ask("none", ["no_such_module_here"]) is None
    assert "no_such_module_here" in until(lambda: work.ask("none", ["no_such_module_here"]))
    assert work.ask("zen", ["this"]) == ""
    assert done == [1]
    work.close()
    assert work.ask("more", ["this"]) is None
    assert not work._coming


def test_work_tells_how_far_it_is_and_what_a_visitor_waits_for_comes_next(tmp_path, monkeypatch):
    gate, work, ended = tmp_path / "gate", Background(), []
    os.mkfifo(gate)
    (tmp_path / "slow.py").write_text(
        "import sys\nfrom pmsi.base import steps\nwith steps.written_to(sys.stderr):\n"
        f"    steps.begin(40, 'this')\n    steps.begin(70, 'that')\nopen({str(gate)!r}).read()"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    work.ask("slow", ["slow"])
    for key, urgent in {"graph": False, "page": True}.items():
        work.ask(key, ["this"], partial(ended.append, key), urgent)
    assert until(lambda: work.progress("slow").step and work.progress("slow").step[1:] == (70, "that"))
    assert [work.progress(key).before for key in ("slow", "page", "graph")] == [0, 1, 2]
    gate.write_text("")
    until(lambda: ended == ["page", "graph"])


def test_what_is_left_follows_the_speed_so_far(monkeypatch):
    monkeypatch.setattr(steps.time, "monotonic", lambda: 160.0)
    assert steps.seconds_left([steps.Step(100, 60, "a graph that was kept")]) is None
    assert steps.seconds_left([steps.Step(100, 60, ""), steps.Step(150, 85, "")]) == 50 / 25 * 15 - 10
