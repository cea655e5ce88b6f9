"""What all tests share: shapes checked as annotated, a tiny config, one trained tiny run, and no shipped runs."""

import functools
import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several test processes share the cores
os.environ.setdefault("PMSI_ENGINE", "torch")  # what graphs are compared with; those of ONNX Runtime have own tests

from jaxtyping import install_import_hook

install_import_hook(["pmsi.model.batch", "pmsi.model", "pmsi.augment", "pmsi.explain"], "beartype.beartype")

import pytest
import torch

from pmsi import tasks
from pmsi.base.locks import locked
from pmsi.cli.main import main
from pmsi.config import TrainConfig
from pmsi.data import plumage
from pmsi.data.dataset import Dataset, Sample
from pmsi.runs import Run, State, jobs, list_runs


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """The folder of all processes that run these tests."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def _own_cache(shared_folder):
    """A cache of these tests: nothing that a user's has goes into them, and nothing of theirs into a user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PMSI_CACHE", str(shared_folder / "cache"))
        yield


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _nothing_shipped(monkeypatch, tmp_path):
    """No runs that came with the program, so that each test has those alone that it makes."""
    ship(monkeypatch, tmp_path / "shipped")


def ship(monkeypatch, folder):
    """Let the runs in ``folder`` be those that came with the program."""
    for module in ("pmsi.runs", "pmsi.runs.run"):
        monkeypatch.setattr(f"{module}.SHIPPED", folder)


@pytest.fixture
def shipped(monkeypatch):
    """Return what makes the runs of a folder those that came with the program."""
    return functools.partial(ship, monkeypatch)


@pytest.fixture(scope="session", autouse=True)
def _drawn_once():
    """Plumage's drawings are kept in memory: most tests that train or predict look at the same few dozen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plumage, "draw_image", functools.lru_cache(maxsize=256)(plumage.draw_image))
        yield


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def cache_folder(tmp_path, monkeypatch):
    """Keep what the package remembers between runs inside the test's own folder."""
    monkeypatch.setenv("PMSI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def pmsi(capsys):
    """Return what runs a command line and gives its exit status, its output and its errors."""

    def typed(*words):
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as leaving:
            status = leaving.code
        return (status, *capsys.readouterr())

    return typed


@pytest.fixture(scope="session")
def tiny_config():
    """A training run of seconds: real in every part, small in every number."""
    return TrainConfig(
        dataset="plumage",
        backbone="tiny",
        weights="none",
        image_size=64,
        train_per_class=2,
        test_per_class=1,
        epochs=2,
        batch_size=6,
        channels=16,
        hidden=8,
        trackers=(),
    )


@pytest.fixture(scope="session")
def tiny_run(tiny_config, shared_folder):
    """A finished training run of two epochs, in a folder whose name has a space; tests read it, or change a copy."""
    root = shared_folder / "my runs"
    with locked(shared_folder / "tiny.lock"):
        run = next(iter(list_runs(root)), None) or Run.create(root, tiny_config)
        assert run.state is State.FINISHED or tasks.execute(run) is State.FINISHED, run.status().error
    return run


@pytest.fixture
def copied(tiny_run, tmp_path):
    """A copy of `tiny_run` in ``tmp_path``, to be changed."""
    return Run(shutil.copytree(tiny_run.folder, tmp_path / tiny_run.id))


@pytest.fixture
def submitted(monkeypatch):
    """The ids of submitted runs; nothing is started."""
    ids = []
    monkeypatch.setattr(jobs, "submit", lambda run, launcher: ids.append(run.id))
    return ids


@pytest.fixture(scope="session")
def colour_dataset():
    """Four classes of flat colour with noise, eight images each to train on: learnable in a few steps."""
    import numpy as np
    from PIL import Image

    colours = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200], [200, 200, 60]])

    def open_image(sample: Sample) -> Image.Image:
        rng = np.random.default_rng(abs(int.from_bytes(sample.key.encode()[-4:], "big")))
        pixels = colours[sample.label] + rng.integers(-40, 40, (64, 64, 3))
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))

    def samples(split: str, count: int) -> tuple[Sample, ...]:
        return tuple(Sample(f"{split}/{label}/{i:02}", label) for label in range(4) for i in range(count))

    return Dataset("colours", ("red", "green", "blue", "yellow"), samples("train", 8), samples("test", 3), open_image)
