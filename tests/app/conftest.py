"""What the tests of pages share: a page on its own, and runs whose model was never trained."""

import pytest
from streamlit.testing.v1 import AppTest

SITE = "from pages import navigate; navigate({name!r}, 'train')"


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
        return test.run()

    return opened


@pytest.fixture
def make_run(runs_folder, tiny_config):
    """Make a run with the record of its data and the checkpoint of a model that was never trained, fields changed."""
    import torch

    from pmsi.data import open_dataset
    from pmsi.data.record import FILE, DataRecord
    from pmsi.engine.checkpoint import CHECKPOINT, save_checkpoint
    from pmsi.methods import build
    from pmsi.runs import Run

    def made(**fields):
        config = tiny_config.with_(**fields)
        run = Run.create(runs_folder, config)
        dataset = open_dataset(config)
        DataRecord.of(dataset).to_file(run.folder / FILE)
        model = build(config, len(dataset.classes))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        about = {"epoch": 1, "step": 0, "config": config.to_dict(), "classes": dataset.classes}
        save_checkpoint(run.checkpoints / CHECKPOINT, model, optimizer, about)
        return run

    return made
