"""A process of a team of two, for tests/test_parallel.py: one phase's gradients on its half of a batch."""

import sys

import torch
from torch import nn

from pmsi.batch import Phase, Target
from pmsi.config import TrainConfig
from pmsi.methods import build
from pmsi.model import Objective
from pmsi.parallel import team

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


if __name__ == "__main__":
    with team(DEVICE) as members:
        torch.save(gradients(members, frozen=sys.argv[2] == "frozen"), f"{sys.argv[1]}/{members.rank}.pt")
