"""Parameters, multiply-adds and memory of a system, counted before anything is trained or downloaded.

The model is built on torch's meta device, where tensors have shapes but no values, and runs one prediction and one
training iteration there, in a fraction of a second. `Meter` counts the operations.
"""

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from pmsi.config import TrainConfig
from pmsi.methods import System, outline, resolve
from pmsi.model import Recognizer
from pmsi.model.batch import Target

aten = torch.ops.aten

BYTES = 4
"""Of a number in float32, the reference precision, in which all memory is given."""

FIELDS = (
    "image_size",
    "method",
    "backbone",
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
    share = config.batch_size // config.devices
    predicting, training = _predict(model, config.image_size), _train(model, resolve(config), config, share)
    return Costs(
        parameters=parameters,
        backbone_parameters=sum(parameter.numel() for parameter in model.backbone.parameters()),
        macs_predict=predicting.macs,
        macs_train=training.macs // share,
        memory_predict=predicting.peak,
        memory_train=training.peak + (BYTES * parameters if config.momentum else 0),
    )


@torch.no_grad()
def _predict(model: Recognizer, image_size: int) -> "Meter":
    """Return the meter of one image's prediction by the primary head."""
    model.eval()
    with Meter(_held(model)) as meter:
        model(_images(model, 1, image_size), (model.primary,))
    return meter


def _train(model: Recognizer, system: System, config: TrainConfig, batch: int) -> "Meter":
    """Return the meter of one iteration of Algorithm 1, before the optimizer's steps."""
    model.train()
    model.zero_grad(set_to_none=True)
    with Meter(_held(model)) as meter:
        images = _images(model, batch, config.image_size)
        labels = torch.zeros(batch, dtype=torch.int64, device=images.device)
        for phase in system.phases:
            if system.augmentation.attends and phase.r:
                model.attention(images, labels)
            heads = None if config.heads == "all" else (phase.head,)
            model.zero_grad(set_to_none=True)
            model.loss(images, Target.plain(labels), phase, heads).backward()
    return meter


def _held(model: Recognizer) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _images(model: Recognizer, batch: int, image_size: int) -> Tensor:
    return torch.empty(batch, 3, image_size, image_size, device=next(model.parameters()).device)


class Meter(TorchDispatchMode):
    """Counts, while it is entered, the multiply-adds of this thread's operations and the memory that tensors hold.

    ``macs`` are torch's flops, two to a multiply-add, halved. ``peak`` is the most that was held at once, in bytes,
    from the tensors that are ``held`` at the start on. Unlike torch's FlopCounterMode it hooks no module, since hooks
    are global and the app has threads.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.flops, self.live, self.peak = 0, 0, 0
        self._storages: set[int] = set()
        self._hold(held)

    @property
    def macs(self) -> int:
        return self.flops // 2

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        compute = SHORTCUTS.get(func, func) if args and isinstance(args[0], Tensor) and args[0].is_meta else func
        result = compute(*args, **kwargs)
        formula = FORMULAS.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=result)
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


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias: Any, *how: Any, out_val: tuple[Tensor | None, ...]
) -> int:
    """Return the flops of a convolution's gradients: each product of the forward pass is in either of them once.

    torch 2.13 still counts those of the weight as if there were no groups, for a depthwise one many times too many.
    """
    *settings, wanted = how
    forward = flop_registry[aten.convolution](x, weight, None, *settings, out_val=grad)
    return forward * sum(wanted[:2])


FORMULAS: dict[Any, Callable[..., int]] = flop_registry | {aten.convolution_backward: _convolution_backward}
"""Flops of an operation, given its arguments and its result as ``out_val``."""


def _batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    saved = x.shape[1] if training else 0
    return torch.empty_like(x), x.new_empty(saved), x.new_empty(saved)


def _batch_norm_backward(grad: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor | None, ...]:
    wanted = zip((x, weight, weight), rest[-1], strict=True)
    return tuple(torch.empty_like(like) if is_wanted else None for like, is_wanted in wanted)


SHORTCUTS: dict[Any, Callable[..., Any]] = {
    aten.native_batch_norm.default: _batch_norm,
    aten.native_batch_norm_backward.default: _batch_norm_backward,
    aten.hardtanh_.default: lambda x, *limits: x,
    aten.hardtanh_backward.default: lambda grad, *rest: torch.empty_like(grad),
}
"""Shapes of results on the meta device, where torch itself takes a millisecond for one of these: four fifths of all."""
