"""Runs whose models were never trained: what they answer is as good as any other answer, and costs nothing."""

import json

import torch

from pmsi.data import open_dataset
from pmsi.data.record import FILE, DataRecord
from pmsi.engine.checkpoint import CHECKPOINT, save_checkpoint
from pmsi.methods import build
from pmsi.runs import Run


def untrained(root, config):
    """Return a run of a training config with the record of its data and the checkpoint of a new model."""
    run, dataset = Run.create(root, config), open_dataset(config)
    DataRecord.of(dataset).to_file(run.folder / FILE)
    model = build(config, len(dataset.classes))
    about = {"epoch": 1, "step": 0, "config": config.to_dict(), "classes": dataset.classes}
    save_checkpoint(run.checkpoints / CHECKPOINT, model, torch.optim.SGD(model.parameters(), lr=0.1), about)
    return run


def answer(run, given, first=()):
    """Write what a run answered to its test images: by key what its mix said, where that is not the true class.

    ``first`` is the same for its S5, which else knew all.
    """
    test = open_dataset(run.config).test
    keys, labels = [sample.key for sample in test], [sample.label for sample in test]
    heads = {
        "S5": [dict(first).get(s.key, s.label) for s in test],
        "mix": [given.get(sample.key, sample.label) for sample in test],
    }
    (run.folder / "predictions.json").write_text(json.dumps({"keys": keys, "labels": labels, "predicted": heads}))
    return run
