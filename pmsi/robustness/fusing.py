"""Convolutions that apply the ReLU behind them themselves, on a CPU: the values pass through memory once less.

That is what torch's compiler makes of them too, by the operator used here, which is no public one: where it is missing
or answers otherwise, a model stays as it is. This module does not know which model it is given.
"""

import copy
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from pmsi.model import Recognizer

ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
"""The operator's names of activations, and their arguments."""

TOLERANCE = 1e-4
"""Share of an output's largest value by which it may differ on noise: that of rounding."""


class FusedConv(nn.Module):
    """A convolution and the activation behind it in one operator, for inference."""

    def __init__(self, conv: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.name, self.arguments = ACTIVATIONS[type(activation)]

    def forward(self, x: Tensor) -> Tensor:
        conv, way = self.conv, torch.ops.mkldnn._convolution_pointwise
        sizes = (conv.padding, conv.stride, conv.dilation, conv.groups)
        fused: Tensor = way(x, conv.weight, conv.bias, *sizes, self.name, self.arguments, "")
        return fused


def fused(model: Recognizer) -> Recognizer:
    """Return a copy of ``model`` in eval mode that answers alike, up to rounding; the model itself if there is none."""
    parameter = next(model.parameters())
    if parameter.device.type != "cpu" or parameter.dtype != torch.float32:
        return model
    faster = copy.deepcopy(model)
    for row in faster.modules():
        if isinstance(row, nn.Sequential):
            _fuse(row)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    try:
        return faster if _agree(model, faster, images) else model
    except (AttributeError, RuntimeError):  # torch without oneDNN, or with another operator of that name
        return model


def _fuse(row: nn.Sequential) -> None:
    """Fuse each convolution of a row with an activation that follows it at once, or behind nothing but identities."""
    named = [(name, module) for name, module in row.named_children() if not isinstance(module, nn.Identity)]
    for (name, conv), (after, activation) in pairwise(named):
        if type(conv) is nn.Conv2d and conv.padding_mode == "zeros" and type(activation) in ACTIVATIONS:
            setattr(row, name, FusedConv(conv, activation))
            setattr(row, after, nn.Identity())


@torch.inference_mode()
def _agree(model: Recognizer, faster: Recognizer, images: Tensor) -> bool:
    expected: dict[str, Any] = model(images)
    found = faster(images)
    return all(
        bool((found[head] - logits).abs().max() <= TOLERANCE * logits.abs().max()) for head, logits in expected.items()
    )
