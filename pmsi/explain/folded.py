"""A copy of a trained recogniser that answers and explains alike, in less time: for eval mode and for maps alone.

BatchNorm is folded into the convolution before it, parameters ask for no gradient, and the global max pool of a smooth
conv passes its gradient back along the few places that it took, rather than through a whole convolution. This module
knows neither methods nor backbones: which layers follow each other is seen by watching one pass.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from pmsi.batch import StageMap, Vectors
from pmsi.model.heads import SmoothConv
from pmsi.model.recognizer import Recognizer

TOLERANCE = 1e-3
"""Share of a tensor's largest value by which the copy may differ on noise: above rounding, below any wrong fold."""

SPARSE = 4
"""Places to each maximum, on average, above which the backward pass is dense: a flat image ties everywhere."""


def folded(model: Recognizer) -> Recognizer:
    """Return a copy of ``model`` in eval mode, frozen, whose stage maps, logits and gradients are equal up to rounding.

    On the model's device; the model itself is left alone. Convolutions whose fold would change a stage map, because
    it is taken between the two layers, are kept as they are; where a network cannot be folded at all (it standardises
    its weights, say), the copy is frozen and nothing more.
    """
    device = next(model.parameters()).device
    with torch.inference_mode(False), torch.no_grad():
        plain = copy.deepcopy(model).cpu().eval().requires_grad_(False)  # a GPU may round by more than TOLERANCE
        faster = _faster(copy.deepcopy(plain), probe := _noise(plain))
        same = _agree(_answers(plain, probe), _answers(faster, probe))
    return (faster if same else plain).to(device)


def _noise(model: Recognizer) -> Tensor:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return images.to(next(model.parameters()).dtype)


def _faster(model: Recognizer, probe: Tensor) -> Recognizer:
    """Change the model itself, which is in eval mode."""
    replaced: dict[nn.Module, nn.Module] = {}
    for conv, norm in _followed(model, probe):
        _fold(conv, norm)
        replaced[norm] = getattr(norm, "act", nn.Identity())  # timm has layers that are norm and activation in one
    _replace(model, replaced)
    _replace(model, {smooth: PeakConv(smooth) for smooth in model.modules() if _can_be_sparse(smooth)})
    return model.eval().requires_grad_(False)


def _followed(model: Recognizer, images: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Return each convolution that runs once and hands its output to a BatchNorm, with that BatchNorm."""
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}  # by the output's id, which is not given away while it is kept here
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    runs: dict[nn.Module, int] = {}

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        runs[module] = runs.get(module, 0) + 1
        if isinstance(module, nn.Conv2d):
            made[id(output)] = (module, output)
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    watched = [module for module in model.modules() if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))]
    handles = [module.register_forward_hook(after) for module in watched]
    maps = model.backbone(images)
    model.classify(maps)
    for handle in handles:
        handle.remove()
    shown = {made[id(stage_map)][0] for stage_map in maps if id(stage_map) in made}
    return [(conv, norm) for conv, norm in pairs if runs[conv] == runs[norm] == 1 and conv not in shown]


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Give the convolution the weights and bias with which it computes what both compute in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )


def _replace(model: nn.Module, replaced: Mapping[nn.Module, nn.Module]) -> None:
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if child in replaced:
                setattr(parent, name, replaced[child])


def _answers(model: Recognizer, images: Tensor) -> Iterator[Tensor]:
    maps = model.backbone(images)
    yield from maps
    yield from model.classify(maps).values()


def _agree(expected: Iterator[Tensor], found: Iterator[Tensor]) -> bool:
    return all(bool((a - b).abs().max() <= TOLERANCE * a.abs().max()) for a, b in zip(expected, found, strict=True))


# The sparse backward pass of a smooth conv


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
    """A folded smooth conv: x_n = max over positions of relu(conv(…)) = relu(max over positions of conv(…))."""

    def __init__(self, smooth: SmoothConv) -> None:
        super().__init__()
        self.before = smooth.block[:-3]
        self.conv = smooth.block[-3]

    def forward(self, stage_map: StageMap) -> Vectors:
        peak: Callable[..., Tensor] = _Peak.apply
        return peak(self.before(stage_map), self.conv.weight, self.conv.bias).relu()


class _Peak(torch.autograd.Function):
    """conv(x).amax(dim=(2, 3)) for a convolution of stride 1 that keeps the size, (b, h, y, x) → (b, c).

    The gradient of each maximum goes to the window of x that it was computed from, and is split evenly among equal
    maxima, as amax does. There is none for weight and bias.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = F.conv2d(x, weight, bias, padding=_half(weight))
        peak = y.amax(dim=(2, 3))
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((y == peak[:, :, None, None]).nonzero(), weight)
            ctx.shape = y.shape
        return peak

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        places, weight = ctx.saved_tensors
        b, c, i, j = places.unbind(dim=1)
        ties = torch.zeros_like(slope).index_put_((b, c), slope.new_ones(()), accumulate=True)
        share = (slope / ties.clamp(min=1))[b, c]
        back = _dense if len(places) > SPARSE * slope.numel() else _sparse
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
