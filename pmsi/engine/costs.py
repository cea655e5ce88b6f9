"""Parameters, multiply-adds and memory of a system, counted before anything is trained or downloaded.

The model is built on torch's meta device, where tensors have shapes but no values, and runs one prediction and one
training iteration there, in about a second. `FlopMeter` counts the multiply-adds by torch's formulas, `MemoryMeter` the
memory.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry, shape_wrapper

from pmsi.config import TrainConfig
from pmsi.methods import System, outline, resolve
from pmsi.model import Recognizer
from pmsi.model.batch import Target

BYTES = 4
"""Of a number in float32, the reference precision, in which all memory is given."""

FIELDS = (
    "image_size",
    "method",
    "backbone",
    "stem_stride",
    "stage_num",
    "smooth_conv",
    "channels",
    "hidden",
    "projection",
    "augmentation",
    "momentum",
    "batch_size",
    "devices",
    "heads",
)
"""The fields of a config that its costs depend on; configs that agree in them cost the same."""

HOW_COUNTED = (
    "Multiply-adds are an image's, in convolutions and matrix products, by torch's own formulas; normalisation, "
    "activations, pooling and sums are not counted. Those of training are of one iteration: forward and backward in "
    "every phase, with nothing frozen. Memory is the most that tensors hold at once in float32: weights and "
    "activations, for one image, and in training gradients and momentum too, for a batch; what libraries set aside "
    "beside them is not in it."
)


@dataclass(frozen=True)
class Costs:
    """The costs of a system. Multiply-adds (macs) are per image; memory is in bytes, in float32.

    ``macs_predict`` and ``memory_predict`` are those of the primary head for a single image. ``macs_train`` is an
    image's share of one iteration: every phase, forward and backward, while the backbone is not frozen.
    ``memory_train`` is that of the config's batch, on each of its devices.
    """

    parameters: int
    backbone_parameters: int
    macs_predict: int
    macs_train: int
    memory_predict: int
    memory_train: int

    @property
    def head_parameters(self) -> int:
        """Parameters outside the backbone."""
        return self.parameters - self.backbone_parameters

    @property
    def weight_bytes(self) -> int:
        """Bytes of all parameters in float32; in half precision they are half as many."""
        return BYTES * self.parameters


def costs_of(config: TrainConfig, classes: int) -> Costs:
    """Return the costs of a config's system for a number of classes; raises ConfigError if the config is invalid."""
    return measure(outline(config, classes), config)


def measure(model: Recognizer, config: TrainConfig) -> Costs:
    """Return the costs of a model that is trained as ``config`` says. The model runs on its device; its gradients
    change.

    On the meta device the result is the same, and nothing is computed.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    share = max(2, config.batch_size // config.devices)  # BatchNorm cannot learn from one
    macs_predict, memory_predict = _counted(lambda: _predict(model, config.image_size), model)
    macs_train, memory_train = _counted(lambda: _train(model, resolve(config), config, share), model)
    return Costs(
        parameters=parameters,
        backbone_parameters=sum(parameter.numel() for parameter in model.backbone.parameters()),
        macs_predict=macs_predict,
        macs_train=macs_train // share,
        memory_predict=memory_predict,
        memory_train=memory_train + (BYTES * parameters if config.momentum else 0),
    )


def _counted(run: Callable[[], None], model: Recognizer) -> tuple[int, int]:
    """Return the multiply-adds of ``run()`` and its peak memory, in bytes."""
    model.zero_grad(set_to_none=True)
    with FlopMeter() as flops, MemoryMeter([*model.parameters(), *model.buffers()]) as memory:
        run()
    return flops.total // 2, memory.peak


@torch.no_grad()
def _predict(model: Recognizer, image_size: int) -> None:
    """Predict one image by the primary head."""
    model.eval()
    model(_images(model, 1, image_size), (model.primary,))


def _train(model: Recognizer, system: System, config: TrainConfig, batch: int) -> None:
    """Run one iteration of Algorithm 1 on ``batch`` images, without the optimizer's steps."""
    model.train()
    images = _images(model, batch, config.image_size)
    labels = torch.zeros(batch, dtype=torch.int64, device=images.device)
    for phase in system.phases:
        if system.augmentation.attends and phase.r:
            model.attention(images, labels)
        heads = None if config.heads == "all" else (phase.head,)
        model.zero_grad(set_to_none=True)
        model.loss(images, Target.plain(labels), phase, heads).backward()


def _images(model: Recognizer, batch: int, image_size: int) -> Tensor:
    return torch.empty(batch, 3, image_size, image_size, device=next(model.parameters()).device)


def _convolution_backward(
    grad: list[int], x: list[int], weight: list[int], bias: Any, *how: Any, out_shape: Any, **_: Any
) -> int:
    """Return the flops of a convolution's gradients, from shapes: each repeats the products of the forward pass.

    torch 2.13 counts those of the weight as if there were no groups, for a depthwise convolution many times too many.
    """
    transposed, wanted = how[-4], how[-1]
    return conv_flop_count(x, weight, grad, transposed=transposed) * sum(wanted[:2])


FORMULAS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    torch.ops.aten.convolution_backward: shape_wrapper(_convolution_backward),
}
"""torch's formulas, two flops to a multiply-add, with grouped convolutions' gradients counted by group."""


class FlopMeter(TorchDispatchMode):
    """A context that adds up the flops of this thread in ``total``, by FORMULAS.

    torch's own FlopCounterMode has the same sum, but hooks the modules of all threads: while one thread counts, the
    backward passes of others fail.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := FORMULAS.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


class MemoryMeter(TorchDispatchMode):
    """A context that measures ``peak``, the most memory that this thread's tensors hold at once, in bytes.

    Tensors in ``held`` count from the start; ``live`` is the memory held now.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self._storages: set[int] = set()
        self._hold(held)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        compute = SHORTCUTS.get(func, func) if args and isinstance(args[0], Tensor) and args[0].is_meta else func
        result = compute(*args, **(kwargs or {}))
        several = result if isinstance(result, (tuple, list)) else (result,)
        self._hold(value for value in several if isinstance(value, Tensor))
        return result

    def _hold(self, tensors: Iterable[Tensor]) -> None:
        """Count the storages that are new; a view shares that of its base."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if id(storage) not in self._storages:
                self._storages.add(id(storage))
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self._release, id(storage), storage.nbytes())

    def _release(self, storage: int, size: int) -> None:
        self._storages.discard(storage)
        self.live -= size


def _batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    saved = x.shape[1] if training else 0
    return torch.empty_like(x), x.new_empty(saved), x.new_empty(saved)


def _batch_norm_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor | None, ...]:
    wanted = zip((x, weight, weight), rest[-1], strict=True)
    return tuple(torch.empty_like(like) if is_wanted else None for like, is_wanted in wanted)


SHORTCUTS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.native_batch_norm.default: _batch_norm,
    torch.ops.aten.native_batch_norm_backward.default: _batch_norm_backward,
    torch.ops.aten.hardtanh_.default: lambda x, *limits: x,
    torch.ops.aten.hardtanh_backward.default: lambda grad, *rest: torch.empty_like(grad),
}
"""Shapes of results on the meta device, where torch itself takes a millisecond for one of these: four fifths of all.

None of them has multiply-adds, so `FlopMeter` need not see them."""
