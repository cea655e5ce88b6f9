"""Losses over pairs of images: Pairwise Confusion, and attentive pairwise interaction (API-Net).

Both test like the plain baseline, one image at a time; what differs is the loss of a batch, in one phase on the raw
images. A batch must suit it (`Method.batch_multiple`, `Method.images_per_class`).
"""

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pmsi.batch import Labels, Logits, Phase, Scalar, Target, Vectors, cross_entropy
from pmsi.model.backbone import Backbone
from pmsi.model.baseline import CLASSIFIER, Baseline
from pmsi.model.recognizer import Outputs, Recognizer

MUTUAL = 512
"""Hidden width of API-Net's mapping from two vectors to their mutual vector."""

MARGIN = 0.05
"""How much more probable an image's own gate shall make its class than the other image's gate."""


def pairwise_confusion(logits: Logits, labels: Labels) -> Scalar:
    """Return the sum over pairs of ‖p_left − p_right‖₂, divided by the batch size; p are softmax probabilities.

    The i-th image of a batch's first half is paired with the i-th of its second half; pairs of one class count as 0.
    The slope of a norm of 0 is taken to be 0. The divisor is that of the authors' code, which goes with its λ = 10.
    """
    left, right = logits.float().softmax(dim=1).chunk(2)
    label_left, label_right = labels.chunk(2)
    differs = label_left != label_right
    # A difference of 0 is masked before the norm: behind it, the gradient would be NaN.
    difference = (left - right).masked_fill(~differs[:, None], 0)
    square = difference.square().sum(dim=1)
    moved = square > 0
    distance = torch.where(moved, square.masked_fill(~moved, 1).sqrt(), 0)
    return distance.sum() / len(labels)


class PC(Baseline):
    """The baseline with Pairwise Confusion (Dubey et al., ECCV 2018): cross-entropy + λ · pairwise confusion."""

    def __init__(self, backbone: Backbone, classes: int, confusion: float = 10.0) -> None:
        super().__init__(backbone, classes)
        self.confusion = confusion

    def head_loss(
        self, maps: list[Tensor], target: Target, phase: Phase, heads: Collection[str] | None = None
    ) -> Scalar:
        logits = self.classify(maps)[phase.head]
        return cross_entropy(logits, target) + self.confusion * pairwise_confusion(logits, target.label_a)


def nearest_pairs(x: Vectors, labels: Labels) -> tuple[Tensor, Tensor]:
    """Return for each image the number of the nearest other one of its class, and of the nearest of another class.

    Nearest in Euclidean distance of the vectors x (b, c), of which each class needs two.
    """
    distance = torch.cdist(x.float(), x.float(), compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    intra = distance.masked_fill(~same | itself, torch.inf).argmin(dim=1)
    inter = distance.masked_fill(same, torch.inf).argmin(dim=1)
    return intra, inter


class APINet(Recognizer):
    """Attentive pairwise interaction (Zhuang et al., AAAI 2020).

    In training each image meets its nearest neighbour of its own class and that of the others; a vector of what both
    share opens a gate for each. The test is the classifier on the pooled map alone.
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
        x, labels = maps[-1].mean(dim=(2, 3)), target.label_a
        intra, inter = nearest_pairs(x.detach(), labels)
        x_1, x_2 = torch.cat([x, x]), torch.cat([x[intra], x[inter]])
        own, other = self.interact(x_1, x_2)
        truth = torch.cat([labels, labels, labels[intra], labels[inter]])
        recognised = F.cross_entropy(torch.cat([own, other]).float(), torch.cat([truth, truth]))
        p_own, p_other = (logits.float().softmax(dim=1).gather(1, truth[:, None]) for logits in (own, other))
        return recognised + (p_other - p_own + MARGIN).relu().mean()

    def interact(self, x_1: Vectors, x_2: Vectors) -> tuple[Logits, Logits]:
        """Return the logits of x_1 and then x_2, each seen through its own gate, and through the other's."""
        x_m = self.mutual(torch.cat([x_1, x_2], dim=1))
        g_1, g_2 = torch.sigmoid(x_m * x_1), torch.sigmoid(x_m * x_2)
        own = torch.cat([x_1 + x_1 * g_1, x_2 + x_2 * g_2])
        other = torch.cat([x_1 + x_1 * g_2, x_2 + x_2 * g_1])
        return self.classifier(self.dropout(own)), self.classifier(self.dropout(other))
