"""A trained model's answer and its Grad-CAM maps as one graph of plain operators, forward and backward alike.

`record` traces both below autograd, so that a runtime that only runs graphs, such as ONNX Runtime on a phone, makes
maps too. Convolutions by strides and groups, masks and peaks have their gradients written as the operators that such
runtimes compute fast.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from pmsi.base.errors import ExportError
from pmsi.engine.folding import folded
from pmsi.engine.folding.norms import replace
from pmsi.engine.folding.peaks import PeakConv
from pmsi.engine.pixels import FromPixels
from pmsi.explain.cam import DEFAULT_STAGES, STAGE_INDEX
from pmsi.explain.methods import gradcam
from pmsi.graph import TRACING
from pmsi.graph.onnx_model import PREDICTED
from pmsi.model import Recognizer
from pmsi.model.batch import Images

aten = torch.ops.aten

SERIAL = 2**17
"""Numbers that one scattered sum may add. ONNX Runtime shares more than 210,000 among its threads, which then add to
the same place without a lock (microsoft/onnxruntime, issues 18048 and 23396)."""

INPUTS = ("image", "head", "label")
OUTPUTS = ("logits", "probabilities", "explained", *DEFAULT_STAGES)


class Explained(FromPixels):
    """One image → what every head says, and the Grad-CAM maps of the last three stages for one class of one head.

    Takes an RGB image (1, 3, side, side) uint8, the number of a head and a class (0-d int64; PREDICTED: the class that
    the head predicts). Returns logits and probabilities (heads, classes), the class explained (0-d int64), and the maps
    of S3, S4 and S5 (h_n, w_n), at least 0, not normalised.
    """

    def forward(self, image: Images, head: Tensor, label: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        backbone = self.model.backbone
        ends = [backbone.ends[STAGE_INDEX[stage]] for stage in DEFAULT_STAGES]
        with torch.enable_grad():
            x = self.normalized(image)
            maps: list[Tensor] = []
            for piece in backbone.pieces[: ends[0] + 1]:
                x = piece(x)
                maps.append(x)
            leaf = x.detach().requires_grad_()
            maps = [*maps[:-1], leaf, *backbone.advance(leaf, ends[0] + 1)]
            logits = torch.cat(list(self.model.classify(maps).values()))
            heads, classes = logits.shape
            chosen = (torch.arange(heads) == head).float()
            predicted = (logits.detach() * chosen[:, None]).sum(dim=0).argmax()
            explained = torch.where(label < 0, predicted, label)
            one_hot = chosen[:, None] * (torch.arange(classes) == explained).float()
            stages = [maps[end] for end in ends]
            gradients = torch.autograd.grad((logits * one_hot).sum(), stages, allow_unused=True, materialize_grads=True)
        found = [gradcam(a.detach(), g).relu()[0] for a, g in zip(stages, gradients, strict=True)]
        logits = logits.detach()
        return (logits, logits.softmax(dim=1), explained, *found)


def record(model: Recognizer, side: int) -> GraphModule:
    """Return the graph of `Explained` for a model in eval mode, for images of side × side pixels."""
    explained = Explained(_with_peaks(folded(model))).eval()
    example = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inputs = (example, torch.tensor(0), torch.tensor(PREDICTED))
    with TRACING, torch.inference_mode(False), torch.no_grad():
        graph = make_fx(lambda *given: explained(*given), decomposition_table=_table())(*inputs)
    for node in list(graph.graph.nodes):
        if node.target is aten.alias.default:  # a name for the same numbers
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return graph


def _table() -> dict[Any, Callable[..., Any]]:
    table = dict(core_aten_decompositions())
    table[aten.convolution_backward.default] = _convolution_backward
    table[aten.avg_pool2d_backward.default] = _avg_pool_backward
    table[aten.hardtanh_backward.default] = _hardtanh_backward
    table[aten.threshold_backward.default] = _threshold_backward
    return table


def _convolution_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    bias_sizes: Any,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    wanted: list[bool],
) -> tuple[Tensor, None, None]:
    """Return the gradient of a convolution's input as a convolution: transposed ones by groups are slow or missing."""
    assert not transposed
    assert wanted == [True, False, False], "weights are frozen"
    c_out, per_group, *kernel = weight.shape
    grad = _spread(grad, stride)
    reach = [dilation[i] * (kernel[i] - 1) for i in (0, 1)]
    before = [reach[i] - padding[i] for i in (0, 1)]
    after = [x.shape[2 + i] + reach[i] - before[i] - grad.shape[2 + i] for i in (0, 1)]
    even = before == after and min(before) >= 0
    if not even:
        grad = F.pad(grad, (before[1], after[1], before[0], after[0]))
    swapped = weight.reshape(groups, c_out // groups, per_group, *kernel).transpose(1, 2)
    swapped = swapped.reshape(groups * per_group, c_out // groups, *kernel)
    if kernel != [1, 1]:
        swapped = swapped.flip((2, 3))
    return F.conv2d(grad, swapped, padding=before if even else 0, dilation=dilation, groups=groups), None, None


def _avg_pool_backward(
    grad: Tensor,
    x: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    """Return the gradient of an average pool's input: that of a convolution by equal weights, for each channel."""
    channels, (k_y, k_x), steps = x.shape[1], kernel, stride or kernel
    whole = not ceil_mode or all(side % step == 0 for side, step in zip(x.shape[2:], steps, strict=True))
    if not whole or (any(padding) and not count_include_pad):
        raise ExportError("This model averages over windows beyond a map's border, whose gradient is not known here.")
    weight = x.new_full((channels, 1, k_y, k_x), 1 / (divisor or k_y * k_x))
    mask = [True, False, False]
    return _convolution_backward(grad, x, weight, None, steps, padding, [1, 1], False, [0, 0], channels, mask)[0]


def _spread(x: Tensor, stride: list[int]) -> Tensor:
    """Return x (…, h, w) with stride - 1 zeros after each place, (…, h · stride[0], w · stride[1])."""
    *others, height, width = x.shape
    if stride[0] > 1:
        x = F.pad(x.unsqueeze(-2), (0, 0, 0, stride[0] - 1)).reshape(*others, height * stride[0], width)
    if stride[1] > 1:  # by a product: runtimes pad slowly within a line
        x = x @ (torch.arange(width)[:, None] * stride[1] == torch.arange(width * stride[1])).to(x.dtype)
    return x


def _hardtanh_backward(grad: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    y = F.hardtanh(x, low, high)  # as forward, so that a runtime still makes it within the convolution
    return grad * ((y > low) & (y < high)).to(grad.dtype)  # a product: runtimes are slow at Where


def _threshold_backward(grad: Tensor, x: Tensor, threshold: float) -> Tensor:
    return grad * (x > threshold).to(grad.dtype)


def _with_peaks(model: Recognizer) -> Recognizer:
    """Return the model with peaks whose gradient is a sum of rows of weights at the places of the maxima."""
    replace(model, {peak: RecordedPeak(peak) for peak in model.modules() if isinstance(peak, PeakConv)})
    return model


class RecordedPeak(nn.Module):
    """A `PeakConv` for one image, in operators of fixed shapes; of equal maxima, the first has the gradient."""

    def __init__(self, peak: PeakConv) -> None:
        super().__init__()
        self.before, self.conv = peak.before, peak.conv

    def forward(self, stage_map: Tensor) -> Tensor:
        peak: Callable[..., Tensor] = _Peak.apply
        return peak(self.before(stage_map), self.conv.weight, self.conv.bias).relu()


class _Peak(torch.autograd.Function):
    """conv(x).amax(dim=(2, 3)) of one image, (1, h, y, x) → (1, c)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = F.conv2d(x, weight, bias, padding=(weight.shape[2] // 2, weight.shape[3] // 2)).flatten(2)
        ctx.save_for_backward(y, weight)
        ctx.shape = x.shape
        return y.amax(dim=2)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        y, weight = ctx.saved_tensors
        _, h, height, width = ctx.shape
        k_y, k_x = weight.shape[2:]
        at = y.argmax(dim=2).flatten()  # (c,)
        tall, wide = height + k_y - 1, width + k_x - 1
        corner = at // width * wide + at % width  # of each maximum's window in the padded map
        back = slope.new_zeros(tall * wide, h)
        together = max(1, SERIAL // h)
        parts = (each.split(together) for each in (corner, slope[0, :, None], weight))
        for places, scale, kernels in zip(*parts, strict=True):
            for i in range(k_y):
                for j in range(k_x):
                    back = back.index_add(0, places + (i * wide + j), scale * kernels[:, :, i, j])
        framed = back.T.reshape(1, h, tall, wide)
        return framed[:, :, k_y // 2 : k_y // 2 + height, k_x // 2 : k_x // 2 + width], None, None
