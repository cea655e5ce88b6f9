"""A process of a team of two, for tests/test_parallel.py.

two_ranks.py gradients FOLDER FREEZING     one phase's gradients on its half of a batch, written into FOLDER
two_ranks.py train FOLDER STOPPED          two runs to their end: one undisturbed, and one stopped after every phase
"""

import sys
from pathlib import Path

import torch
from torch import nn

from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.methods import build
from pmsi.model import Objective
from pmsi.model.batch import Phase, Target
from pmsi.runs import Run, SecondaryRun, Stopped
from pmsi.training.distributed import team
from pmsi.training.session import Training

CONFIG = TrainConfig(backbone="tiny", weights="none", image_size=32, channels=8, hidden=6, dropout=0.0, batch_size=8)
PHASE = Phase("S4", 2)
DEVICE = torch.device("cpu")


def without_batch_norm(module):
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(module, name, nn.Identity())
        without_batch_norm(child)
    return module


def gradients(members, frozen):
    """Return the gradients of one phase, by parameter; None where the phase does not use it."""
    model = without_batch_norm(build(CONFIG, 3)).double()
    objective = members.wrap(Objective(model), DEVICE)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(8, 3, 32, 32, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (8,), generator=generator)
    for step in range(2):  # frozen, and thawed: what was frozen after wrapping is averaged again
        model.backbone.requires_grad_(not (frozen and step == 0))
        model.zero_grad(set_to_none=True)
        share = members.share(8)
        objective(images[share], Target.plain(labels[share]), PHASE, None).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def train(folder, members, *, stopped):
    """Train the run in ``folder`` to its end; where it is ``stopped``, begin anew from its checkpoint each time."""
    run = (Run if members.leads else SecondaryRun)(folder)
    dataset = open_dataset(run.config)
    while True:
        trainer = Training(run.config, dataset, run, members)
        if stopped:
            trainer._train_phase = stopping(trainer, members)
        try:
            trainer.fit()
            return
        except Stopped:
            members.gather("the checkpoint is written")
            (folder / "stop").unlink(missing_ok=True)
            members.gather("the request is gone")


def stopping(trainer, members):
    train_phase = trainer._train_phase

    def phase(*args):
        train_phase(*args)
        if members.leads:
            (trainer.run.folder / "stop").touch()

    return phase


def main(what, folder, word):
    torch.set_num_threads(1)
    with team(DEVICE) as members:
        if what == "gradients":
            torch.save(gradients(members, frozen=word == "frozen"), f"{folder}/{members.rank}.pt")
        else:
            train(Path(folder), members, stopped=False)
            train(Path(word), members, stopped=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
