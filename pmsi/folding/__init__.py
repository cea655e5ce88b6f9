"""A copy of a trained recogniser that answers and explains alike, in less time: for eval mode alone.

BatchNorm is folded into the convolution before it, parameters ask for no gradient, and what follows from there is made
of it. Every pass is a pure function of the copy and the images, so threads may share one. This package knows neither
methods nor backbones: which layers follow each other is seen by watching one pass.

    norms         BatchNorm folded into convolutions
    convolutions  a convolution and the activation behind it in one operator, on a CPU
    peaks         a smooth conv and the global max pool behind it, with a sparse backward pass
    winograd      the 3×3 convolution of a smooth conv by a quarter of the multiplications, on a CPU
"""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from pmsi.folding.convolutions import fuse_convolutions
from pmsi.folding.norms import fold_norms
from pmsi.folding.peaks import make_peaks, transform_weights
from pmsi.model.recognizer import Recognizer

TOLERANCE = 1e-3
"""Share of a tensor's largest value by which the copy may differ on noise: above rounding, below any wrong fold."""


def folded(model: Recognizer) -> Recognizer:
    """Return a copy of ``model`` in eval mode, frozen, whose stage maps, logits and gradients are equal up to rounding.

    On the model's device; the model itself is left alone. Convolutions whose fold would change a stage map, because
    it is taken between the two layers, are kept as they are; where a network cannot be folded at all (it standardises
    its weights, say), the copy is frozen and nothing more. On a CPU, in float32, convolutions apply the activation
    behind them themselves, where torch has the operator for it; such a copy is to stay on the CPU.
    """
    parameter = next(model.parameters())
    with torch.inference_mode(False), torch.no_grad():
        plain = copy.deepcopy(model).cpu().eval().requires_grad_(False)  # a GPU may round by more than TOLERANCE
        best = _checked(_fold, plain)
        if parameter.device.type == "cpu" and parameter.dtype == torch.float32:
            best = _checked(_fuse, best)
    return best.to(parameter.device)


def _fold(model: Recognizer, probe: Tensor) -> None:
    fold_norms(model, probe)
    make_peaks(model)


def _fuse(model: Recognizer, _probe: Tensor) -> None:
    transform_weights(model)
    fuse_convolutions(model)


def _checked(change: Callable[[Recognizer, Tensor], None], model: Recognizer) -> Recognizer:
    """Return a changed copy of a model, or the model itself where the copy would not answer alike."""
    faster, probe = copy.deepcopy(model), _noise(model)
    try:
        change(faster, probe)
        faster.eval().requires_grad_(False)
        same = _agree(_answers(model, probe), _answers(faster, probe))
    except (AttributeError, RuntimeError):  # torch without oneDNN, or with another operator of that name
        return model
    return faster if same else model


def _noise(model: Recognizer) -> Tensor:
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return images.to(next(model.parameters()).dtype)


def _answers(model: Recognizer, images: Tensor) -> Iterator[Tensor]:
    maps = model.backbone(images)
    yield from maps
    yield from model.classify(maps).values()


def _agree(expected: Iterator[Tensor], found: Iterator[Tensor]) -> bool:
    return all(bool((a - b).abs().max() <= TOLERANCE * a.abs().max()) for a, b in zip(expected, found, strict=True))
