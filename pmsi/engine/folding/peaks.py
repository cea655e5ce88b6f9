"""A smooth conv and the global max pool behind it: of what was convolved, only each channel's peak is asked for.

Its gradient goes back along the few places that were the largest, rather than through a whole convolution.
"""

from collections.abc import Callable
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pmsi.engine.folding.norms import replace
from pmsi.model.batch import StageMap, Vectors
from pmsi.model.heads import SmoothConv

SPARSE = 4
"""Places to each maximum, on average, above which the backward pass is dense: a flat image ties everywhere."""


def make_peaks(model: nn.Module) -> None:
    """Change a model whose BatchNorms are folded: its smooth convs become PeakConvs, where they can."""
    replace(model, {smooth: PeakConv(smooth) for smooth in model.modules() if _can_be_sparse(smooth)})


def _can_be_sparse(module: nn.Module) -> TypeGuard[SmoothConv]:
    """Whether a module is a smooth conv that ends in a plain convolution, its BatchNorm folded, and a ReLU."""
    if not isinstance(module, SmoothConv) or len(module.block) < 3:
        return False
    conv, norm, relu = list(module.block)[-3:]
    if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.Identity) and isinstance(relu, nn.ReLU)):
        return False
    same_size = all(side % 2 for side in conv.kernel_size) and conv.padding == _half(conv.weight)
    plain = conv.padding_mode == "zeros" and conv.groups == 1
    return same_size and plain and conv.stride == conv.dilation == (1, 1)


def _half(weight: Tensor) -> tuple[int, int]:
    """Return the padding, in rows and columns, with which a convolution by this kernel keeps the size of a map."""
    return weight.shape[2] // 2, weight.shape[3] // 2


class PeakConv(nn.Module):
    """A folded smooth conv: x_n = max over positions of relu(conv(…)) = relu(max over positions of conv(…)).

    Takes (b, C_n, h_n, w_n) and returns (b, c).
    """

    def __init__(self, smooth: SmoothConv) -> None:
        super().__init__()
        *before, conv, _, _ = smooth.block
        assert isinstance(conv, nn.Conv2d)
        self.before, self.conv = nn.Sequential(*before), conv

    def forward(self, stage_map: StageMap) -> Vectors:
        x = self.before(stage_map)
        if x.requires_grad and torch.is_grad_enabled():
            peak: Callable[..., Tensor] = _Peak.apply
            return peak(x, self.conv.weight, self.conv.bias).relu()
        return self.conv(x).amax(dim=(2, 3)).relu()


class _Peak(torch.autograd.Function):
    """conv(x).amax(dim=(2, 3)) for a convolution of stride 1 that keeps the size, (b, h, y, x) → (b, c).

    The gradient of each maximum goes to the window of x that it was computed from, and is split evenly among equal
    maxima, as amax does. There is none for weight and bias.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = F.conv2d(x, weight, bias, padding=_half(weight))
        peak = y.amax(dim=(2, 3))
        ctx.save_for_backward((y == peak[:, :, None, None]).nonzero(), weight)
        ctx.shape = y.shape
        return peak

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        places, weight = ctx.saved_tensors
        b, c, i, j = places.unbind(dim=1)
        ties = torch.zeros_like(slope).index_put_((b, c), slope.new_ones(()), accumulate=True)
        share = (slope / ties.clamp(min=1))[b, c]
        again = torch.is_grad_enabled()  # where the gradient is differentiated once more
        back = _dense if again or len(places) > SPARSE * slope.numel() else _sparse
        return back(share, (b, c, i, j), weight, ctx.shape), None, None


Places = tuple[Tensor, Tensor, Tensor, Tensor]
"""Image, channel, row and column of each maximum, (p,) int64 each."""


def _dense(share: Tensor, places: Places, weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    slope = torch.zeros(shape, dtype=share.dtype, device=share.device).index_put_(places, share)
    return F.conv_transpose2d(slope, weight, padding=_half(weight))


def _sparse(share: Tensor, places: Places, weight: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the sum over maxima of share · weight[channel], laid over the window that each was computed from.

    As one product of matrices: (places of x, those of the padding too) × (channels and places of the window), sparse,
    times the weights.
    """
    moves = share != 0
    b, c, i, j = (place[moves] for place in places)
    n, (height, width), (channels, k_y, k_x) = shape[0], shape[2:], weight.shape[1:]
    tall, wide, window = height + k_y - 1, width + k_x - 1, torch.arange(k_y * k_x, device=b.device)
    to = ((b * tall + i) * wide + j)[:, None] + window // k_x * wide + window % k_x
    of = c[:, None] * len(window) + window
    rows = weight.permute(0, 2, 3, 1).reshape(-1, channels)
    taken = torch.sparse_coo_tensor(
        torch.stack([to.flatten(), of.flatten()]),
        share[moves].repeat_interleave(len(window)),
        (n * tall * wide, len(rows)),
        check_invariants=False,
    )
    framed = torch.sparse.mm(taken, rows).view(n, tall, wide, channels)
    return framed[:, k_y // 2 :, k_x // 2 :][:, :height, :width].permute(0, 3, 1, 2)
