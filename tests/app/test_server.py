"""The start of the server, and what a visitor sees of an error that nobody caught."""

import tomllib

import pytest
from streamlit.testing.v1 import AppTest

from app import server
from app.shared.palette import CATEGORICAL


def test_the_theme_has_the_ten_colours():
    config = tomllib.loads((server.HERE / ".streamlit" / "config.toml").read_text())
    assert config["theme"]["chartCategoricalColors"] == list(CATEGORICAL)
    assert len(CATEGORICAL) == 10
    assert config["browser"]["gatherUsageStats"] is False


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


@pytest.mark.parametrize(("environment", "address"), [({}, "127.0.0.1"), ({server.ADDRESS: "0.0.0.0"}, "0.0.0.0")])
def test_it_answers_this_machine_only_unless_told_otherwise(monkeypatch, environment, address):
    monkeypatch.delenv(server.ADDRESS, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["server.py", "--port", "8765"])
    served = []
    monkeypatch.setattr(type(server.app), "run", lambda app, config: served.append(config))
    server.main()
    assert served == [{"server.port": 8765, "server.address": address}]
