"""What the tests of pages share: a page on its own, and runs whose model was never trained."""

import pytest
from pages import sound
from streamlit.testing.v1 import AppTest
from untrained import untrained

SITE = "from pages import navigate; navigate({name!r}, 'train', 'runs', 'maps', 'numbers', 'perturb', 'sweeps')"


@pytest.fixture(autouse=True)
def runs_folder(monkeypatch, tmp_path):
    """An empty runs folder."""
    folder = tmp_path / "runs"
    monkeypatch.setenv("PMSI_RUNS", str(folder))
    monkeypatch.setenv("PMSI_DATA", str(tmp_path))
    monkeypatch.setenv("PMSI_DATASETS", str(tmp_path / "datasets"))
    return folder


@pytest.fixture
def open_page():
    """Open a page by its name, with query parameters; it must not raise."""

    def opened(name, **query):
        test = AppTest.from_string(SITE.format(name=name), default_timeout=60)
        for key, value in query.items():
            test.query_params[key] = value
        return sound(test.run())

    return opened


@pytest.fixture
def make_run(runs_folder, tiny_config):
    """Make a run with the record of its data and the checkpoint of a model that was never trained, fields changed."""
    return lambda **fields: untrained(runs_folder, tiny_config.with_(**fields))
