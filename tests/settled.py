"""Small models whose maps say something, without training; and a recogniser as pytorch-grad-cam wants it."""

from functools import cache

import torch
from torch import nn

from pmsi.model import BACKBONES, SMOOTH_CONVS
from pmsi.model.baseline import Baseline
from pmsi.model.pmsi import PMSI

CLASSES = 7
STAGES = ("S1", "S2", "S3", "S4", "S5")


def settle(model, sharpness=1):
    """Return a new model in eval mode, its BatchNorms with uneven scales and the statistics of some images.

    ``sharpness`` multiplies the weights of the last layers, so that logits are spread out.
    """
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.normal_(0, 0.2)
            if isinstance(layer, nn.Linear) and layer.out_features == CLASSES:
                layer.weight.mul_(sharpness)
        for _ in range(4):
            model.train()(torch.randn(8, 3, 64, 64))
    return model.eval()


@cache
def pmsi_model(backbone="tiny", **options):
    torch.manual_seed(0)
    options = {"channels": 24, "hidden": 16, "spatial": SMOOTH_CONVS["paper"]} | options
    return settle(PMSI(BACKBONES[backbone].make(None), CLASSES, **options), 100)


@cache
def baseline_model(backbone="tiny"):
    torch.manual_seed(1)
    return settle(Baseline(BACKBONES[backbone].make(None), CLASSES), 100)


def images_of(b=2, side=64, seed=5):
    return torch.randn(b, 3, side, side, generator=torch.Generator().manual_seed(seed))


class OneHead(nn.Module):
    """A recogniser as pytorch-grad-cam wants it: a module with one output."""

    def __init__(self, model, head):
        super().__init__()
        self.model, self.head = model, head

    def forward(self, images):
        return self.model(images)[self.head]
