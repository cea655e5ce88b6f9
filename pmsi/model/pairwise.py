"""Losses over pairs of images: Pairwise Confusion, and attentive pairwise interaction (API-Net).

Both are tested like the baseline; only the loss of a batch differs. There is one phase, on the raw images. The loss has
requirements for batches (`Method.batch_multiple`, `Method.images_per_class`).
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from pmsi.model.backbone import Backbone
from pmsi.model.baseline import CLASSIFIER, Baseline
from pmsi.model.batch import Labels, Logits, Phase, Scalar, Target, Vectors, cross_entropy
from pmsi.model.recognizer import Outputs, Recognizer

MUTUAL = 512
"""Hidden width of API-Net's mapping from two vectors to their mutual vector."""

MARGIN = 0.05
"""Margin by which an image's own gate should make its class more probable than the other image's gate does."""

Pairs = tuple[Tensor, Tensor]
"""The index (b,) int64 of each image's partner, and whether there is one, (b,) bool."""


def log_probabilities(logits: Logits) -> Logits:
    """Return the log softmax over classes, in float32 if the logits have half precision."""
    return logits.log_softmax(dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))


def pairwise_confusion(logits: Logits, labels: Labels) -> Scalar:
    """Return the sum over pairs of ‖p_left − p_right‖₂, divided by the batch size; p are softmax probabilities.

    The i-th image of a batch's first half is paired with the i-th of its second half; pairs of the same class count 0.
    The divisor is that of the authors' code, with λ = 10. An odd batch raises RuntimeError (`Method.batch_multiple`
    excludes it).
    """
    p_left, p_right = log_probabilities(logits).exp().unflatten(0, (2, -1))
    label_left, label_right = labels.unflatten(0, (2, -1))
    distance = torch.linalg.vector_norm(p_left - p_right, dim=1)
    return (distance * (label_left != label_right)).sum() / len(labels)


class PC(Baseline):
    """The baseline with Pairwise Confusion (Dubey et al., ECCV 2018): cross-entropy + λ · pairwise confusion."""

    def __init__(self, backbone: Backbone, classes: int, confusion: float = 10.0) -> None:
        super().__init__(backbone, classes)
        self.confusion = confusion

    def head_loss(
        self, maps: list[Tensor], target: Target, phase: Phase, heads: Collection[str] | None = None
    ) -> Scalar:
        logits = self.classify(maps, heads)[phase.head]
        return cross_entropy(logits, target) + self.confusion * pairwise_confusion(logits, target.label_a)


def nearest_pairs(x: Vectors, labels: Labels) -> tuple[Pairs, Pairs]:
    """Return the nearest other image of the same class, and the nearest image of another class, for each image.

    By the Euclidean distance of the vectors x (b, c); of equally near ones, the first.
    """
    distance = torch.cdist(x.float(), x.float(), compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    return _nearest(distance, same & ~itself), _nearest(distance, ~same)


def _nearest(distance: Tensor, allowed: Tensor) -> Pairs:
    return distance.masked_fill(~allowed, torch.inf).argmin(dim=1), allowed.any(dim=1)


class APINet(Recognizer):
    """Attentive pairwise interaction (Zhuang et al., AAAI 2020).

    In training, each image is paired with the nearest image of its class and with the nearest of another class; a
    mutual vector of both gives a gate for each. Tests use only the classifier of the pooled map.
    """

    heads = (CLASSIFIER,)
    primary = CLASSIFIER

    def __init__(self, backbone: Backbone, classes: int, dropout: float = 0.5) -> None:
        super().__init__(backbone)
        c = backbone.channels[-1]
        self.mutual = nn.Sequential(nn.Linear(2 * c, MUTUAL), nn.Dropout(dropout), nn.Linear(MUTUAL, c))
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(c, classes)

    def classify(self, maps: list[Tensor], heads: Collection[str] | None = None) -> Outputs:
        return {CLASSIFIER: self.classifier(maps[-1].mean(dim=(2, 3)))}

    def head_loss(
        self, maps: list[Tensor], target: Target, phase: Phase, heads: Collection[str] | None = None
    ) -> Scalar:
        """Return the cross-entropy of the four gated vectors of each pair, plus their margin ranking loss.

        Images without a partner do not count; a batch without pairs has loss 0.
        """
        x, labels = maps[-1].mean(dim=(2, 3)), target.label_a
        (intra, has_intra), (inter, has_inter) = nearest_pairs(x.detach(), labels)
        x_1, x_2 = torch.cat([x, x]), torch.cat([x[intra], x[inter]])
        own, other = self.interact(x_1, x_2)
        truth = torch.cat([labels, labels, labels[intra], labels[inter]])
        own, other = (log_probabilities(logits).gather(1, truth[:, None])[:, 0] for logits in (own, other))
        loss = (other.exp() - own.exp() + MARGIN).relu() - (own + other) / 2
        # Masked rather than indexed, because indexing would synchronise with the GPU.
        paired = torch.cat([has_intra, has_inter, has_intra, has_inter])
        return (loss * paired).sum() / paired.sum().clamp(min=1)

    def interact(self, x_1: Vectors, x_2: Vectors) -> tuple[Tensor, Tensor]:
        """Return the logits (2b, classes) of x_1 and then x_2, with their own gates, and with the other's gates."""
        x_m = self.mutual(torch.cat([x_1, x_2], dim=1))
        g_1, g_2 = torch.sigmoid(x_m * x_1), torch.sigmoid(x_m * x_2)
        own = torch.cat([x_1 + x_1 * g_1, x_2 + x_2 * g_2])
        other = torch.cat([x_1 + x_1 * g_2, x_2 + x_2 * g_1])
        return self.classifier(self.dropout(own)), self.classifier(self.dropout(other))
