"""Theoretical receptive fields, from autograd's graph of one forward pass.

With kernel k, dilation d, stride s and padding p, a convolution or pooling gives r ← r + (k − 1)·d·j, its first pixel
o ← o − p·j, and j ← j·s, where j is the stride so far; where paths meet, all that they see counts. Paths through
averages over the whole map (squeeze-and-excitation, a norm's statistics) do not count. After any operation that is not
listed here, such as attention, the field is unknown. The pass may run on torch's meta device, because only shapes
matter. The attributes of graph nodes that are read are those that torch documents as "Saved tensors".
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Field:
    """The receptive field of a map: ``reach`` r in pixels, None if unknown, and the stride ``jump`` j in pixels.

    ``start`` is the first pixel that cell 0 sees: negative where padding lies before the image. ``channels_last`` says
    that the map is (b, h, w, c) instead of (b, c, h, w).
    """

    reach: int | None = 1
    jump: int = 1
    start: int = 0
    channels_last: bool = False

    def slide(self, kernel: int, stride: int, dilation: int = 1, padding: int = 0) -> "Field":
        """Return the field after a convolution or pooling."""
        if self.reach is None or self.channels_last:
            return UNKNOWN
        reach = self.reach + (kernel - 1) * dilation * self.jump
        return Field(reach, self.jump * stride, self.start - padding * self.jump)

    def join(self, other: "Field") -> "Field":
        """Return the field of a map that is made of two of the same stride."""
        if self.reach is None or other.reach is None:
            return UNKNOWN
        start = min(self.start, other.start)
        return replace(self, reach=max(self.start + self.reach, other.start + other.reach) - start, start=start)

    def pixels(self, cell: int, side: int) -> tuple[int, int] | None:
        """Return the first pixel that a cell sees along an axis of ``side`` pixels, and the one after the last.

        None where the field is unknown.
        """
        if self.reach is None:
            return None
        first = self.start + cell * self.jump
        return max(0, first), min(side, first + self.reach)


UNKNOWN = Field(reach=None)

Rule = Callable[[Any, Field], Field | None]
"""(node, largest field of its inputs) → the field of its output; None if the output has no positions."""


def _conv(node: Any, field: Field) -> Field:
    if node._saved_transposed:
        return UNKNOWN
    kernel, padding = node._saved_weight.shape[-1], node._saved_padding[-1]
    return field.slide(kernel, node._saved_stride[-1], node._saved_dilation[-1], padding)


def _pool(node: Any, field: Field) -> Field:
    kernel, stride = node._saved_kernel_size[-1], node._saved_stride
    dilation, padding = getattr(node, "_saved_dilation", (1,))[-1], node._saved_padding[-1]
    return field.slide(kernel, stride[-1] if stride else kernel, dilation, padding)


def _pad(node: Any, field: Field) -> Field:
    """Rule of a padding, which lists the sides of the last axis first; a negative one cuts off."""
    before = node._saved_pad[2 if field.channels_last else 0 :][:1]
    return replace(field, start=field.start - sum(before) * field.jump)


def _signed(axis: int) -> int:
    """Return an axis as a signed number; graph nodes store −1 as 2^64 − 1."""
    return axis - 2**64 if axis >= 2**63 else axis


def _summary(node: Any, field: Field) -> Field | None:
    """Rule of a sum, mean or maximum: over height and width, no positions are left; over channels, they are kept."""
    axes = {_signed(axis) % 4 for axis in node._saved_dim}
    height_and_width, channels = ({1, 2}, {3}) if field.channels_last else ({2, 3}, {1})
    if axes == channels:
        return field
    return None if axes >= height_and_width else UNKNOWN


def _permute(node: Any, field: Field) -> Field:
    """Rule of a permutation from channels first to channels last, or back."""
    turn = [0, 3, 1, 2] if field.channels_last else [0, 2, 3, 1]
    turns = [_signed(axis) % 4 for axis in node._saved_dims] == turn
    return replace(field, channels_last=not field.channels_last) if turns else UNKNOWN


def _transpose(node: Any, field: Field) -> Field:
    """Rule of (b, groups, c, h, w) → (b, c, groups, h, w), as in a channel shuffle."""
    return field if {node._saved_dim0, node._saved_dim1} == {1, 2} else UNKNOWN


def _slice(node: Any, field: Field) -> Field:
    """Rule of a slice of channels, or of the whole height or width."""
    axis, size = _signed(node._saved_dim), node._saved_self_sym_sizes
    whole = node._saved_start == 0 and node._saved_step == 1 and node._saved_end >= size[axis]
    return field if whole or axis == 1 else UNKNOWN


def _last_axis(node: Any, field: Field) -> Field:
    """Rule of a linear layer or norm over the last axis, which must be the channels."""
    return field if field.channels_last else UNKNOWN


POINTWISE = (
    "Add Addcmul Alias Cat ChannelShuffle Clamp ClampMax ClampMin Clone Div Elu Expand Gelu Hardsigmoid "
    "Hardswish Hardtanh LeakyRelu Mish Mul NativeBatchNorm NativeDropout NativeGroupNorm Neg PowTensorScalar Prelu "
    "PreluKernel Relu ReshapeAlias Rsub Sigmoid Silu Softplus Split SplitWithSizes Sqrt Squeeze Stack Sub Tanh ToCopy "
    "torch::autograd::CopySlices Unsqueeze UnsafeView View"
)
"""Nodes that keep positions; CopySlices is an in-place operation on a view, such as out[:, :8].add_."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(POINTWISE.split(), lambda node, field: field),
    **dict.fromkeys(("Amax", "Amin", "LinalgVectorNorm", "Mean", "Std", "Sum", "Var"), _summary),
    **dict.fromkeys(("AdaptiveAvgPool2D", "AdaptiveMaxPool2D"), lambda node, field: None),
    **dict.fromkeys(("MaxPool2DWithIndices", "AvgPool2D"), _pool),
    **dict.fromkeys(("Addmm", "Mm", "NativeLayerNorm", "T"), _last_axis),
    "ConstantPadNd": _pad,
    "Convolution": _conv,
    "Permute": _permute,
    "Transpose": _transpose,
    "Slice": _slice,
}
"""Rules by the name of autograd's node; after any other node the field is unknown."""


def receptive_fields(maps: Sequence[Tensor], images: Tensor) -> tuple[int | None, ...]:
    """Return the receptive field of each map along the width, in pixels; None if unknown.

    ``maps`` (b, c, h, w) were computed from ``images`` (b, 3, h, w) with ``requires_grad``.
    """
    return tuple(field.reach for field in fields(maps, images))


def fields(maps: Sequence[Tensor], images: Tensor) -> tuple[Field, ...]:
    """Return the field of each map along the width; see `receptive_fields`."""
    known: dict[Any, Field | None] = {}
    return tuple(_field(stage_map.grad_fn, images, known) or UNKNOWN for stage_map in maps)


def _field(node: Any, images: Tensor, known: dict[Any, Field | None]) -> Field | None:
    """Return the field after a node; ``known`` are those found so far. Graphs are too deep for recursion."""
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
    """Return the field after a node, given those of its inputs with positions."""
    if not before:  # the images, a parameter, or a value computed from parameters only
        return Field() if getattr(node, "variable", None) is images else None
    rule = RULES.get(re.sub(r"Backward\d*$", "", node.name()))
    layouts = {(field.jump, field.channels_last) for field in before}
    if rule is None or len(layouts) > 1 or any(field.reach is None for field in before):
        return UNKNOWN
    return rule(node, reduce(Field.join, before))
