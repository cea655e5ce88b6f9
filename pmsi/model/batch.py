"""The types that data, augmentation, model and loss share: tensors with their shapes, a phase, and a target.

The shapes are annotations, which the tests check at run time.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

try:
    from jaxtyping import Float, Int64, Shaped
except ImportError:  # a development tool: the package runs without it
    if not TYPE_CHECKING:
        Images = Labels = Logits = Scalar = Vectors = StageMap = Tensor
else:
    Images = Shaped[Tensor, "b channels height width"]
    """A batch of images; uint8 in [0, 255] as read, float after normalisation."""
    Labels = Int64[Tensor, "b"]
    Logits = Float[Tensor, "b classes"]
    Scalar = Float[Tensor, ""]
    Vectors = Float[Tensor, "b c"]
    """x_n, x_m, g_n and m_n of Eq. 1 to 3."""
    StageMap = Float[Tensor, "b c_n h_n w_n"]

STAGES = 5
"""N, the number of stages of a backbone; they are named S1…S5."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase of Algorithm 1, which is one optimizer step: the head trained, the recursions, and the loss weight."""

    head: str
    r: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Target:
    """The target of a batch: two labels with a weight each for every image.

    Images that were not mixed have ``weight_a`` = 1 and ``weight_b`` = 0. Weights need not sum to 1 (SnapMix). Labels
    are (b,) int64 in [0, classes); weights are (b,) float, at least 0.
    """

    label_a: Labels
    label_b: Labels
    weight_a: Tensor
    weight_b: Tensor

    @classmethod
    def plain(cls, labels: Labels) -> "Target":
        """Return the target of images that were not mixed."""
        ones = torch.ones(labels.shape, device=labels.device)
        return cls(labels, labels, ones, torch.zeros_like(ones))


def cross_entropy(logits: Logits, target: Target) -> Scalar:
    """Return the mean over the batch of ``weight_a``·CE(label_a) + ``weight_b``·CE(label_b), a scalar."""
    log_p = F.log_softmax(logits.float(), dim=1)
    loss_a = F.nll_loss(log_p, target.label_a, reduction="none")
    loss_b = F.nll_loss(log_p, target.label_b, reduction="none")
    return (target.weight_a * loss_a + target.weight_b * loss_b).mean()
