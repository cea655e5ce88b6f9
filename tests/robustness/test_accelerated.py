"""The models of a long sweep on a CPU: by their graph what they are by the network."""

import sys

import torch

from pmsi.data import open_dataset
from pmsi.data.loading import EvaluationLoader
from pmsi.engine.checkpoint import load_model
from pmsi.robustness import models
from pmsi.robustness.models import SweptModel, accelerated, identity


def test_a_graph_predicts_what_the_network_predicts(tiny_run, monkeypatch):
    plain = SweptModel(tiny_run, *load_model(tiny_run, torch.device("cpu")))
    (short,) = accelerated((plain,), 10)
    assert short.graph is None
    monkeypatch.setattr(models, "LONG", 0)
    (fast,) = accelerated((plain,), 10)
    assert fast.graph is not None
    dataset = open_dataset(tiny_run.config)
    images = torch.cat([batch for batch, _ in EvaluationLoader(dataset, dataset.test, tiny_run.config, 4)])
    assert fast.labels(images) == plain.labels(images)
    assert {head: len(labels) for head, labels in fast.labels(images).items()} == dict.fromkeys(plain.network.heads, 12)
    assert identity((fast,), ()) != identity((plain,), ()), "a near tie may fall otherwise: cells are not mixed"
    monkeypatch.setitem(sys.modules, "pmsi.graph.onnx_file", None)  # as where the packages are missing
    assert accelerated((plain,), 10)[0].graph is None
