"""A copy of a trained recogniser that answers and explains alike in less time, in eval mode.

BatchNorm is folded into the convolution before it (`norms`), and the global max pool of a smooth conv has a sparse
backward pass (`peaks`). Every pass is a pure function of the copy and the images, so threads may share one.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from pmsi.engine.folding.norms import fold_norms
from pmsi.engine.folding.peaks import make_peaks
from pmsi.model.recognizer import Recognizer

TOLERANCE = 1e-3
"""Share of a tensor's largest value by which the copy may differ on noise: above rounding, below any wrong fold."""


def folded(model: Recognizer) -> Recognizer:
    """Return a copy of ``model`` in eval mode, frozen, whose stage maps, logits and gradients are equal up to rounding.

    On the model's device; the model itself is left alone. Convolutions whose fold would change a stage map, because
    it is taken between the two layers, are kept as they are; where a network cannot be folded at all (it standardises
    its weights, say), the copy is frozen and nothing more.
    """
    with torch.inference_mode(False), torch.no_grad():
        plain = copy.deepcopy(model).cpu().eval().requires_grad_(False)  # a GPU may round by more than TOLERANCE
        images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        images = images.to(next(plain.parameters()).dtype)
        faster = copy.deepcopy(plain)
        fold_norms(faster, images)
        make_peaks(faster)
        faster.eval().requires_grad_(False)
        best = faster if _agree(_answers(plain, images), _answers(faster, images)) else plain
    return best.to(next(model.parameters()).device)


def _answers(model: Recognizer, images: Tensor) -> Iterator[Tensor]:
    """Yield the stage maps, then the logits of every head."""
    maps = model.backbone(images)
    yield from maps
    yield from model.classify(maps).values()


def _agree(expected: Iterator[Tensor], found: Iterator[Tensor]) -> bool:
    return all(bool((a - b).abs().max() <= TOLERANCE * a.abs().max()) for a, b in zip(expected, found, strict=True))
