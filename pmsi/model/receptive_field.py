"""Theoretical receptive fields, read from autograd's graph of one forward pass.

With kernel k, dilation d and stride s, a convolution or a pooling makes r ← r + (k − 1)·d·j and j ← j·s, where j is the
stride so far; where paths meet, the widest counts. What comes to a position through averages over the whole map alone
(squeeze-and-excitation, a norm's statistics) says nothing of where it was, and does not count. After an operation that
stands in no list here, attention among them, the field is unknown. Only shapes matter: the pass may run on torch's meta
device. The attributes of graph nodes that are read are those that torch documents as "Saved tensors".
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Field:
    """What a position sees of the image's width: ``reach`` r in pixels, None if unknown, in steps of ``jump`` j pixels.

    ``channels_last`` says that the map is (b, h, w, c), not (b, c, h, w).
    """

    reach: int | None = 1
    jump: int = 1
    channels_last: bool = False

    def slide(self, kernel: int, stride: int, dilation: int = 1) -> "Field":
        """Return the field after a window has slid over the map."""
        if self.reach is None or self.channels_last:
            return UNKNOWN
        return Field(self.reach + (kernel - 1) * dilation * self.jump, self.jump * stride)


UNKNOWN = Field(reach=None)

Rule = Callable[[Any, Field], Field | None]
"""Given a node and the widest field before it, returns the field behind it; None where no places are left."""


def _conv(node: Any, field: Field) -> Field:
    if node._saved_transposed:
        return UNKNOWN
    return field.slide(node._saved_weight.shape[-1], node._saved_stride[-1], node._saved_dilation[-1])


def _pool(node: Any, field: Field) -> Field:
    kernel, stride = node._saved_kernel_size[-1], node._saved_stride
    return field.slide(kernel, stride[-1] if stride else kernel, getattr(node, "_saved_dilation", (1,))[-1])


def _signed(axis: int) -> int:
    """Return an axis as it was written; graph nodes keep −1 as 2^64 − 1."""
    return axis - 2**64 if axis >= 2**63 else axis


def _summary(node: Any, field: Field) -> Field | None:
    """A sum, mean or maximum: over height and width no places are left, over channels alone they stay."""
    axes = {_signed(axis) % 4 for axis in node._saved_dim}
    height_and_width, channels = ({1, 2}, {3}) if field.channels_last else ({2, 3}, {1})
    if axes == channels:
        return field
    return None if axes >= height_and_width else UNKNOWN


def _permute(node: Any, field: Field) -> Field:
    """From channels first to channels last, or back."""
    turn = [0, 3, 1, 2] if field.channels_last else [0, 2, 3, 1]
    turns = [_signed(axis) % 4 for axis in node._saved_dims] == turn
    return replace(field, channels_last=not field.channels_last) if turns else UNKNOWN


def _transpose(node: Any, field: Field) -> Field:
    """(b, groups, c, h, w) → (b, c, groups, h, w), as a shuffle of channels does."""
    return field if {node._saved_dim0, node._saved_dim1} == {1, 2} else UNKNOWN


def _slice(node: Any, field: Field) -> Field:
    """A range of channels, or of a map's whole height or width."""
    axis, size = _signed(node._saved_dim), node._saved_self_sym_sizes
    whole = node._saved_start == 0 and node._saved_step == 1 and node._saved_end >= size[axis]
    return field if whole or axis == 1 else UNKNOWN


def _last_axis(node: Any, field: Field) -> Field:
    """A linear layer or a norm of the last axis, which has to be that of channels."""
    return field if field.channels_last else UNKNOWN


POINTWISE = (
    "Add Addcmul Alias Cat ChannelShuffle Clamp ClampMax ClampMin Clone ConstantPadNd Div Elu Expand Gelu Hardsigmoid "
    "Hardswish Hardtanh LeakyRelu Mish Mul NativeBatchNorm NativeDropout NativeGroupNorm Neg PowTensorScalar Prelu "
    "PreluKernel Relu ReshapeAlias Rsub Sigmoid Silu Softplus Split SplitWithSizes Sqrt Squeeze Stack Sub Tanh ToCopy "
    "torch::autograd::CopySlices Unsqueeze UnsafeView View"
)
"""Nodes that move nothing from place to place; CopySlices is an operation in place on a view, as out[:, :8].add_."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(POINTWISE.split(), lambda node, field: field),
    **dict.fromkeys(("Amax", "Amin", "LinalgVectorNorm", "Mean", "Std", "Sum", "Var"), _summary),
    **dict.fromkeys(("AdaptiveAvgPool2D", "AdaptiveMaxPool2D"), lambda node, field: None),
    **dict.fromkeys(("MaxPool2DWithIndices", "AvgPool2D"), _pool),
    **dict.fromkeys(("Addmm", "Mm", "NativeLayerNorm", "T"), _last_axis),
    "Convolution": _conv,
    "Permute": _permute,
    "Transpose": _transpose,
    "Slice": _slice,
}
"""By the name of autograd's node; after any other the field is unknown."""


def receptive_fields(maps: Sequence[Tensor], images: Tensor) -> tuple[int | None, ...]:
    """Return what a position of each map sees of the images' width, in pixels; None where it cannot be told.

    ``maps`` (b, c, h, w) were computed from ``images`` (b, 3, h, w), which required a gradient.
    """
    known: dict[Any, Field | None] = {}
    fields = [_field(stage_map.grad_fn, images, known) for stage_map in maps]
    return tuple(field.reach if field else None for field in fields)


def _field(node: Any, images: Tensor, known: dict[Any, Field | None]) -> Field | None:
    """Return the field behind a node; ``known`` are those found before. A stack, as graphs are deeper than Python's."""
    stack = [node]
    while stack:
        before = [other for other, _ in stack[-1].next_functions if other is not None]
        missing = [other for other in before if other not in known]
        if missing:
            stack += missing
        else:
            done = stack.pop()
            known[done] = _after(done, [field for other in before if (field := known[other])], images)
    return known[node]


def _after(node: Any, before: list[Field], images: Tensor) -> Field | None:
    """Return the field behind a node, given those of its inputs that have places."""
    if not before:  # the images, or a parameter and what is made of parameters alone
        return Field() if getattr(node, "variable", None) is images else None
    rule = RULES.get(re.sub(r"Backward\d*$", "", node.name()))
    layouts = {(field.jump, field.channels_last) for field in before}
    if rule is None or len(layouts) > 1 or any(field.reach is None for field in before):
        return UNKNOWN
    return rule(node, max(before, key=lambda field: field.reach or 0))
