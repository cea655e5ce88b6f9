"""Bilinear pooling: products of a late map's channels with those of itself (B-CNN) or of its neighbours (HBP).

Both are trained in one phase on the raw image. They leave out the block that only widens the last map for the usual
classifier (`Backbone.late`): from MobileNetV2's 1280 channels an outer product would have 1.6 million entries.
"""

import itertools
from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pmsi.errors import ConfigError
from pmsi.model.backbone import Backbone
from pmsi.model.baseline import CLASSIFIER
from pmsi.model.recognizer import Outputs, Recognizer

HBP_LAYERS = 3
"""Late layers whose pairs HBP multiplies."""

EPSILON = 1e-10
"""Keeps the slope of the square root finite at 0."""


def signed_sqrt(x: Tensor) -> Tensor:
    """Return sign(x)·√|x|, in float32: half precision cannot hold sums over a map's positions."""
    x = x.float()
    return x.sign() * (x.abs() + EPSILON).sqrt()


class BCNN(Recognizer):
    """Bilinear CNN with one network (Lin et al., ICCV 2015).

    Outer product, sum over positions (a mean here: the L2 normalisation takes the factor out again), signed square
    root, L2, linear.
    """

    heads = (CLASSIFIER,)
    primary = CLASSIFIER

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__(backbone.late())
        self.classifier = nn.Linear(self.backbone.channels[-1] ** 2, classes)

    def classify(self, maps: list[Tensor], heads: Collection[str] | None = None) -> Outputs:
        x = maps[-1].flatten(2).float()
        bilinear = torch.einsum("bip,bjp->bij", x, x) / x.shape[-1]
        return {CLASSIFIER: self.classifier(F.normalize(signed_sqrt(bilinear.flatten(1))))}


class HBP(Recognizer):
    """Hierarchical bilinear pooling (Yu et al., ECCV 2018): late layers, projected alike wide, multiplied in pairs.

    ``projection`` is the width, 8192 in the paper. A network whose last stage has two blocks, as ResNet-18's, has one
    pair rather than three.
    """

    heads = (CLASSIFIER,)
    primary = CLASSIFIER

    def __init__(self, backbone: Backbone, classes: int, projection: int = 8192) -> None:
        super().__init__(backbone.late(HBP_LAYERS))
        widths = self.backbone.channels[self.backbone.ends[-2] + 1 :]
        if len(widths) < 2:
            raise ConfigError("HBP multiplies late layers in pairs, and the last stage of this backbone is one block.")
        self.project = nn.ModuleList(nn.Conv2d(width, projection, 1) for width in widths)
        self.pairs = tuple(itertools.combinations(range(len(widths)), 2))
        self.classifier = nn.Linear(len(self.pairs) * projection, classes)

    def classify(self, maps: list[Tensor], heads: Collection[str] | None = None) -> Outputs:
        late = [project(x) for project, x in zip(self.project, maps[-len(self.project) :], strict=True)]
        pooled = [(late[i].float() * late[j].float()).sum(dim=(2, 3)) for i, j in self.pairs]
        pooled = [F.normalize(signed_sqrt(x)) for x in pooled]
        return {CLASSIFIER: self.classifier(torch.cat(pooled, dim=1))}
