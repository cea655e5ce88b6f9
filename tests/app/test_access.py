"""Who may come in, what they may read, and that a read-only app writes nothing."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from pages import class_folders, png, sound
from streamlit.testing.v1 import AppTest

from app import login, server
from app.shared import access
from app.shared.access import PlaceError, ReadOnlyError, check_place, is_private, require_writable
from app.shared.cached_data import open_folder
from pmsi.runs import Run

PAGES = sorted(page.parent.name for page in (server.HERE / "views").glob("*/page.py"))
MAIN = str(server.HERE / "main.py")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An allowed folder, one beside it, and nothing else that is allowed; the home folder is not the user's."""
    for name in ("allowed", "secret", "home", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PMSI_DATA", str(tmp_path / "allowed"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    for name in ("PMSI_READ_ONLY", access.ADDRESS, access.BASE_PATH, login.ALLOWED_EMAILS):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


# --- Places --------------------------------------------------------------------------------------------------------


def test_what_lies_in_the_named_folders_may_be_read(places):
    for inside in ("allowed", "allowed/birds", "allowed/../allowed/birds", "runs", "datasets/x"):
        assert check_place(str(places / inside)) == (places / inside).resolve()


OUTSIDE = ["/", "/etc/passwd", "~root", "..", "{}/secret", "{}/allowed/../secret", "{}/allowed-too", "{}/home",
           "{}/here", "{}/allowed/link", "{}/allowed/deep/link/x", "a\0b", "", "{}/secret/../../../etc"]  # fmt: skip


@pytest.mark.parametrize("outside", OUTSIDE)
def test_what_leads_out_of_them_may_not(places, outside):
    (places / "allowed" / "link").symlink_to(places / "secret")
    (places / "allowed" / "deep").mkdir()
    (places / "allowed" / "deep" / "link").symlink_to("../../secret")
    with pytest.raises(PlaceError):
        check_place(outside.format(places))


def test_the_refusal_does_not_tell_what_is_there(places):
    def said(name):
        with pytest.raises(PlaceError) as caught:
            check_place(places / name)
        return str(caught.value).replace(name, "X")

    assert said("secret") == said("absent")
    assert "PMSI_DATA" in said("secret")
    assert "allowed" not in said("secret").replace("can allow", "")


def test_several_folders_can_be_named(places, monkeypatch):
    monkeypatch.setenv("PMSI_DATA", os.pathsep.join([str(places / "allowed"), "", str(places / "secret")]))
    assert check_place(places / "secret" / "x")
    with pytest.raises(PlaceError):
        check_place(places / "here")  # an empty entry names nothing


PRIVATE = [({}, True), ({"ADDRESS": "127.0.0.1"}, True), ({"ADDRESS": "localhost"}, True), ({"ADDRESS": "::1"}, True),
           ({"ADDRESS": "0.0.0.0"}, False), ({"ADDRESS": "::"}, False), ({"ADDRESS": "lab.example.org"}, False),
           ({"BASE_PATH": "lab"}, False), ({"BASE_PATH": "/"}, True), ({"READ_ONLY": "1"}, False)]  # fmt: skip


@pytest.mark.parametrize(("environment", "private"), PRIVATE)
def test_all_folders_are_open_to_whoever_sits_at_the_machine_alone(places, monkeypatch, environment, private):
    monkeypatch.delenv("PMSI_DATA")
    for name, value in environment.items():
        monkeypatch.setenv(getattr(access, name), value)
    assert is_private() == private
    for place in ("home/birds", "here/birds", "secret"):
        if private:
            assert check_place(places / place)
        else:
            with pytest.raises(PlaceError):
                check_place(places / place)
    monkeypatch.delenv("PMSI_DATASETS")
    assert check_place("data/birds") == places / "here" / "data" / "birds"


def test_the_data_of_a_run_that_is_there_may_be_read(places, runs_folder, tiny_config):
    Run.create(runs_folder, tiny_config.with_(dataset="folder", data=str(places / "secret" / "birds")))
    assert check_place(places / "secret" / "birds" / "jay")
    with pytest.raises(PlaceError):
        check_place(places / "secret")


@pytest.mark.parametrize("place", ["{}/secret", "{}/allowed/../secret", "/etc"])
def test_links_to_other_folders_are_refused(open_page, places, place):
    (places / "secret" / "jay").mkdir()
    for page, query in {"data": {"set": "folder"}, "mosaic": {"source": "data"}}.items():
        test = open_page(page, data=place.format(places), **query)
        assert any("outside the folders" in error.value for error in test.error)


def test_pictures_behind_links_to_other_folders_are_not_shown(places):
    """Such links are followed for the person at the machine; what others may see is bounded by the folders allowed."""
    home = class_folders(places / "allowed" / "set")
    (places / "secret" / "x.png").write_bytes(png(200))
    (home / "jay" / "link.png").symlink_to(places / "secret" / "x.png")
    dataset = open_folder(str(home))
    assert [problem.key for problem in dataset.problems] == ["jay/link.png"]
    assert len(dataset.train) + len(dataset.test) == 8


def test_links_to_runs_elsewhere_are_refused(open_page, places):
    (places / "etc").mkdir()
    (places / "etc" / "config.json").write_text("{}")
    for run in ("../../etc", "..", "/etc", ".", "a\0b"):
        assert any("There is no run" in said.value for said in open_page("runs", run=run).warning)


# --- Read-only -----------------------------------------------------------------------------------------------------


def snapshot(folder: Path):
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("name", PAGES)
def test_a_read_only_page_writes_nothing_and_starts_no_process(
    open_page, make_run, runs_folder, tmp_path, monkeypatch, name
):
    run = make_run()
    (run.folder / "result.json").write_text(json.dumps({"result": {}}))
    monkeypatch.setenv("PMSI_READ_ONLY", "1")
    monkeypatch.setenv("PMSI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a process"))
    before = snapshot(runs_folder)
    test = open_page(name, run=run.id, **({"show": "import"} if name == "data" else {}))
    for about in [(button.key, button.label) for button in test.button if not button.disabled]:
        for button in [button for button in test.button if (button.key, button.label) == about][:1]:
            sound(button.click().run())
    assert snapshot(runs_folder) == before
    assert not (tmp_path / "datasets").exists()


def test_writing_is_refused_in_words(monkeypatch):
    require_writable()
    monkeypatch.setenv("PMSI_READ_ONLY", "1")
    with pytest.raises(ReadOnlyError, match="This app is read-only"):
        require_writable()
    assert server.options()["server.maxUploadSize"] == 25
    monkeypatch.setenv("PMSI_READ_ONLY", "0")
    assert "server.maxUploadSize" not in server.options()


# --- Coming in -----------------------------------------------------------------------------------------------------


class Visitor(dict):
    """A stand-in for st.user."""

    is_logged_in = property(lambda self: bool(self))

    def to_dict(self):
        return dict(self)


@pytest.fixture
def visit(monkeypatch):
    """Open the whole app as a visitor, with an [auth] section in the secrets."""

    def opened(auth, user=None, allowed=""):
        import streamlit as st

        monkeypatch.setattr(login, "auth_section", lambda: auth)
        monkeypatch.setattr(st, "user", Visitor(user or {}))
        monkeypatch.setenv(login.ALLOWED_EMAILS, allowed)
        return AppTest.from_file(MAIN, default_timeout=60).run()

    return opened


ONE = {"redirect_uri": "x", "client_id": "y"}


def titles(test):
    return [title.value for title in sound(test).title]


def test_without_a_login_everybody_comes_in(visit):
    assert len(titles(visit({}))) == 1
    assert titles(visit({})) != ["PMSI Lab"]


def test_nobody_sees_a_page_before_the_login(visit):
    test = visit(ONE)
    assert titles(test) == ["PMSI Lab"]
    assert [button.label for button in test.button] == ["Log in"]
    several = visit(ONE | {"google": {"client_id": "x"}, "microsoft": {"client_id": "x"}})
    assert [button.label for button in several.button] == ["Log in with Google", "Log in with Microsoft"]


ANN = {"email": "Ann@Example.org", "email_verified": True}


@pytest.mark.parametrize(
    ("user", "allowed", "comes_in"),
    [
        (ANN, "", True),
        (ANN, "bob@x.org, ann@example.org", True),
        (ANN, "@example.org", True),
        (ANN, "bob@example.org", False),
        (ANN, "@ample.org", False),
        (ANN, "example.org", False),
        ({"email": "ann@example.org.evil.com"}, "@example.org", False),
        ({"email": "ann@example.org", "email_verified": False}, "ann@example.org", False),
        ({"email": "ann@example.org", "email_verified": "false"}, "ann@example.org", False),
        ({"name": "no address"}, "@example.org", False),
    ],
)
def test_only_those_on_the_list_come_in(visit, user, allowed, comes_in):
    test = visit(ONE, user, allowed)
    assert (titles(test) == ["Not open to this account"]) is not comes_in
    assert [button.label for button in test.button if button.label == "Log out"] == ["Log out"]


def test_a_list_without_a_login_lets_nobody_in(visit):
    test = visit({}, ANN, "ann@example.org")
    assert titles(test) == []
    assert "but no login" in test.error[0].value


def test_who_is_let_in_is_named_as_they_are(visit):
    test = visit(ONE, {"name": "**Ann** <b>", "email": "ann@example.org"})
    assert any(element.value == r"Logged in as **\*\*Ann\*\* \<b\>**" for element in test.markdown)
    assert "ann@example.org" in [element.value for element in test.text]
    refused = visit(ONE, {"name": "Eve", "email": "eve@example.com"}, "@example.org")
    assert any("You are logged in as Eve" in element.value for element in refused.markdown)


def test_a_login_without_its_package_lets_nobody_in_and_says_what_to_install(monkeypatch):
    import streamlit as st

    monkeypatch.setattr(type(st.secrets), "load_if_toml_exists", lambda self: True)
    monkeypatch.setattr(type(st.secrets), "get", lambda self, name, default=None: ONE, raising=False)
    monkeypatch.setattr(access, "is_authlib_installed", lambda: True)
    assert access.auth_section() == ONE
    monkeypatch.setattr(access, "is_authlib_installed", lambda: False)
    with pytest.raises(access.LoginError, match="pip install Authlib"):
        access.auth_section()


def test_a_broken_secrets_file_lets_nobody_in(monkeypatch, tmp_path):
    import streamlit as st

    secrets = tmp_path / "secrets.toml"
    monkeypatch.setattr(st, "get_option", lambda name: [str(secrets)] if name == "secrets.files" else None)
    monkeypatch.setattr(type(st.secrets), "load_if_toml_exists", lambda self: False)
    assert access.auth_section() == {}
    secrets.write_text("[auth\n")
    with pytest.raises(access.LoginError, match="cannot be read"):
        access.auth_section()
