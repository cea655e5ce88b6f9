"""Convolutions that apply the activation behind them themselves, on a CPU: values pass through memory once less.

That is what torch's compiler makes of them too, by the operator used here, which is no public one; whoever asks for
it has to be ready for an AttributeError or a RuntimeError. The operator has no gradient: where one is asked for, a
convolution and its activation are computed apart. This module does not know which model it is given.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from pmsi.folding.norms import replace

ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.Identity: ("none", []),
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
}
"""The operator's names of activations, and their arguments."""


class FusedConv(nn.Module):
    """A convolution and the activation behind it, float32 on a CPU, in one operator where no gradient is asked for."""

    def __init__(self, conv: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        self.conv, self.activation = conv, activation
        self.name, self.arguments = ACTIVATIONS[type(activation)]

    def forward(self, x: Tensor) -> Tensor:
        if has_gradient(x):
            found: Tensor = self.activation(self.conv(x))
            return found
        conv, way = self.conv, torch.ops.mkldnn._convolution_pointwise
        sizes = (conv.padding, conv.stride, conv.dilation, conv.groups)
        fused: Tensor = way(x, conv.weight, conv.bias, *sizes, self.name, self.arguments, "")
        return fused


def has_gradient(x: Tensor) -> bool:
    """Whether what is computed from ``x`` now will be differentiated."""
    return x.requires_grad and torch.is_grad_enabled()


def fuse_convolutions(model: nn.Module) -> None:
    """Change a frozen model: each convolution that is a layer of a row computes what both do, it and what follows.

    One that nothing known follows is fused with nothing: on one thread, torch's own choice for 1×1 kernels is slow.
    """
    for row in model.modules():
        if isinstance(row, nn.Sequential):
            _fuse_row(row)
    inside = {each.conv for each in model.modules() if isinstance(each, FusedConv)}
    alone = [layer for layer in model.modules() if _can_fuse(layer) and layer not in inside]
    replace(model, {conv: FusedConv(conv, nn.Identity()) for conv in alone if isinstance(conv, nn.Conv2d)})


def _fuse_row(row: nn.Sequential) -> None:
    """Fuse each convolution of a row with an activation that follows it at once, or behind nothing but identities."""
    named = [(name, module) for name, module in row.named_children() if not isinstance(module, nn.Identity)]
    for (name, conv), (after, activation) in pairwise(named):
        if isinstance(conv, nn.Conv2d) and _can_fuse(conv) and type(activation) in ACTIVATIONS:
            setattr(row, name, FusedConv(conv, activation))
            setattr(row, after, nn.Identity())


def _can_fuse(layer: nn.Module) -> bool:
    """Whether a layer is a plain convolution, not a kind of its own that does something besides."""
    return type(layer) is nn.Conv2d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
