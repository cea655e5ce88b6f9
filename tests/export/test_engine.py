"""The graph of a model as its engine on a CPU: by it, sweeps and predictors say what they say by the network."""

import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from pmsi.base.errors import ExportError
from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.data.loading import EvaluationLoader
from pmsi.engine.checkpoint import load_model
from pmsi.graph import engine, kept, onnx_file
from pmsi.methods import build
from pmsi.predictor import Predictor
from pmsi.robustness.models import SweptModel, accelerated, identity


@pytest.fixture(scope="module", autouse=True)
def _made_once(tiny_run):
    """Graphs are used here, and that of `tiny_run` is in the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(engine.ENGINE)
        assert Predictor.load(tiny_run, "cpu", images=10**6).graph is not None
        patch.setattr(onnx_file, "record", None)  # from now on none is made
        yield


def test_a_graph_predicts_what_the_network_predicts(tiny_run, monkeypatch):
    plain = SweptModel.of_run(tiny_run, torch.device("cpu"))
    (fast,) = accelerated((plain,), 10)
    assert fast.graph is not None
    dataset = open_dataset(tiny_run.config)
    images = torch.cat([batch for batch, _ in EvaluationLoader(dataset, dataset.test, tiny_run.config, 4)])
    by_graph, by_network = fast.logits(images), plain.logits(images)
    assert {head: logits.shape for head, logits in by_graph.items()} == dict.fromkeys(plain.heads, (12, 12))
    for head, logits in by_network.items():
        np.testing.assert_allclose(by_graph[head], logits, rtol=0, atol=1e-3 * np.abs(logits).max())
    assert identity((fast,), ()) != identity((plain,), ()), "a near tie may fall otherwise: cells are not mixed"
    monkeypatch.setitem(sys.modules, "pmsi.graph.onnx_model", None)  # as where the packages are missing
    assert accelerated((plain,), 10)[0].graph is None


def test_a_kept_graph_answers_and_explains_for_its_run_alone(tiny_run, tmp_path, monkeypatch):
    """Not for other weights, and not where it is damaged."""
    fast = Predictor.load(tiny_run, "cpu")
    plain = Predictor(*load_model(tiny_run, torch.device("cpu")))
    seen = plain.prepare(Image.fromarray(np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)))
    for label in (None, 3):
        ours, theirs = (each.explain(seen, head="S4", label=label, top=12) for each in (plain, fast))
        assert ours.label == theirs.label
        for head, guesses in ours.prediction.heads.items():
            expected = {guess.label: guess.probability for guess in guesses}
            for prediction in (theirs.prediction, fast.predict(seen, top=12)):
                found = {guess.label: guess.probability for guess in prediction.heads[head]}
                assert found == pytest.approx(expected, abs=1e-4)
        for stage, values in ours.maps.items():
            np.testing.assert_allclose(theirs.maps[stage], values, rtol=0, atol=0.01 * float(values.max()))
    layers = (each.explain(seen, method="layercam", stages=("S2",)).maps["S2"] for each in (plain, fast))
    np.testing.assert_array_equal(*layers)  # what the graph has not is torch's
    model, config, _ = load_model(tiny_run, torch.device("cpu"))
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    assert engine.graph_of(model, (config.resize_to, config.image_size)) is None
    shutil.copytree(kept.cache_folder() / "graphs", tmp_path / "graphs", ignore=shutil.ignore_patterns(".*"))
    monkeypatch.setenv("PMSI_CACHE", str(tmp_path))
    assert Predictor.load(tiny_run, "cpu").graph is not None
    for path in tmp_path.glob("graphs/*.onnx"):
        path.write_bytes(path.read_bytes()[:-1])
    assert Predictor.load(tiny_run, "cpu").graph is None


def test_a_model_without_a_graph_is_remembered(monkeypatch):
    def refuse(*_):
        raise ExportError("The maps differ.")

    model = build(TrainConfig(method="bcnn", backbone="tiny", weights="none", image_size=64), 3).eval()
    assert engine.graph_of(model, (72, 64), images=10) is None  # too few to try
    for record in (refuse, None):
        monkeypatch.setattr(onnx_file, "record", record)
        assert engine.graph_of(model, (72, 64), images=10**6) is None
        with pytest.raises(ExportError, match="maps"):
            onnx_file.graph_bytes(model, (72, 64))
