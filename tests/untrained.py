"""Runs whose models were never trained: what they answer is as good as any other answer, and costs nothing."""

import torch

from pmsi.data.plumage.species import SPECIES
from pmsi.engine.checkpoint import CHECKPOINT, save_checkpoint
from pmsi.methods import build
from pmsi.runs import Run


def untrained(root, config):
    """Return a run of a training config on plumage whose checkpoint holds a new model."""
    run, model = Run.create(root, config), build(config, len(SPECIES))
    about = {"epoch": 1, "step": 0, "config": config.to_dict(), "classes": [species.name for species in SPECIES]}
    save_checkpoint(run.checkpoints / CHECKPOINT, model, torch.optim.SGD(model.parameters(), lr=0.1), about)
    return run
