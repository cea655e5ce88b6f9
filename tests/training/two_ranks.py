"""A process of a team of two, for tests/training/test_distributed.py: ``two_ranks.py FOLDER WHOLE STOPPED``.

It writes the gradients of one phase on its half of a batch into FOLDER, with a frozen backbone and with a free one, and
trains two runs to their end: WHOLE undisturbed, and STOPPED with a stop after each of its first phases.
"""

import contextlib
import sys
from pathlib import Path

import torch
from learning import Training
from torch import nn

from pmsi.config import TrainConfig
from pmsi.data import open_dataset
from pmsi.methods import build
from pmsi.model import Objective
from pmsi.model.batch import Phase, Target
from pmsi.runs import Run, SecondaryRun, Stopped
from pmsi.training.distributed import team

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


class Impatient(Run):
    """A run that is asked to stop before its second phase: at the second look for such a request."""

    looks = 0

    @property
    def stop_requested(self):
        self.looks += 1
        return self.looks == 2


def train(folder, members, stops=0):
    """Train the run in ``folder`` to its end, after it was stopped so many times."""
    for number in range(stops + 1):
        kind = SecondaryRun if not members.leads else Impatient if number < stops else Run
        run = kind(folder)
        with contextlib.suppress(Stopped):
            Training(run.config, open_dataset(run.config), run, members).fit()
            assert number == stops, "a run that was to be stopped came to its end"
        members.gather("the checkpoint is written")


def main(folder, whole, stopped):
    torch.set_num_threads(1)
    with team(DEVICE) as members:
        for frozen in (True, False):
            torch.save(gradients(members, frozen), f"{folder}/{members.rank}-{frozen}.pt")
        train(Path(whole), members)
        train(Path(stopped), members, stops=7)  # two batches of four phases, and a last phase to end with


if __name__ == "__main__":
    main(*sys.argv[1:])
