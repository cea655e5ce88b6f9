"""Receptive fields, found by watching what a network does to its image, operation by operation.

With kernel k, dilation d and stride s, a convolution or a pooling makes r ← r + (k − 1)·d·j and j ← j·s, where j is the
stride so far; where paths meet, the widest counts. What comes to a position through averages over the whole map alone
(squeeze-and-excitation, a norm's statistics) says nothing of where it was, and does not count. After an operation that
this module does not know, attention among them, the field is unknown. It knows no network, and no weights matter: one
without memory (torch's device "meta") will do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Field:
    """What a position sees of the image's width: ``reach`` r in pixels (None: unknown), in steps of ``jump`` j.

    ``channels_last`` says that height and width are not the last two axes but those before the last.
    """

    reach: int | None = 1
    jump: int = 1
    channels_last: bool = False

    def space(self, x: Tensor) -> tuple[int, ...]:
        """Return (height, width) of a tensor in this layout."""
        return tuple(x.shape[-3:-1] if self.channels_last else x.shape[-2:])


UNKNOWN = Field(reach=None)


@dataclass(frozen=True)
class Step:
    """One operation: the widest ``field`` of the tensors given, the tensor ``x`` that has it, and what is ``made``."""

    field: Field
    x: Tensor
    made: Tensor
    args: tuple[Any, ...]
    options: dict[str, Any]

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument as torch would find it; of a pair, the width's."""
        value = self.args[place] if len(self.args) > place else self.options.get(name, default)
        return value[-1] if isinstance(value, (tuple, list)) and value else value

    def slide(self, kernel: int, stride: int, dilation: int = 1) -> Field:
        """Return the field after a window has slid over the map."""
        r, j = self.field.reach, self.field.jump
        if self.field.channels_last or r is None:
            return UNKNOWN
        return Field(r + (kernel - 1) * dilation * j, j * stride)


Rule = Callable[[Step], Field | None]
"""Returns the field of what an operation made; None where that holds no places."""


def _pointwise(step: Step) -> Field | None:
    return step.field if step.field.space(step.made) == step.field.space(step.x) else UNKNOWN


def _shaped_as(step: Step) -> Field | None:
    """expand_as(x, other), reshape_as(x, other): the result holds nothing of the other but its shape."""
    return _pointwise(step) if step.args[0] is step.x else None


def _summary(step: Step) -> Field | None:
    """Where one number is left of each channel's map there are no places; else places may not be mixed."""
    axes = (-3, -2) if step.field.channels_last else (-2, -1)
    emptied = (step.x.mean(axes, keepdim=True).shape, step.x.mean(axes).shape)
    return None if step.made.shape in emptied else _pointwise(step)


def _conv(step: Step) -> Field | None:
    """conv2d(x, weight, bias, stride, padding, dilation, groups)"""
    weight = step.args[1] if len(step.args) > 1 else step.options["weight"]
    return step.slide(weight.shape[-1], step.argument(3, "stride", 1), step.argument(5, "dilation", 1))


def _max_pool(step: Step) -> Field | None:
    """max_pool2d(x, kernel_size, stride, padding, dilation, …)"""
    kernel = step.argument(1, "kernel_size")
    return step.slide(kernel, step.argument(2, "stride") or kernel, step.argument(4, "dilation", 1))


def _average_pool(step: Step) -> Field | None:
    """avg_pool2d(x, kernel_size, stride, …)"""
    kernel = step.argument(1, "kernel_size")
    return step.slide(kernel, step.argument(2, "stride") or kernel)


def _permute(step: Step) -> Field | None:
    """permute(x, axes): from channels first to channels last, and back."""
    axes = step.args[1:] if isinstance(step.args[1], int) else tuple(step.args[1])
    known = {(False, (0, 2, 3, 1)): True, (True, (0, 3, 1, 2)): False}
    turned = known.get((step.field.channels_last, axes))
    return UNKNOWN if turned is None else replace(step.field, channels_last=turned)


def _last_axis(step: Step) -> Field | None:
    """linear(x, weight, …) and layer_norm(x, shape, …): where only the last axis is mixed, and it is the channels."""
    one_axis = isinstance(step.args[1], Tensor) or len(step.args[1]) == 1
    return step.field if step.field.channels_last and one_axis else UNKNOWN


POINTWISE = (
    "add add_ addcmul batch_norm cat channel_shuffle chunk clamp clone contiguous div div_ dropout elu flatten "
    "float gelu group_norm hardsigmoid hardswish hardtanh instance_norm leaky_relu mish mul mul_ neg prelu relu "
    "relu6 relu_ reshape rsub sigmoid sigmoid_ silu softplus split sqrt stack sub sub_ tanh to unsqueeze view "
    "__getitem__"
)
"""Operations that move nothing from place to place as long as they leave height and width as they are."""

SUMMARIES = "adaptive_avg_pool2d adaptive_max_pool2d amax amin mean norm std sum var"

RULES: dict[str, Rule] = {
    **dict.fromkeys(POINTWISE.split(), _pointwise),
    **dict.fromkeys(SUMMARIES.split(), _summary),
    "conv2d": _conv,
    "max_pool2d": _max_pool,
    "avg_pool2d": _average_pool,
    "expand_as": _shaped_as,
    "reshape_as": _shaped_as,
    "pad": lambda step: step.field,
    "permute": _permute,
    "linear": _last_axis,
    "layer_norm": _last_axis,
}
"""Torch's functions and methods by name; after any other the field is unknown."""


class Fields(TorchFunctionMode):
    """Inside ``with Fields(images) as fields:``, follow what is computed from the images; then ask `reach`."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        # By id, and with the tensor itself, which keeps any other from getting that id.
        self.known: dict[int, tuple[Tensor, Field | None]] = {id(images): (images, Field())}

    def reach(self, x: Tensor) -> int | None:
        """Return the receptive field of a tensor's positions, in pixels of the images; None where it is unknown."""
        _, field = self.known.get(id(x), (x, None))
        return field.reach if field else None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        # Looked up first: what is done in place turns into its own result.
        given = [found for x in _tensors((args, options)) if (found := self.known.get(id(x))) and found[1]]
        made = func(*args, **options)
        for result in _tensors(made) if given else ():
            self.known[id(result)] = (result, _after(func.__name__, given, result, args, options))
        return made


def _after(name: str, given: list[Any], made: Tensor, args: tuple[Any, ...], options: dict[str, Any]) -> Field | None:
    """Return the field of what an operation made of tensors ``given`` with their fields."""
    layouts = {(field.jump, field.channels_last) for _, field in given}
    if name not in RULES or len(layouts) > 1 or any(field.reach is None for _, field in given):
        return UNKNOWN
    x, widest = max(given, key=lambda pair: pair[1].reach)
    return RULES[name](Step(widest, x, made, args, options))


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in arguments or results, however nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
